//! Reads some partitions side by side, each from its beginning to an end that was asked before.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bps_streams::Record;
use bps_streams::broker::{Broker, BrokerError, Isolation, Reader, TopicPartition};
use bps_streams::record::Batch;

use crate::holes::Holes;
use crate::{Error, Progress, Result};

/// Bytes taken from one partition at a time.
const FETCH_BYTES: usize = 256 << 10;
const WAIT: Duration = Duration::from_millis(20);
/// Waits without a record until reading is given up: 30 s.
const WAITS_MAX: u32 = 1_500;

/// Counts what was read, and tells it.
pub(crate) struct Meter<'a> {
    pub(crate) done: AtomicU64,
    pub(crate) total: u64,
    pub(crate) tell: &'a (dyn Fn(Progress) -> ControlFlow<()> + Sync),
}

impl Meter<'_> {
    fn count(&self, records: u64) -> Result<()> {
        let done = self.done.fetch_add(records, Ordering::Relaxed) + records;
        match (self.tell)(Progress { done, total: self.total.max(done) }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::Interrupted),
        }
    }
}

/// A partition to read, from its first offset to an end.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) at: TopicPartition,
    pub(crate) start: u64,
    pub(crate) end: u64,
}

struct Slot {
    span: Span,
    batch: Batch,
    /// Next record of the batch.
    index: usize,
    /// Behind the batch.
    position: u64,
    /// Offsets that no record has.
    holes: Holes,
}

/// Partitions being read.
pub(crate) struct PartitionReader<'a> {
    reader: Box<dyn Reader>,
    slots: Vec<Slot>,
    meter: &'a Meter<'a>,
}

impl<'a> PartitionReader<'a> {
    pub(crate) fn open(
        broker: &dyn Broker,
        spans: Vec<Span>,
        meter: &'a Meter<'a>,
    ) -> Result<Self> {
        let from: Vec<_> = spans.iter().map(|s| (s.at.clone(), s.start)).collect();
        let reader = broker.reader(&from, Isolation::ReadCommitted)?;
        let slot = |span: Span| {
            let (position, holes) = (span.start, Holes::from(span.start));
            Slot { span, batch: Batch::default(), index: 0, position, holes }
        };
        Ok(Self { reader, slots: spans.into_iter().map(slot).collect(), meter })
    }

    /// Sees to it that the next record of a slot, if there is one, is at its head.
    pub(crate) fn fill(&mut self, slot: usize) -> Result<()> {
        let Slot { span, batch, index, position, .. } = &mut self.slots[slot];
        let mut waits = 0;
        while *index >= batch.len() && *position < span.end {
            batch.clear();
            *index = 0;
            let before = *position;
            *position = self.reader.fetch(slot, FETCH_BYTES, batch)?;
            self.meter.count(batch.len() as u64)?;
            if *position > before || !batch.is_empty() {
                waits = 0;
                continue;
            }
            waits += 1;
            if waits > WAITS_MAX {
                let cause = format!("{}: no record comes after offset {before}", span.at);
                return Err(BrokerError::Unavailable { what: "read", cause }.into());
            }
            self.reader.wait(WAIT)?;
        }
        Ok(())
    }

    /// The next record; `None` at the end. [`PartitionReader::fill`] goes before.
    pub(crate) fn head(&self, slot: usize) -> Option<Record<'_>> {
        let Slot { span, batch, index, .. } = &self.slots[slot];
        if *index >= batch.len() {
            return None;
        }
        let record = batch.get(*index, &span.at.topic, span.at.partition);
        (record.offset < span.end).then_some(record)
    }

    /// Moves the end of a slot; whether it was moved.
    pub(crate) fn extend(&mut self, slot: usize, end: u64) -> bool {
        let span = &mut self.slots[slot].span;
        let is_later = end > span.end;
        span.end = span.end.max(end);
        is_later
    }

    /// Goes on to the record behind the head.
    pub(crate) fn advance(&mut self, slot: usize) -> Result<()> {
        let Slot { batch, index, holes, .. } = &mut self.slots[slot];
        if *index < batch.len() {
            holes.see(batch.get(*index, "", 0).offset);
        }
        *index += 1;
        self.fill(slot)
    }

    /// Where a slot that was read to its end has offsets without a record.
    pub(crate) fn holes(&self, slot: usize) -> Holes {
        let Slot { span, holes, .. } = &self.slots[slot];
        let mut holes = holes.clone();
        holes.see(span.end);
        holes
    }
}
