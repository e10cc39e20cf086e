//! What is the same for every result, given the state at its moment. What it must say is told by its kind.

use bps_streams::{Record, Stamp};

use crate::decoded::Decoded;
use crate::fold::Fold;
use crate::item::Item;
use crate::outputs::memo;
use crate::report::{Place, Rule, tally};

const GRANTED: &str = "SUCCESS";

/// A request and what was written about it.
pub(crate) struct Decided<'a> {
    pub(crate) decoded: &'a Decoded<'a>,
    /// Number of the input it was read from.
    pub(crate) input: usize,
    /// The result or answer, in the topic of this stream.
    pub(crate) record: &'a Record<'a>,
    pub(crate) output: usize,
    pub(crate) stamp: &'a Stamp,
    /// It stands behind results of later records.
    pub(crate) is_late: bool,
}

impl Decided<'_> {
    pub(crate) fn at(&self) -> Place<'_> {
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
        if kind.stream() != decided.output {
            let expected = format!("no answer to a {} here", kind.name());
            return self.report.find(Rule::C1, at, expected, "one");
        }
        let (id, item, time) = (&decoded.id, &decoded.request.item, self.time);
        let rule = self.env.streams[decided.output].rule;
        let memory = &mut self.memories[decided.output];
        if memory.knows(decoded.fingerprint, time) {
            let expected = format!("no second result of {id:?} of item {item:?}");
            self.report.find(rule, at, expected, "one");
        }
        memory.remember(decoded.fingerprint, record.timestamp);
        if !self.lies_right(item) {
            self.report.find(rule, at, format!("item {item:?} decided in its partition"), "here");
        }
        if stamp.memo != memo(decoded.fingerprint, &decoded.request) {
            self.report.find(rule, at, "the fingerprint of the request in the stamp", "another");
        }
        if !decided.is_late && record.time() != time {
            let expected = format!("stream time {time} as the timestamp");
            self.report.find(Rule::C2, at, expected, record.timestamp);
        }
        let key = String::from_utf8_lossy(record.key.unwrap_or_default());
        self.same(decided, &[("key", &key, id)]);
        kind.check(self, decided);
    }

    /// An item as it is known; empty where it is not.
    pub(crate) fn item(&self, id: &str) -> Item {
        self.items.get(id).cloned().unwrap_or_default()
    }

    /// Each named field must be that of the request.
    pub(crate) fn same(&mut self, decided: &Decided<'_>, fields: &[(&str, &str, &str)]) {
        let rule = self.env.streams[decided.output].rule;
        for (name, found, expected) in fields {
            if found != expected {
                self.report.find(rule, decided.at(), format!("{name} {expected:?}"), found);
            }
        }
    }

    /// Counts an outcome. Was the request rightly granted or refused, and does its status agree?
    pub(crate) fn outcome(
        &mut self,
        decided: &Decided<'_>,
        status: &str,
        reason: Option<&str>,
        expected: Option<&str>,
        rule: Rule,
    ) {
        let at = decided.at();
        let counts = decided.decoded.request.kind.tally(&mut self.report.counts);
        tally(counts, reason.unwrap_or(GRANTED));
        let word = if reason.is_none() { GRANTED } else { "FAILED" };
        if status != word {
            self.report.find(rule, at, format!("status {word}, as the reason says"), status);
        }
        if reason != expected {
            let (expected, found) = (expected.unwrap_or(GRANTED), reason.unwrap_or(GRANTED));
            self.report.find(rule, at, expected, found);
        }
    }

    /// Counts the change of the row, and keeps the item.
    pub(crate) fn keep(&mut self, decided: &Decided<'_>, mut item: Item, is_changed: bool) {
        let (stamp, at) = (decided.stamp, decided.at());
        let sequence = item.sequence + u64::from(is_changed);
        if stamp.sequence != sequence {
            let expected = format!("sequence {sequence} of the row");
            self.report.find(Rule::C4, at, expected, stamp.sequence);
        }
        item.sequence = stamp.sequence;
        if is_changed {
            item.updated_at = decided.decoded.at;
            item.changed = (decided.output, at.offset);
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
