//! Reading the embedded log: what is visible is durable.

use rocksdb::{IteratorMode, ReadOptions};

use super::codec;
use super::log::{Log, RECORDS, bounds, failed, family};
use crate::broker::{BrokerError, Result, TopicPartition};
use crate::record::Batch;

impl Log {
    /// Reads from `from` on, at most about `bytes_max`. Returns the position behind.
    pub(super) fn read(
        &self,
        at: &TopicPartition,
        from: u64,
        bytes_max: usize,
        batch: &mut Batch,
    ) -> Result<u64> {
        let (id, start, end) = {
            let state = self.state();
            let bounds = bounds(&state, at)?;
            (state.topics[&at.topic].id, bounds.start, bounds.end)
        };
        if from < start || from > end {
            let partition = at.clone();
            return Err(BrokerError::OffsetOutOfRange { partition, offset: from, start, end });
        }
        if from == end {
            return Ok(end);
        }
        let mut bounds = ReadOptions::default();
        bounds.set_iterate_upper_bound(codec::record_key(id, at.partition, end).to_vec());
        let key = codec::record_key(id, at.partition, from);
        let mode = IteratorMode::From(&key, rocksdb::Direction::Forward);
        for entry in self.db.iterator_cf_opt(family(&self.db, RECORDS)?, bounds, mode) {
            let (key, value) = entry.map_err(failed("read"))?;
            let offset = codec::offset_of(&key).unwrap_or(u64::MAX);
            if batch.size() >= bytes_max {
                return Ok(offset);
            }
            codec::decode_record(offset, &value, batch).ok_or_else(|| BrokerError::Fatal {
                what: "read",
                cause: format!("{at}: the record at offset {offset} is damaged"),
            })?;
        }
        Ok(end)
    }

    /// Offset of the first record stamped at or after `timestamp`, or the end.
    pub(super) fn offset_at(&self, at: &TopicPartition, timestamp: i64) -> Result<u64> {
        let (mut position, end) = {
            let state = self.state();
            let bounds = bounds(&state, at)?;
            (bounds.start, bounds.end)
        };
        let mut batch = Batch::default();
        while position < end {
            batch.clear();
            position = self.read(at, position, 1 << 20, &mut batch)?;
            let places = (0..batch.len()).map(|i| batch.place(i));
            if let Some((offset, _)) = places.into_iter().find(|(_, t)| *t >= timestamp) {
                return Ok(offset);
            }
        }
        Ok(end)
    }
}
