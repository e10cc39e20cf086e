//! One write being put together: offsets are given out, superseded records go.

use std::collections::HashMap;

use rocksdb::{DB, WriteBatch};

use super::codec;
use super::damage::failed;
use super::log::{LATEST, META, OFFSET, RECORDS, family};
use super::staged::Portion;
use crate::broker::{OffsetCommit, Result, TopicPartition};

/// A partition in which one write follows the other: this one's turn.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) at: TopicPartition,
    /// Number of the topic.
    pub(super) topic: u32,
    /// Next offset to give out.
    pub(super) next: u64,
}

/// One write being put together.
pub(super) struct Writing<'d> {
    db: &'d DB,
    pub(super) batch: WriteBatch,
    /// Of each partition that it writes to.
    pub(super) turns: Vec<Turn>,
    /// Last offsets of keys written by this very one.
    latest: HashMap<Vec<u8>, u64>,
}

impl<'d> Writing<'d> {
    pub(super) fn new(db: &'d DB, turns: Vec<Turn>) -> Self {
        Self { db, batch: WriteBatch::default(), turns, latest: HashMap::new() }
    }

    /// Adds records to the partition of turn `place`, theirs; the offset of the first.
    pub(super) fn add(&mut self, portion: &Portion, place: usize) -> Result<u64> {
        let Turn { topic, next: first, .. } = self.turns[place];
        let (partition, mut next) = (portion.at.partition, first);
        for (chunk, count) in portion.chunks.iter() {
            if portion.chunks.is_compacted {
                // One without a key has been refused at the door.
                let key = codec::key_of(chunk).unwrap_or_default();
                self.supersede(topic, partition, key, next)?;
            }
            let row = codec::record_key(topic, partition, next);
            self.batch.put_cf(family(self.db, RECORDS)?, row, chunk);
            next += count;
        }
        self.turns[place].next = next;
        Ok(first)
    }

    /// Compaction as records come: the former record of this key goes in the same batch, so that
    /// a compacted topic never holds more than its keys.
    fn supersede(&mut self, topic: u32, partition: u32, key: &[u8], offset: u64) -> Result<()> {
        let index = family(self.db, LATEST)?;
        let key = codec::latest_key(topic, partition, key);
        let former = match self.latest.get(&key) {
            Some(offset) => Some(*offset),
            None => {
                let row = self.db.get_cf(index, &key).map_err(failed(self.db, "append"))?;
                row.and_then(|r| r.try_into().ok()).map(u64::from_be_bytes)
            }
        };
        if let Some(former) = former {
            let former = codec::record_key(topic, partition, former);
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
}
