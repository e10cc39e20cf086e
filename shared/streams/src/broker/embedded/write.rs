//! One batch of records being put together: offsets are given out, superseded records go.

use std::collections::HashMap;

use rocksdb::{DB, WriteBatch};

use super::codec;
use super::damage::failed;
use super::log::{LATEST, META, OFFSET, RECORDS, State, bounds_mut, family};
use crate::broker::{BrokerError, CleanupPolicy, OffsetCommit, Result, TopicPartition};
use crate::record::Outgoing;

/// One batch being put together.
pub(super) struct Writing<'d> {
    db: &'d DB,
    pub(super) batch: WriteBatch,
    /// The next offset each touched partition had before.
    pub(super) first: HashMap<TopicPartition, u64>,
    /// Last offsets of keys written by this very batch.
    latest: HashMap<Vec<u8>, u64>,
    value: Vec<u8>,
}

impl<'d> Writing<'d> {
    pub(super) fn new(db: &'d DB) -> Result<Self> {
        Ok(Self {
            db,
            batch: WriteBatch::default(),
            first: HashMap::new(),
            latest: HashMap::new(),
            value: Vec::new(),
        })
    }

    pub(super) fn add(&mut self, state: &mut State, record: &Outgoing<'_>) -> Result<u64> {
        let at = TopicPartition::new(record.topic, record.partition);
        let unknown = || BrokerError::UnknownPartition(at.clone());
        let topic = state.topics.get_mut(record.topic).ok_or_else(unknown)?;
        let bounds = topic.partitions.get_mut(record.partition as usize).ok_or_else(unknown)?;
        let offset = bounds.next;
        self.first.entry(at).or_insert(offset);
        bounds.next += 1;
        if topic.description.cleanup == CleanupPolicy::Compact {
            self.supersede(topic.id, record, offset)?;
        }
        self.value.clear();
        codec::encode_record(record, &mut self.value);
        let key = codec::record_key(topic.id, record.partition, offset);
        self.batch.put_cf(family(self.db, RECORDS)?, key, &self.value);
        Ok(offset)
    }

    /// Compaction as records come: the former record of this key goes in the same batch, so that
    /// a compacted topic never holds more than its keys.
    fn supersede(&mut self, topic: u32, record: &Outgoing<'_>, offset: u64) -> Result<()> {
        let index = family(self.db, LATEST)?;
        // One without a key has been refused at the door.
        let key = codec::latest_key(topic, record.partition, record.key.unwrap_or_default());
        let former = match self.latest.get(&key) {
            Some(offset) => Some(*offset),
            None => {
                let row = self.db.get_cf(index, &key).map_err(failed(self.db, "append"))?;
                row.and_then(|r| r.try_into().ok()).map(u64::from_be_bytes)
            }
        };
        if let Some(former) = former {
            let former = codec::record_key(topic, record.partition, former);
            self.batch.delete_cf(family(self.db, RECORDS)?, former);
        }
        self.batch.put_cf(index, &key, offset.to_be_bytes());
        self.latest.insert(key, offset);
        Ok(())
    }

    pub(super) fn add_offsets(&mut self, group: &str, commits: &[OffsetCommit]) -> Result<()> {
        let meta = family(self.db, META)?;
        for OffsetCommit { partition, committed } in commits {
            let key = format!("{OFFSET}{group}\0{}\0{}", partition.topic, partition.partition);
            self.batch.put_cf(meta, key, format!("{} {}", committed.offset, committed.metadata));
        }
        Ok(())
    }

    /// A refused batch takes its offsets back, before anyone else could get the next ones.
    pub(super) fn give_back(&self, state: &mut State) {
        for (at, first) in &self.first {
            if let Ok(bounds) = bounds_mut(state, at) {
                bounds.next = *first;
            }
        }
    }
}
