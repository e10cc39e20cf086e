//! Reading the embedded log: what is visible is durable.

use std::ops::Range;

use rocksdb::{DBRawIterator, ReadOptions};

use super::catalogue::read_bounds;
use super::codec::{self, Records};
use super::damage::damaged;
use super::log::{Log, RECORDS, bounds, family};
use crate::broker::{BrokerError, Result, TopicPartition};
use crate::record::Batch;

impl Log {
    /// Reads from `from` on, whole rows until there are `bytes_max`. Returns the position behind.
    pub(super) fn read(
        &self,
        at: &TopicPartition,
        from: u64,
        bytes_max: usize,
        batch: &mut Batch,
    ) -> Result<u64> {
        let (id, start, end, has_gaps) = {
            let state = self.state();
            let bounds = bounds(&state, at)?;
            let topic = &state.topics[&at.topic];
            let has_gaps = topic.description.cleanup.is_compacting();
            (topic.id, bounds.start, bounds.end, has_gaps)
        };
        if from < start || from > end {
            let partition = at.clone();
            return Err(BrokerError::OffsetOutOfRange { partition, offset: from, start, end });
        }
        if from == end {
            return Ok(end);
        }
        let mut rows = self.rows((id, at.partition), from..end, has_gaps)?;
        let damage = |offset, cause: &str| {
            // Retention may have cut meanwhile what was still there when this reading began.
            let start = read_bounds(&self.db, id, at)?.start;
            if offset < start {
                let partition = at.clone();
                return Err(BrokerError::OffsetOutOfRange { partition, offset, start, end });
            }
            Err(damaged(self.db.path(), "read", Some((at, offset)), cause))
        };
        // Offsets are given out one after the other, and nothing is ever taken out but at the
        // beginning and by compaction.
        let (mut next, mut buffer) = (from, Vec::new());
        while let Some((key, row)) = rows.item() {
            let first = codec::offset_of(key).unwrap_or(u64::MAX);
            if first > next {
                if !has_gaps {
                    return damage(next, &format!("the next record there is at offset {first}"));
                }
                next = first;
            }
            if batch.size() >= bytes_max {
                return Ok(next);
            }
            let none = "its bytes are no record";
            let opened = codec::count_of(row).zip(Records::of(row, &mut buffer));
            let Some((count, records)) = opened else {
                return damage(next, none);
            };
            let behind = first.saturating_add(count);
            for record in records.take(count as usize).skip((next - first) as usize) {
                if codec::decode_record(next, record, batch).is_none() {
                    return damage(next, none);
                }
                next += 1;
            }
            if next < behind {
                return damage(next, none);
            }
            rows.next();
        }
        if let Err(error) = rows.status() {
            return damage(next, error.as_ref());
        }
        if next < end && !has_gaps {
            return damage(next, &format!("there is no record, but the log ends at {end}"));
        }
        Ok(end)
    }

    /// The rows of a partition, by the id of its topic, from the one that holds the first offset on.
    fn rows(
        &self,
        (id, partition): (u32, u32),
        offsets: Range<u64>,
        has_gaps: bool,
    ) -> Result<DBRawIterator<'_>> {
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(codec::record_key(id, partition, 0));
        options.set_iterate_upper_bound(codec::record_key(id, partition, offsets.end));
        let mut rows = self.db.raw_iterator_cf_opt(family(&self.db, RECORDS)?, options);
        let key = codec::record_key(id, partition, offsets.start);
        rows.seek(key);
        if !has_gaps && rows.key() != Some(&key[..]) {
            // It is in the midst of a row, which begins before it; whatever is behind that one.
            rows.seek_for_prev(key);
        }
        Ok(rows)
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
