//! The reference: what must come of each record, kept in maps and decided as plainly as can be. It
//! shares no code with the processor but the partitioner, which has tests of its own.

use std::collections::{BTreeMap, HashMap};

use bps_streams::partitioner::partition_of;
use serde_json::{Value, json};

use crate::steps::{Batch, Kind, Sent, Step, Wish};

/// Partitions of all topics.
pub(crate) const PARTITIONS: u32 = 2;
/// What is stamped later than the clock and this is a dead letter (ms).
pub(crate) const FUTURE_MAX: i64 = 10_000;
/// Restocks go before purchases unless they are stamped later than this (ms).
pub(crate) const SKEW: i64 = 5_000;
/// Largest quantity.
const QUANTITY_MAX: i128 = 1 << 53;

/// What is known of an item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stock {
    pub(crate) supplied: u64,
    pub(crate) booked: u64,
    pub(crate) description: String,
    pub(crate) updated_at: i64,
    /// Changes so far.
    pub(crate) sequence: u64,
}

/// A record that must have been written: partition, timestamp, key, and what it says.
pub(crate) type Said = (u32, i64, String, Value);

/// A dead letter that must have been written: topic, partition and offset of the record, code.
pub(crate) type Letter = (Kind, u32, u64, &'static str);

/// When an id was decided (in stream time), and the content of its wish.
type Decided = (i64, (String, String));

/// The whole state of the market.
#[derive(Clone, Debug, Default)]
pub(crate) struct Market {
    pub(crate) window: Option<i64>,
    pub(crate) clock: i64,
    pub(crate) items: BTreeMap<String, Stock>,
    decided: HashMap<(Kind, String, String), Decided>,
    stream_time: [i64; PARTITIONS as usize],
    /// Records so far, by topic and partition.
    ends: HashMap<(Kind, u32), u64>,
    /// What the last step must have written.
    pub(crate) results: Vec<Said>,
    pub(crate) answers: Vec<Said>,
    pub(crate) letters: Vec<Letter>,
    pub(crate) moved: usize,
    /// Since the beginning.
    pub(crate) resends: u64,
    pub(crate) conflicts: u64,
}

fn home(item: &str) -> u32 {
    partition_of(item.as_bytes(), PARTITIONS)
}

impl Market {
    pub(crate) fn new(window: Option<i64>, clock: i64) -> Market {
        Market { window, clock, ..Market::default() }
    }

    pub(crate) fn take(&mut self, step: &Step) {
        self.results.clear();
        self.answers.clear();
        self.letters.clear();
        self.moved = 0;
        match step {
            Step::Tick(ms) => self.clock += i64::from(*ms),
            Step::Send(sent) => self.one(sent),
            Step::Poison { kind, partition, poison, .. } => {
                let offset = self.place(*kind, *partition);
                self.letters.push((*kind, *partition, offset, poison.code()));
            }
            Step::Together(batch) => self.together(batch),
        }
    }

    /// The offset of the next record.
    fn place(&mut self, kind: Kind, partition: u32) -> u64 {
        let end = self.ends.entry((kind, partition)).or_default();
        *end += 1;
        *end - 1
    }

    fn one(&mut self, sent: &Sent) {
        let home = home(sent.wish.item());
        let at = if sent.astray { (home + 1) % PARTITIONS } else { home };
        let offset = self.place(sent.wish.kind, at);
        self.moved += usize::from(sent.astray);
        self.decide(&sent.wish, (at, offset));
    }

    /// Records that wait together: each input in its order, restocks with a head start. All of them
    /// count for that, not the first one alone.
    fn together(&mut self, batch: &Batch) {
        let mut placed = Vec::new();
        for wish in &batch.wishes {
            let partition = home(wish.item());
            placed.push((wish, (partition, self.place(wish.kind, partition))));
        }
        for partition in 0..PARTITIONS {
            let of = |kind| {
                let here = placed.iter().filter(move |(w, at)| w.kind == kind && at.0 == partition);
                here.copied().collect::<std::collections::VecDeque<_>>()
            };
            let (mut restocks, mut purchases) = (of(Kind::Restock), of(Kind::Purchase));
            loop {
                let earliest = restocks.iter().map(|(restock, _)| restock.at - SKEW).min();
                let restock_first = match (earliest, purchases.front()) {
                    (None, None) => break,
                    (Some(_), None) => true,
                    (None, Some(_)) => false,
                    (Some(earliest), Some((p, _))) => earliest <= p.at,
                };
                let next = if restock_first { &mut restocks } else { &mut purchases };
                if let Some((wish, at)) = next.pop_front() {
                    self.decide(wish, at);
                }
            }
        }
    }

    fn decide(&mut self, wish: &Wish, origin: (u32, u64)) {
        let partition = home(wish.item());
        let time = &mut self.stream_time[partition as usize];
        *time = (*time).max(wish.at);
        let time = *time;
        let id = wish.id(origin);
        let key = (wish.kind, wish.item().to_owned(), id.clone());
        let oldest = self.window.map_or(i64::MIN, |window| time - window);
        if let Some((at, content)) = self.decided.get(&key)
            && *at >= oldest
        {
            let same = *content == wish.content();
            *(if same { &mut self.resends } else { &mut self.conflicts }) += 1;
            return;
        }
        self.decided.insert(key, (time, wish.content()));
        let refusal = self.refusal(wish, wish.at < oldest);
        let before = self.items.get(wish.item()).cloned();
        if refusal.is_none() {
            let row = self.items.entry(wish.item().to_owned()).or_default();
            let units = wish.quantity.shown().parse::<u64>().unwrap_or_default();
            match wish.kind {
                Kind::Restock => row.supplied += units,
                Kind::Purchase => row.booked += units,
            }
            if wish.kind == Kind::Restock && !wish.description().is_empty() {
                row.description = wish.description().to_owned();
            }
            row.updated_at = wish.at;
            row.sequence += 1;
        }
        let value = self.value(wish, &id, refusal, &before.unwrap_or_default());
        let said = (partition, time, id, value);
        match wish.kind {
            Kind::Restock => self.answers.push(said),
            Kind::Purchase => self.results.push(said),
        }
    }

    fn refusal(&self, wish: &Wish, too_old: bool) -> Option<&'static str> {
        let quantity: Option<i128> = wish.quantity.number();
        let row = self.items.get(wish.item());
        let supplied = i128::from(row.map_or(0, |row| row.supplied));
        let left = supplied - i128::from(row.map_or(0, |row| row.booked));
        let units = match quantity {
            _ if too_old => return Some("TOO_OLD"),
            Some(units) if (1..=QUANTITY_MAX).contains(&units) => units,
            _ => return Some("INVALID_QUANTITY"),
        };
        match wish.kind {
            Kind::Restock if supplied + units > i128::from(u64::MAX) => Some("OVERFLOW"),
            Kind::Restock => None,
            Kind::Purchase if row.is_none() => Some("UNKNOWN_ITEM"),
            Kind::Purchase if units > left => Some("INSUFFICIENT_STOCK"),
            Kind::Purchase => None,
        }
    }

    fn value(&self, wish: &Wish, id: &str, refusal: Option<&str>, before: &Stock) -> Value {
        let after = self.items.get(wish.item()).cloned().unwrap_or_default();
        let status = if refusal.is_some() { "FAILED" } else { "SUCCESS" };
        let item = wish.item();
        let quantity = wish
            .quantity
            .number()
            .map_or(Value::Null, |n| serde_json::from_str(&n.to_string()).unwrap_or(Value::Null));
        match wish.kind {
            Kind::Restock => json!({
                "restockId": id, "itemId": item, "quantity": quantity, "status": status,
                "reason": refusal, "supplied": after.supplied,
            }),
            Kind::Purchase => {
                let Stock { supplied, booked, .. } = *before;
                let left = after.supplied - after.booked;
                let shown = wish.quantity.shown();
                let message = format!(
                    "{id} - {item} {status} quantity: {supplied} alreadyBooked: {booked} \
                     purchaseQuantity: {shown} remaining: {left}"
                );
                json!({
                    "purchaseId": id, "itemId": item, "quantity": quantity,
                    "purchasedBy": wish.buyer(), "status": status, "reason": refusal,
                    "itemQuantity": supplied, "alreadyBooked": booked, "remaining": left,
                    "resultMessage": message, "decidedAt": wish.at,
                })
            }
        }
    }
}
