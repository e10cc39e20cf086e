//! The state of one partition during a walk: stream time, items, what was decided. What a result
//! must be is in `decide`, what became of records without one in `unanswered`.

use std::collections::HashMap;

use bps_streams::partitioner::{murmur2, partition_of};

use crate::Env;
use crate::decoded::Decoded;
use crate::item::Item;
use crate::memory::Memory;
use crate::overtaken::Overtaken;
use crate::report::{Place, Report};

/// One pass over a partition: it checks the items of one slice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pass {
    pub(crate) number: u32,
    pub(crate) of: u32,
}

impl Pass {
    /// Whether what belongs to no item is checked now.
    pub(crate) fn is_first(self) -> bool {
        self.number == 0
    }

    /// Whether it is the last one.
    pub(crate) fn is_last(self) -> bool {
        self.number + 1 == self.of
    }

    /// Whether an item is of this slice.
    pub(crate) fn has(self, item: &str, partitions: u32) -> bool {
        // Items of one partition have the same remainder, so the quotient tells them apart.
        self.of == 1
            || (murmur2(item.as_bytes()) & 0x7fff_ffff) / partitions % self.of == self.number
    }
}

/// A record that was passed and whose result has not come yet.
pub(crate) struct Pending {
    pub(crate) decoded: Decoded<'static>,
}

/// Passed records without a result that are waited for, in case one comes late.
pub(crate) const PENDING_MAX: usize = 10_000;

pub(crate) struct Fold<'e> {
    pub(crate) env: &'e Env<'e>,
    pub(crate) partition: u32,
    pub(crate) pass: Pass,
    /// Stream time (ms since 1970).
    pub(crate) time: i64,
    /// Stream time at the last decision.
    pub(crate) since: i64,
    /// Next offset behind the last decision, by input.
    pub(crate) passed: Vec<u64>,
    /// Whether every item's last row was read.
    pub(crate) stock_is_whole: bool,
    pub(crate) items: HashMap<Box<str>, Item>,
    /// What was decided, by stream.
    pub(crate) memories: Vec<Memory>,
    /// What the group had committed before all was read, by input.
    pub(crate) horizon: &'e [u64],
    /// By input and offset.
    pub(crate) pending: HashMap<(usize, u64), Pending>,
    pub(crate) overtaken: Overtaken,
    pub(crate) report: Report,
    pub(crate) text: String,
}

impl<'e> Fold<'e> {
    pub(crate) fn new(env: &'e Env<'e>, partition: u32, pass: Pass, horizon: &'e [u64]) -> Self {
        Self {
            env,
            partition,
            pass,
            time: 0,
            since: 0,
            passed: vec![0; env.inputs.len()],
            stock_is_whole: false,
            items: HashMap::new(),
            memories: env.streams.iter().map(|_| Memory::new(env.window_ms)).collect(),
            horizon,
            pending: HashMap::new(),
            overtaken: Overtaken::default(),
            report: Report::default(),
            text: String::new(),
        }
    }

    pub(crate) fn has(&self, item: &str) -> bool {
        self.pass.has(item, self.env.partitions)
    }

    pub(crate) fn lies_right(&self, item: &str) -> bool {
        partition_of(item.as_bytes(), self.env.partitions) == self.partition
    }

    /// A place in an input of this partition.
    pub(crate) fn input(&self, input: usize, offset: u64) -> Place<'e> {
        Place::new(self.env.inputs[input], self.partition, offset)
    }

    /// The beginning of the table of stock, whose offset is set where it is used.
    pub(crate) fn stock(&self) -> Place<'e> {
        Place::new(&self.env.topics.stock, self.partition, 0)
    }

    /// Whether a request is older than the memory reaches.
    pub(crate) fn is_too_old(&self, decoded: &Decoded<'_>) -> bool {
        self.env.window_ms.is_some_and(|window| decoded.at < self.time.saturating_sub(window))
    }
}
