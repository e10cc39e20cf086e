//! What becomes of old records of the embedded log, and of groups that are no more.

use rocksdb::WriteBatch;

use super::catalogue::{row_until, rows};
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
                    CleanupPolicy::Delete { retention_ms: Some(ms) }
                    | CleanupPolicy::CompactAndDelete { retention_ms: Some(ms) } => {
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

    /// Drops the records below `start`, as far as no row holds them together with later ones.
    pub(super) fn cut(&self, at: &TopicPartition, start: u64) -> Result<()> {
        let mut state = self.state();
        let id = bounds(&state, at).map(|_| state.topics[&at.topic].id)?;
        let bounds = bounds_mut(&mut state, at)?;
        if start <= bounds.start || start > bounds.end {
            return Ok(());
        }
        let from = self.row_of(id, at, bounds.start)?;
        let to = match start == bounds.end {
            true => codec::record_key(id, at.partition, start),
            false => self.row_of(id, at, start)?,
        };
        let mut batch = WriteBatch::default();
        // RocksDB counts an empty range as a write, and does not when it reads its log again.
        if from < to {
            batch.delete_range_cf(family(&self.db, RECORDS)?, from, to);
        }
        let row = format!("{START}{id}/{}", at.partition);
        batch.put_cf(family(&self.db, META)?, row, start.to_string());
        self.db.write(batch).map_err(failed(&self.db, "retention"))?;
        bounds.start = start;
        Ok(())
    }

    /// Key of the row that holds this offset, which may begin before it; its own if there is none.
    fn row_of(&self, topic: u32, at: &TopicPartition, offset: u64) -> Result<[u8; 16]> {
        let row = row_until(&self.db, (topic, at.partition, offset), "retention")?;
        let first = row.map_or(offset, |(first, _)| first);
        Ok(codec::record_key(topic, at.partition, first))
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Clock;
    use super::super::staged::Staged;
    use super::*;
    use crate::broker::TopicDescription;
    use crate::record::Outgoing;

    /// A sync that comes after the cut notes how far the log is durable, cut included.
    #[test]
    fn a_cut_inside_of_the_first_row_is_found_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = TopicPartition::new("t", 0);
        let log = Log::open(folder.path()).expect("a new log");
        let cleanup = CleanupPolicy::Delete { retention_ms: Some(1) };
        let (name, future_max_ms) = (at.topic.clone(), None);
        log.create_topic(&TopicDescription { name, partitions: 1, cleanup, future_max_ms })
            .expect("a topic");
        let (mut staged, clock): (_, Clock) = (Staged::default(), Arc::new(|| 0));
        let (topic, partition, timestamp, headers) = ("t", 0, 1, &[]);
        let (key, value) = (None, Some(&b"v"[..]));
        for _ in 0..5 {
            let record = Outgoing { topic, partition, timestamp, key, value, headers };
            staged.push(&log, &clock, &record).expect("taken");
        }
        log.append(&staged.take(), None, &[], |_| Ok(())).expect("written");
        log.cut(&at, 3).expect("cut");
        let written = {
            let mut state = log.state();
            state.written += 1;
            state.written
        };
        log.sync(written).expect("synced");
        drop(log);
        let log = Log::open(folder.path()).expect("the same log");
        let bounds = bounds(&log.state(), &at).expect("known");
        assert_eq!((bounds.start, bounds.end), (3, 5));
    }
}
