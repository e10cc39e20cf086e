//! The reference: what must come of each record, kept in maps and decided as plainly as can be. It
//! shares no code with the processor but the partitioner, which has tests of its own.

use std::collections::{BTreeMap, HashMap};

use bps_streams::partitioner::partition_of;
use serde_json::{Value, json};

use crate::steps::{Batch, Kind, Request, Sent, Step};

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

/// When an id was decided (in stream time), and the content of its request.
type Decided = (i64, (String, String));

/// The whole state of the workload.
#[derive(Clone, Debug, Default)]
pub(crate) struct Workload {
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

impl Workload {
    pub(crate) fn new(window: Option<i64>, clock: i64) -> Workload {
        Workload { window, clock, ..Workload::default() }
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
        let home = home(sent.request.item());
        let at = if sent.astray { (home + 1) % PARTITIONS } else { home };
        let offset = self.place(sent.request.kind, at);
        self.moved += usize::from(sent.astray);
        self.decide(&sent.request, (at, offset));
    }

    /// Records that wait together: each input in its order, restocks with a head start. All of them
    /// count for that, not the first one alone.
    fn together(&mut self, batch: &Batch) {
        let mut placed = Vec::new();
        for request in &batch.requests {
            let partition = home(request.item());
            placed.push((request, (partition, self.place(request.kind, partition))));
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
                if let Some((request, at)) = next.pop_front() {
                    self.decide(request, at);
                }
            }
        }
    }

    fn decide(&mut self, request: &Request, origin: (u32, u64)) {
        let partition = home(request.item());
        let time = &mut self.stream_time[partition as usize];
        *time = (*time).max(request.at);
        let time = *time;
        let id = request.id(origin);
        let key = (request.kind, request.item().to_owned(), id.clone());
        let oldest = self.window.map_or(i64::MIN, |window| time - window);
        if let Some((at, content)) = self.decided.get(&key)
            && *at >= oldest
        {
            let same = *content == request.content();
            *(if same { &mut self.resends } else { &mut self.conflicts }) += 1;
            return;
        }
        self.decided.insert(key, (time, request.content()));
        let refusal = self.refusal(request, request.at < oldest);
        let before = self.items.get(request.item()).cloned();
        if refusal.is_none() {
            let row = self.items.entry(request.item().to_owned()).or_default();
            let units = request.quantity.shown().parse::<u64>().unwrap_or_default();
            match request.kind {
                Kind::Restock => row.supplied += units,
                Kind::Purchase => row.booked += units,
            }
            if request.kind == Kind::Restock && !request.description().is_empty() {
                row.description = request.description().to_owned();
            }
            row.updated_at = request.at;
            row.sequence += 1;
        }
        let value = self.value(request, &id, refusal, &before.unwrap_or_default());
        let said = (partition, time, id, value);
        match request.kind {
            Kind::Restock => self.answers.push(said),
            Kind::Purchase => self.results.push(said),
        }
    }

    fn refusal(&self, request: &Request, too_old: bool) -> Option<&'static str> {
        let quantity: Option<i128> = request.quantity.number();
        let row = self.items.get(request.item());
        let supplied = i128::from(row.map_or(0, |row| row.supplied));
        let left = supplied - i128::from(row.map_or(0, |row| row.booked));
        let units = match quantity {
            _ if too_old => return Some("TOO_OLD"),
            Some(units) if (1..=QUANTITY_MAX).contains(&units) => units,
            _ => return Some("INVALID_QUANTITY"),
        };
        match request.kind {
            Kind::Restock if supplied + units > i128::from(u64::MAX) => Some("OVERFLOW"),
            Kind::Restock => None,
            Kind::Purchase if row.is_none() => Some("UNKNOWN_ITEM"),
            Kind::Purchase if units > left => Some("INSUFFICIENT_STOCK"),
            Kind::Purchase => None,
        }
    }

    fn value(&self, request: &Request, id: &str, refusal: Option<&str>, before: &Stock) -> Value {
        let after = self.items.get(request.item()).cloned().unwrap_or_default();
        let status = if refusal.is_some() { "FAILED" } else { "SUCCESS" };
        let item = request.item();
        let quantity = request
            .quantity
            .number()
            .map_or(Value::Null, |n| serde_json::from_str(&n.to_string()).unwrap_or(Value::Null));
        match request.kind {
            Kind::Restock => json!({
                "restockId": id, "itemId": item, "quantity": quantity, "status": status,
                "reason": refusal, "supplied": after.supplied,
            }),
            Kind::Purchase => {
                let Stock { supplied, booked, .. } = *before;
                let left = after.supplied - after.booked;
                let shown = request.quantity.shown();
                let message = format!(
                    "{id} - {item} {status} quantity: {supplied} alreadyBooked: {booked} \
                     purchaseQuantity: {shown} remaining: {left}"
                );
                json!({
                    "purchaseId": id, "itemId": item, "quantity": quantity,
                    "purchasedBy": request.buyer(), "status": status, "reason": refusal,
                    "itemQuantity": supplied, "alreadyBooked": booked, "remaining": left,
                    "resultMessage": message, "decidedAt": request.at,
                })
            }
        }
    }
}
