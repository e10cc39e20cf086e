//! A partition as a Kafka broker keeps it: records of open and aborted transactions lie in it,
//! and so do the markers that decide them.

use std::collections::{BTreeMap, BTreeSet};

use crate::broker::{BrokerError, Isolation, Result, TopicDescription, TopicPartition};
use crate::record::{Batch, Outgoing, Record};

/// What lies at one offset.
pub(super) enum Entry {
    /// A record, and the transaction it belongs to.
    Record { content: Batch, transaction: Option<u64> },
    /// The end of a transaction.
    Marker,
}

/// One partition.
#[derive(Default)]
pub(super) struct Partition {
    entries: Vec<Entry>,
    /// First offset of each transaction that is not decided here.
    open: BTreeMap<u64, u64>,
    aborted: BTreeSet<u64>,
}

impl Partition {
    pub(super) fn append(&mut self, record: &Outgoing<'_>, transaction: Option<u64>) -> u64 {
        let offset = self.entries.len() as u64;
        let mut content = Batch::default();
        let headers = record.headers.iter().copied();
        content.push(offset, record.timestamp, record.key, record.value, headers);
        if let Some(number) = transaction {
            self.open.entry(number).or_insert(offset);
        }
        self.entries.push(Entry::Record { content, transaction });
        offset
    }

    /// Writes the marker that ends a transaction.
    pub(super) fn mark(&mut self, transaction: u64, commit: bool) {
        self.open.remove(&transaction);
        if !commit {
            self.aborted.insert(transaction);
        }
        self.entries.push(Entry::Marker);
    }

    /// What lies at or behind this offset is gone.
    pub(super) fn lose_tail(&mut self, end: u64) {
        self.entries.truncate(usize::try_from(end).unwrap_or(usize::MAX));
        self.open.retain(|_, first| *first < end);
    }

    /// The high watermark, or the last stable offset.
    pub(super) fn end(&self, isolation: Isolation) -> u64 {
        let high = self.entries.len() as u64;
        match isolation {
            Isolation::ReadUncommitted => high,
            Isolation::ReadCommitted => self.open.values().copied().min().unwrap_or(high),
        }
    }

    pub(super) fn offset_at(&self, timestamp: i64) -> u64 {
        let at_or_after = |entry: &Entry| match entry {
            Entry::Record { content, .. } => content.place(0).1 >= timestamp,
            Entry::Marker => false,
        };
        self.entries.iter().position(at_or_after).unwrap_or(self.entries.len()) as u64
    }

    /// Reads at most `count` records from `from` on; returns the position behind them.
    pub(super) fn read(
        &self,
        at: &TopicPartition,
        from: u64,
        isolation: Isolation,
        (count, bytes_max): (usize, usize),
        batch: &mut Batch,
    ) -> Result<u64> {
        let end = self.end(isolation);
        if from > self.entries.len() as u64 {
            let partition = at.clone();
            return Err(BrokerError::OffsetOutOfRange { partition, offset: from, start: 0, end });
        }
        let mut position = from;
        while position < end {
            if let Entry::Record { content, transaction } = &self.entries[position as usize]
                && self.shows(*transaction, isolation)
            {
                if batch.len() >= count || batch.size() >= bytes_max {
                    break;
                }
                let Record { offset, timestamp, key, value, headers, .. } = content.get(0, "", 0);
                batch.push(offset, timestamp, key, value, headers.iter());
            }
            position += 1;
        }
        Ok(position)
    }

    fn shows(&self, transaction: Option<u64>, isolation: Isolation) -> bool {
        match (isolation, transaction) {
            (Isolation::ReadUncommitted, _) | (_, None) => true,
            (Isolation::ReadCommitted, Some(number)) => !self.aborted.contains(&number),
        }
    }
}

/// A topic and its partitions.
pub(super) struct Topic {
    /// Counts the topics that were ever made.
    pub(super) number: u64,
    pub(super) description: TopicDescription,
    pub(super) partitions: Vec<Partition>,
}

impl Topic {
    pub(super) fn new(number: u64, description: &TopicDescription) -> Topic {
        let partitions = (0..description.partitions).map(|_| Partition::default()).collect();
        Topic { number, description: description.clone(), partitions }
    }
}
