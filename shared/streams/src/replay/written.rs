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
    pub(super) fn is_of(&mut self, decided: &Decided) -> Result<bool> {
        Ok(self.stamp()?.is_some_and(|stamp| decided.has_written(&stamp)))
    }
}

/// What had outputs.
pub(super) struct Decided {
    /// A record, by its input and offset; none where rows have fallen due.
    pub(super) source: Option<(u32, u64)>,
    /// The positions that it left.
    pub(super) positions: Vec<u64>,
    /// To which the clocks had come.
    pub(super) clocks: Clocks,
}

impl Decided {
    pub(super) fn of(stamp: Stamp) -> Decided {
        let Stamp { source, positions, clocks, .. } = stamp;
        Decided { source, positions, clocks }
    }

    fn has_written(&self, stamp: &Stamp) -> bool {
        let is_same = (&self.positions, self.clocks) == (&stamp.positions, stamp.clocks);
        self.source == stamp.source && (self.source.is_some() || is_same)
    }

    /// Which of two came first: by their positions; of those that leave the same, the record that has led
    /// to them, then rows that fell due before the next one.
    pub(super) fn place(&self) -> (u64, Option<Clocks>) {
        let clocks = self.source.is_none().then_some(self.clocks);
        (self.positions.iter().sum(), clocks)
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
    (recorded.key, recorded.value, recorded.time())
        == (replayed.key, replayed.value, replayed.time())
        && headers(recorded) == headers(replayed)
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
