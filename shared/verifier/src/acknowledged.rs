//! What services have acknowledged: each must lie in its input, and have a result.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, Ordering};

use bps_streams::partitioner::partition_of;

use crate::Env;
use crate::decoded::Decoded;
use crate::memory::PlainHash;
use crate::outputs::fingerprint;
use crate::report::{Report, Rule};
use crate::stream::{PURCHASES, RESTOCKS, used};

const SEEN: u8 = 1;
const ANSWERED: u8 = 2;
const BOTH: u8 = SEEN | ANSWERED;
/// Its first record was passed.
const PASSED: u8 = 4;

/// An acknowledged restock or purchase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acknowledged {
    /// A purchase of an item; `None`: of whatever item.
    Purchase {
        /// The item.
        item: Option<String>,
        /// Its purchaseId.
        id: String,
    },
    /// A restock of an item.
    Restock {
        /// The item.
        item: String,
        /// Its restockId.
        id: String,
    },
}

impl Acknowledged {
    /// With the times that whoever sent it knows ([`Receipt`]).
    pub fn with_times(self, sent_at: Option<i64>, acknowledged_at: Option<i64>) -> Receipt {
        Receipt { event: self, sent_at, acknowledged_at }
    }
}

/// An acknowledged event, and when that was. The times (ms) are of one clock for all events, that
/// of whoever sent them; what it shows does not matter otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The event.
    pub event: Acknowledged,
    /// Before it was sent for the first time; `None`: not known.
    pub sent_at: Option<i64>,
    /// When it had been acknowledged, in its item's partition; `None`: not known.
    pub acknowledged_at: Option<i64>,
}

impl From<Acknowledged> for Receipt {
    fn from(event: Acknowledged) -> Receipt {
        event.with_times(None, None)
    }
}

struct Entry {
    number: u64,
    partition_of: Option<String>,
    stream: usize,
    state: AtomicU8,
    /// When it was surely there, where it goes before others; else when it was sent at the earliest.
    time: i64,
}

/// All of them: about 100 bytes each.
#[derive(Default)]
pub(crate) struct All {
    entries: HashMap<u128, Entry, PlainHash>,
    /// Whether some name no item.
    bare: bool,
}

/// Tells requests of different streams apart.
fn key(stream: usize, fingerprint: u128) -> u128 {
    fingerprint ^ u128::from(u64::MAX / (stream as u64 + 1))
}

/// The key of a request that was read.
fn key_of(decoded: &Decoded<'_>) -> u128 {
    key(decoded.request.kind.stream(), decoded.fingerprint)
}

impl All {
    pub(crate) fn add(&mut self, receipt: Receipt) {
        let number = self.entries.len() as u64 + 1;
        let (stream, item, id) = match receipt.event {
            Acknowledged::Purchase { item, id } => (PURCHASES, item, id),
            Acknowledged::Restock { item, id } => (RESTOCKS, Some(item), id),
        };
        self.bare |= item.is_none();
        // No item has an empty id.
        let key = key(stream, fingerprint(item.as_deref().unwrap_or_default(), &id));
        let time = match used()[stream].goes_first {
            true => receipt.acknowledged_at.unwrap_or(i64::MAX),
            false => receipt.sent_at.unwrap_or(i64::MIN),
        };
        let state = AtomicU8::new(0);
        let entry = Entry { number, partition_of: item, stream, state, time };
        self.entries.entry(key).and_modify(|e| e.time = e.time.min(time)).or_insert(entry);
    }

    /// When a request was sent at the earliest.
    pub(crate) fn sent_at(&self, request: &Decoded<'_>) -> i64 {
        self.entries.get(&key_of(request)).map_or(i64::MIN, |entry| entry.time)
    }

    /// When a restock was surely there: asked of its first record, since a later one says nothing.
    pub(crate) fn there_at(&self, restock: &Decoded<'_>) -> i64 {
        let Some(entry) = self.entries.get(&key_of(restock)) else {
            return i64::MAX;
        };
        match entry.state.fetch_or(PASSED, Ordering::Relaxed) & PASSED {
            0 => entry.time,
            _ => i64::MAX,
        }
    }

    /// It lies in an input.
    pub(crate) fn see(&self, decoded: &Decoded<'_>) {
        self.mark(decoded, SEEN);
    }

    /// It has a result.
    pub(crate) fn answer(&self, decoded: &Decoded<'_>) {
        self.mark(decoded, SEEN | ANSWERED);
    }

    fn mark(&self, decoded: &Decoded<'_>, flags: u8) {
        if self.entries.is_empty() {
            return;
        }
        let mark = |key| {
            if let Some(entry) = self.entries.get(&key) {
                entry.state.fetch_or(flags, Ordering::Relaxed);
            }
        };
        mark(key_of(decoded));
        if self.bare {
            mark(key(decoded.request.kind.stream(), fingerprint("", &decoded.id)));
        }
    }

    /// Those that are not there, or have no result.
    pub(crate) fn check(&self, env: &Env<'_>, report: &mut Report) {
        let mut missing: Vec<_> = self
            .entries
            .values()
            .filter(|e| e.state.load(Ordering::Relaxed) & BOTH != BOTH)
            .collect();
        missing.sort_by_key(|entry| entry.number);
        for Entry { number, partition_of: item, stream, state, .. } in missing {
            let topic = (env.streams[*stream].input)(env.topics);
            let partition = item.as_ref().map(|i| partition_of(i.as_bytes(), env.partitions));
            let is_there = state.load(Ordering::Relaxed) & SEEN != 0;
            // What is there is counted as undecided, unless it had to be decided by now.
            if is_there && !env.at_rest {
                continue;
            }
            let expected = format!("acknowledged event number {number}, and its result");
            let found = if is_there { "the event without a result" } else { "no such event" };
            report.note(Rule::C10, topic, partition, None, expected, found);
        }
    }
}
