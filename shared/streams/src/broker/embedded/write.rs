//! One batch of records being put together: offsets are given out, superseded records go.

use std::collections::HashMap;

use rocksdb::{DB, WriteBatch};

use super::codec;
use super::damage::failed;
use super::log::{LATEST, META, OFFSET, RECORDS, family};
use crate::broker::{OffsetCommit, Result, TopicPartition};
use crate::record::Outgoing;

/// A partition in which one batch after the other is written: this one's turn.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) at: TopicPartition,
    /// Number of the topic.
    pub(super) topic: u32,
    pub(super) is_compacted: bool,
    /// Next offset to give out.
    pub(super) next: u64,
}

/// The partitions of records, each once, and for each record which of them is its own.
pub(super) fn places<'a>(
    records: impl Iterator<Item = Outgoing<'a>>,
) -> (Vec<TopicPartition>, Vec<usize>) {
    let (mut partitions, mut places): (Vec<TopicPartition>, Vec<usize>) = Default::default();
    for record in records {
        let is_it =
            |at: &TopicPartition| at.partition == record.partition && at.topic == record.topic;
        let before = places.last().copied().filter(|place| is_it(&partitions[*place]));
        let place = before.or_else(|| partitions.iter().position(is_it)).unwrap_or_else(|| {
            partitions.push(TopicPartition::new(record.topic, record.partition));
            partitions.len() - 1
        });
        places.push(place);
    }
    (partitions, places)
}

/// One batch being put together.
pub(super) struct Writing<'d> {
    db: &'d DB,
    pub(super) batch: WriteBatch,
    /// Of each partition that it is written to.
    pub(super) turns: Vec<Turn>,
    /// Last offsets of keys written by this very batch.
    latest: HashMap<Vec<u8>, u64>,
    value: Vec<u8>,
}

impl<'d> Writing<'d> {
    pub(super) fn new(db: &'d DB, turns: Vec<Turn>) -> Self {
        let (batch, latest) = (WriteBatch::default(), HashMap::new());
        Self { db, batch, turns, latest, value: Vec::new() }
    }

    /// Adds a record to the partition of turn `place`; its offset.
    pub(super) fn add(&mut self, record: &Outgoing<'_>, place: usize) -> Result<u64> {
        let turn = &mut self.turns[place];
        let (topic, offset, is_compacted) = (turn.topic, turn.next, turn.is_compacted);
        turn.next += 1;
        if is_compacted {
            self.supersede(topic, record, offset)?;
        }
        self.value.clear();
        codec::encode_record(record, &mut self.value);
        let key = codec::record_key(topic, record.partition, offset);
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
}
