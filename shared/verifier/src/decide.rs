//! What a result must be, given the state at its moment: the rule, told a second time.

use bps_streams::{Record, Stamp};

use crate::decoded::Decoded;
use crate::fold::Fold;
use crate::item::Item;
use crate::outputs::{Answer, Outcome, hash, memo, read};
use crate::report::{Place, Rule, tally};
use crate::request::RequestKind;
use crate::snapshot::LEDGER;

const GRANTED: &str = "SUCCESS";

/// A request and what was written about it.
pub(crate) struct Decided<'a> {
    pub(crate) decoded: &'a Decoded<'a>,
    /// Number of the input it was read from.
    pub(crate) input: usize,
    /// The result or answer, of this slot.
    pub(crate) record: &'a Record<'a>,
    pub(crate) slot: usize,
    pub(crate) stamp: &'a Stamp,
    /// It stands behind results of later records.
    pub(crate) is_late: bool,
}

impl Decided<'_> {
    fn at(&self) -> Place<'_> {
        Place::of(self.record)
    }
}

impl Fold<'_> {
    /// Checks a result or answer, and takes it over.
    pub(crate) fn decide(&mut self, decided: &Decided<'_>) {
        let Decided { decoded, record, stamp, .. } = *decided;
        if !self.has(&decoded.request.item) {
            return;
        }
        let at = decided.at();
        let kind = decoded.request.kind;
        self.env.acknowledged.answer(decoded);
        if kind == RequestKind::Purchase {
            self.report.counts.purchases += 1;
        }
        if (kind == RequestKind::Purchase) != (decided.slot == LEDGER) {
            let expected = format!(
                "an answer to a {}",
                if decided.slot == LEDGER { "purchase" } else { "restock" }
            );
            return self.report.find(Rule::C1, at, expected, format!("one to a {kind:?}"));
        }
        let (id, item, time) = (&decoded.id, &decoded.request.item, self.time);
        let rule = if kind == RequestKind::Purchase { Rule::C1 } else { Rule::C4 };
        if self.memory(kind).knows(decoded.fingerprint, time) {
            let expected = format!("no second result of {id:?} of item {item:?}");
            self.report.find(rule, at, expected, "one");
        }
        self.memory(kind).remember(decoded.fingerprint, record.timestamp);
        if !self.lies_right(item) {
            self.report.find(rule, at, format!("item {item:?} decided in its partition"), "here");
        }
        if stamp.memo != memo(decoded.fingerprint, &decoded.request.quantity, &decoded.request.text)
        {
            self.report.find(rule, at, "the fingerprint of the request in the stamp", "another");
        }
        if !decided.is_late && record.time() != time {
            let expected = format!("stream time {time} as the timestamp");
            self.report.find(Rule::C2, at, expected, record.timestamp);
        }
        match kind {
            RequestKind::Purchase => self.outcome(decided),
            RequestKind::Restock => self.answer(decided),
        }
    }

    fn outcome(&mut self, decided: &Decided<'_>) {
        let (decoded, at) = (decided.decoded, decided.at());
        let value: Outcome<'_> = match read(decided.record.value) {
            Ok(value) => value,
            Err(cause) => return self.report.find(Rule::C1, at, "a readable result", cause),
        };
        let decided_at = (value.decided_at.to_string(), decoded.at.to_string());
        self.same(
            decided,
            &[
                (
                    "key",
                    &String::from_utf8_lossy(decided.record.key.unwrap_or_default()),
                    &decoded.id,
                ),
                ("purchaseId", &value.purchase_id, &decoded.id),
                ("itemId", &value.item_id, &decoded.request.item),
                ("quantity", value.quantity.get(), &decoded.request.quantity),
                ("purchasedBy", &value.purchased_by, &decoded.request.text),
                ("decidedAt", &decided_at.0, &decided_at.1),
            ],
        );
        let mut item = self.items.get(&*decoded.request.item).cloned().unwrap_or_default();
        if value.item_quantity != item.supplied {
            let expected = format!("itemQuantity {}, the sum of the restocks", item.supplied);
            self.report.find(Rule::C4, at, expected, value.item_quantity);
        }
        if value.already_booked != item.booked {
            let expected = format!("alreadyBooked {}, the sum of the grants", item.booked);
            self.report.find(Rule::C3, at, expected, value.already_booked);
        }
        (item.supplied, item.booked) = (value.item_quantity, value.already_booked);
        self.fate(at, value.status, value.reason, self.refusal(decoded, &item), Rule::C3);
        let before = item.supplied.saturating_sub(item.booked);
        let units = decoded.request.units().filter(|_| value.reason.is_none());
        let left = before.saturating_sub(units.unwrap_or(0));
        if value.remaining != left {
            self.report.find(Rule::C3, at, format!("remaining {left}"), value.remaining);
        }
        value.message(&mut self.text);
        if self.text != value.result_message {
            self.report.find(Rule::C3, at, format!("{:?}", self.text), &value.result_message);
        }
        tally(&mut self.report.counts.results, value.reason.unwrap_or(GRANTED));
        if let Some(units) = units {
            self.report.counts.units_sold += u128::from(units);
            item.grant(units, at, &mut self.report);
            item.booked = item.booked.saturating_add(units);
        }
        self.keep(decided, item, units.is_some());
    }

    fn answer(&mut self, decided: &Decided<'_>) {
        let (decoded, at) = (decided.decoded, decided.at());
        let value: Answer<'_> = match read(decided.record.value) {
            Ok(value) => value,
            Err(cause) => return self.report.find(Rule::C4, at, "a readable answer", cause),
        };
        self.same(
            decided,
            &[
                (
                    "key",
                    &String::from_utf8_lossy(decided.record.key.unwrap_or_default()),
                    &decoded.id,
                ),
                ("restockId", &value.restock_id, &decoded.id),
                ("itemId", &value.item_id, &decoded.request.item),
                ("quantity", value.quantity.get(), &decoded.request.quantity),
            ],
        );
        let mut item = self.items.get(&*decoded.request.item).cloned().unwrap_or_default();
        let expected = self.restock_refusal(decoded, &item);
        self.fate(at, value.status, value.reason, expected, Rule::C4);
        let units = decoded.request.units().filter(|_| value.reason.is_none());
        let supplied = item.supplied.saturating_add(units.unwrap_or(0));
        if value.supplied != supplied {
            self.report.find(Rule::C4, at, format!("supplied {supplied}"), value.supplied);
        }
        item.supplied = value.supplied;
        tally(&mut self.report.counts.restocks, value.reason.unwrap_or(GRANTED));
        if let Some(units) = units {
            item.added += u128::from(units);
            if !decoded.request.text.is_empty() {
                item.description = hash(&*decoded.request.text);
            }
        }
        self.keep(decided, item, units.is_some());
    }

    /// Each named field must be that of the request.
    fn same(&mut self, decided: &Decided<'_>, fields: &[(&str, &str, &str)]) {
        let rule = if decided.slot == LEDGER { Rule::C1 } else { Rule::C4 };
        for (name, found, expected) in fields {
            if found != expected {
                self.report.find(rule, decided.at(), format!("{name} {expected:?}"), found);
            }
        }
    }

    fn fate(
        &mut self,
        at: Place<'_>,
        status: &str,
        reason: Option<&str>,
        expected: Option<&str>,
        rule: Rule,
    ) {
        let word = if reason.is_none() { GRANTED } else { "FAILED" };
        if status != word {
            self.report.find(rule, at, format!("status {word}, as the reason says"), status);
        }
        if reason != expected {
            let (expected, found) = (expected.unwrap_or(GRANTED), reason.unwrap_or(GRANTED));
            self.report.find(rule, at, expected, found);
        }
    }

    /// Why a purchase must be refused.
    fn refusal(&self, decoded: &Decoded<'_>, item: &Item) -> Option<&'static str> {
        let wanted = match decoded.request.units() {
            _ if self.is_too_old(decoded) => return Some("TOO_OLD"),
            None => return Some("INVALID_QUANTITY"),
            Some(units) => u128::from(units),
        };
        match (u128::from(item.supplied), u128::from(item.booked)) {
            (0, _) => Some("UNKNOWN_ITEM"),
            (supplied, booked) if booked + wanted > supplied => Some("INSUFFICIENT_STOCK"),
            _ => None,
        }
    }

    /// Why a restock must be refused.
    fn restock_refusal(&self, decoded: &Decoded<'_>, item: &Item) -> Option<&'static str> {
        match decoded.request.units() {
            _ if self.is_too_old(decoded) => Some("TOO_OLD"),
            None => Some("INVALID_QUANTITY"),
            Some(units) if u64::MAX - item.supplied < units => Some("OVERFLOW"),
            Some(_) => None,
        }
    }

    /// Counts the change of the row, and keeps the item.
    fn keep(&mut self, decided: &Decided<'_>, mut item: Item, is_changed: bool) {
        let (stamp, at) = (decided.stamp, decided.at());
        let sequence = item.sequence + u64::from(is_changed);
        if stamp.sequence != sequence {
            let expected = format!("sequence {sequence} of the row");
            self.report.find(Rule::C4, at, expected, stamp.sequence);
        }
        item.sequence = stamp.sequence;
        if is_changed {
            item.updated_at = decided.decoded.at;
            item.changed = (decided.slot, at.offset);
            let horizon = self.horizon[decided.input];
            if stamp.source.is_some_and(|(_, offset)| offset < horizon) {
                item.required = item.sequence;
            }
        }
        let stock = self.stock();
        item.meet(stock, &mut self.report);
        let name = &*decided.decoded.request.item;
        match self.items.get_mut(name) {
            Some(known) => *known = item,
            None if item.sequence > 0 || item.supplied > 0 => {
                self.items.insert(name.into(), item);
            }
            None => {}
        }
    }
}
