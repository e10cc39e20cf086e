//! What becomes of old records of the embedded log, and of groups that are no more.

use rocksdb::{IteratorMode, WriteBatch};

use super::catalogue::rows;
use super::codec;
use super::damage::failed;
use super::log::{Log, META, OFFSET, RECORDS, START, bounds, bounds_mut, family};
use crate::broker::{BrokerError, CleanupPolicy, Result, TopicPartition};

impl Log {
    /// Retention: records older than their topic keeps them go, from the oldest on, until the
    /// first that is young enough.
    pub(super) fn expire(&self, wall_ms: i64) -> Result<()> {
        let due: Vec<(String, u32, i64)> = {
            let state = self.state();
            let topics = state.topics.values();
            topics
                .filter_map(|t| match t.description.cleanup {
                    CleanupPolicy::Delete { retention_ms: Some(ms) } => {
                        Some((t, wall_ms.saturating_sub_unsigned(ms)))
                    }
                    _ => None,
                })
                .flat_map(|(t, before)| {
                    let name = &t.description.name;
                    (0..t.description.partitions).map(move |p| (name.clone(), p, before))
                })
                .collect()
        };
        for (topic, partition, before) in due {
            let at = TopicPartition { topic, partition };
            let start = self.offset_at(&at, before)?;
            self.cut(&at, start)?;
        }
        Ok(())
    }

    /// Drops the records below `start`.
    pub(super) fn cut(&self, at: &TopicPartition, start: u64) -> Result<()> {
        let mut state = self.state();
        let id = bounds(&state, at).map(|_| state.topics[&at.topic].id)?;
        let bounds = bounds_mut(&mut state, at)?;
        if start <= bounds.start || start > bounds.end {
            return Ok(());
        }
        let records = family(&self.db, RECORDS)?;
        let row_of = |offset| codec::record_key(id, at.partition, offset);
        let mut to = row_of(start).to_vec();
        if start < bounds.end {
            // The row that holds it may begin before it, and stays.
            let mode = IteratorMode::From(&to, rocksdb::Direction::Reverse);
            let row = self.db.iterator_cf(records, mode).next().transpose();
            let row = row.map_err(failed(&self.db, "retention"))?;
            to = row.filter(|(key, _)| key.starts_with(&to[..8])).map_or(to, |(key, _)| key.into());
        }
        let mut batch = WriteBatch::default();
        batch.delete_range_cf(records, row_of(0).to_vec(), to);
        let row = format!("{START}{id}/{}", at.partition);
        batch.put_cf(family(&self.db, META)?, row, start.to_string());
        self.db.write(batch).map_err(failed(&self.db, "retention"))?;
        bounds.start = start;
        Ok(())
    }

    /// Forgets the offsets of a group.
    pub(super) fn delete_group(&self, group: &str) -> Result<()> {
        let refused = |refusal| BrokerError::Fatal {
            what: "delete group",
            cause: format!("{group}: {refusal}"),
        };
        // One of a member that has left meanwhile may be on its way.
        self.settle()?;
        let mut state = self.state();
        state.coordinator.delete_group(group).map_err(refused)?;
        let meta = family(&self.db, META)?;
        let prefix = format!("{OFFSET}{group}\0");
        let mut batch = WriteBatch::default();
        for (key, _) in rows(&self.db, &prefix)? {
            batch.delete_cf(meta, key);
        }
        self.db.write(batch).map_err(failed(&self.db, "delete group"))
    }
}
