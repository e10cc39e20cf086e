//! What a task has written: read again beside what a replay gives, and what it came of.

use super::partition_reader::PartitionReader;
use crate::broker::{Broker, TopicPartition};
use crate::error::Result;
use crate::record::Record;
use crate::stamp::{Clocks, STAMP, Stamp};
use crate::task::TaskEnv;

/// A partition that the task has written to.
pub(super) struct Written {
    pub(super) reader: PartitionReader,
    /// Other tasks write there too: which one this is.
    writer: Option<u32>,
}

impl Written {
    /// The stamp of the next record of this task's; others wrote the rest.
    pub(super) fn stamp(&mut self) -> Result<Option<Stamp>> {
        while let Some(record) = self.reader.head()? {
            if let Some(stamp) = record.headers.get(STAMP).and_then(Stamp::decode)
                && (self.writer.is_none() || stamp.writer == self.writer)
            {
                return Ok(Some(stamp));
            }
            self.reader.advance();
        }
        Ok(None)
    }

    /// Whether the next record came of this.
    pub(super) fn is_of(&mut self, cause: &Cause) -> Result<bool> {
        Ok(self.stamp()?.is_some_and(|stamp| cause.is_that_of(&stamp)))
    }
}

/// What outputs came of.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Cause {
    /// A record: its input and offset.
    Record(usize, u64),
    /// Rows that fell due when the clocks and the positions had come to these.
    Due(Clocks, Vec<u64>),
}

impl Cause {
    pub(super) fn of(stamp: &Stamp) -> Cause {
        match stamp.source {
            Some((input, offset)) => Cause::Record(input as usize, offset),
            None => Cause::Due(stamp.clocks, stamp.positions.clone()),
        }
    }

    fn is_that_of(&self, stamp: &Stamp) -> bool {
        match (self, stamp.source) {
            (Cause::Record(input, offset), source) => source == Some((*input as u32, *offset)),
            (Cause::Due(clocks, positions), None) => {
                (*clocks, positions) == (stamp.clocks, &stamp.positions)
            }
            (Cause::Due(..), Some(_)) => false,
        }
    }

    /// Where among those that leave the same positions: the record that has led to them, then rows
    /// that fell due before the next one.
    pub(super) fn place(&self) -> Option<Clocks> {
        match self {
            Cause::Record(..) => None,
            Cause::Due(clocks, _) => Some(*clocks),
        }
    }
}

/// What a task has written to: its own partitions of the topics of sinks, and of those of keyed ones
/// all.
pub(super) fn outputs(broker: &dyn Broker, env: &TaskEnv, partition: u32) -> Result<Vec<Written>> {
    let mut topics: Vec<(&str, bool)> =
        env.topology.sinks.iter().map(|sink| (sink.topic.as_str(), sink.is_keyed)).collect();
    topics.sort_unstable();
    topics.dedup();
    let mut outputs = Vec::new();
    for (topic, is_keyed) in topics {
        let (partitions, writer) = match is_keyed {
            true => (0..env.partitions, Some(partition)),
            false => (partition..partition + 1, None),
        };
        for partition in partitions {
            let reader = PartitionReader::whole(broker, TopicPartition::new(topic, partition))?;
            outputs.push(Written { reader, writer });
        }
    }
    Ok(outputs)
}

/// Whether both are the same except for their place, the incarnation of their writer, and the version
/// of their stamps. One from before rows fell due has no clocks.
pub(super) fn is_same(recorded: &Record<'_>, replayed: &Record<'_>) -> bool {
    let stamp = recorded.headers.get(STAMP).and_then(Stamp::decode);
    let has_clocks = stamp.is_some_and(|stamp| stamp.clocks != Clocks::default());
    let headers = |record: &Record<'_>| -> Vec<(String, Option<Vec<u8>>, Option<Stamp>)> {
        let parts = record.headers.iter().map(|(name, value)| {
            let stamp = value.filter(|_| name == STAMP).and_then(Stamp::decode);
            let stamp = stamp.map(|mut stamp| {
                // An input that was added since had not been read.
                let read = stamp.positions.iter().rposition(|position| *position > 0);
                stamp.positions.truncate(read.map_or(0, |last| last + 1));
                let clocks = if has_clocks { stamp.clocks } else { Clocks::default() };
                Stamp { incarnation: 0, inputs: None, clocks, ..stamp }
            });
            let rest = value.filter(|_| stamp.is_none()).map(<[u8]>::to_vec);
            (name.to_owned(), rest, stamp)
        });
        parts.collect()
    };
    let rest = |record: &Record<'_>| {
        (record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec), record.time())
    };
    rest(recorded) == rest(replayed) && headers(recorded) == headers(replayed)
}

pub(super) fn shown(record: &Record<'_>) -> String {
    let text = |bytes: Option<&[u8]>| bytes.map(|b| String::from_utf8_lossy(b).into_owned());
    let stamp = record.headers.get(STAMP).and_then(Stamp::decode);
    let (key, value) = (text(record.key), text(record.value));
    format!(
        "{} {} at {}, {stamp:?}",
        key.unwrap_or_default(),
        value.unwrap_or_default(),
        record.timestamp
    )
}
