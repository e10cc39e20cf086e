//! One partition, read on record by record up to an end that was asked before.

use std::time::Duration;

use crate::broker::{Broker, BrokerError, Isolation, OffsetSpec, Reader, TopicPartition};
use crate::error::Result;
use crate::record::{Batch, Record};

/// Bytes taken at once.
const FETCH_BYTES: usize = 256 << 10;
const WAIT: Duration = Duration::from_millis(20);
/// Waits without a record until reading is given up: 30 s.
const WAITS_MAX: u32 = 1_500;

pub(super) struct PartitionReader {
    pub(super) at: TopicPartition,
    client: Box<dyn Reader>,
    batch: Batch,
    index: usize,
    position: u64,
    pub(super) start: u64,
    end: u64,
}

impl PartitionReader {
    /// From the first record to the end as it is now.
    pub(super) fn whole(broker: &dyn Broker, at: TopicPartition) -> Result<PartitionReader> {
        let one = std::slice::from_ref(&at);
        let start = broker.offsets(one, OffsetSpec::Start)?[0];
        let end = broker.offsets(one, OffsetSpec::End(Isolation::ReadCommitted))?[0];
        let client = broker.reader(&[(at.clone(), start)], Isolation::ReadCommitted)?;
        Ok(PartitionReader {
            at,
            client,
            batch: Batch::default(),
            index: 0,
            position: start,
            start,
            end,
        })
    }

    /// Takes the next batch away, and the position behind it; nothing at the end.
    pub(super) fn take(&mut self, mut batch: Batch) -> Result<Option<(Batch, u64)>> {
        batch.clear();
        let mut waits = 0;
        while batch.is_empty() && self.position < self.end {
            self.position = self.client.fetch(0, FETCH_BYTES, &mut batch)?;
            if batch.is_empty() && self.position < self.end {
                waits += 1;
                if waits > WAITS_MAX {
                    let cause = format!("{} brings nothing at {}", self.at, self.position);
                    return Err(BrokerError::Unavailable { what: "read", cause }.into());
                }
                self.client.wait(WAIT)?;
            }
        }
        Ok((!batch.is_empty()).then_some((batch, self.position)))
    }

    /// The next record; `None` at the end.
    pub(super) fn head(&mut self) -> Result<Option<Record<'_>>> {
        if self.index >= self.batch.len() {
            let batch = std::mem::take(&mut self.batch);
            (self.batch, self.index) = match self.take(batch)? {
                Some((batch, _)) => (batch, 0),
                None => return Ok(None),
            };
        }
        let record = self.batch.get(self.index, &self.at.topic, self.at.partition);
        // Written since the end was asked.
        Ok((record.offset < self.end).then_some(record))
    }

    /// Drops the head.
    pub(super) fn advance(&mut self) {
        self.index += 1;
    }
}
