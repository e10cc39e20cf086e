//! Replay: the same inputs again, in the recorded order, through the same topology into an empty
//! store; what comes out must be what lies on the topics, byte by byte, and the rows too.
//!
//! The stamps of what a task wrote say at which positions of its inputs it did so. Records between
//! two of them wrote nothing and do so again, in whatever order. The clock is taken from the dead
//! letters: what was buried as `FUTURE` is buried again.
//!
//! It reads committed records only, and writes to no topic but where it is asked to rebuild a
//! changelog. It is meant for an application at rest: what a running one decides meanwhile is left
//! out.
//!
//! Reading order: this file (what is asked, what is told), `partition_reader` (reading on), `run` (a
//! partition), `written` (what it is compared with), `rows` (its tables), `rebuild` (rows that are gone).

mod partition_reader;
mod rebuild;
mod rows;
mod run;
mod written;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use self::partition_reader::PartitionReader;
pub use self::rebuild::Rebuilt;
use self::run::Run;
use crate::broker::{Broker, BrokerError, Isolation, OffsetSpec, TopicPartition};
use crate::error::{Error, Result};

use crate::store::Store;
use crate::task::TaskEnv;
use crate::topology::{Layout, Topology};

/// Differences that are kept word for word; of the others only the number is known.
pub const DIFFERENCES_MAX: usize = 100;

/// Something that is not as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Topic, or table.
    pub place: String,
    /// Partition.
    pub partition: u32,
    /// Offset; `None` where no single record is meant.
    pub offset: Option<u64>,
    /// What is recorded.
    pub recorded: String,
    /// What the replay gives.
    pub replayed: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { place, partition, offset, recorded, replayed } = self;
        write!(f, "{place}-{partition}")?;
        if let Some(offset) = offset {
            write!(f, "@{offset}")?;
        }
        write!(f, ": recorded {recorded}; replayed {replayed}")
    }
}

/// What a replay found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplayReport {
    /// Input records processed again.
    pub records: u64,
    /// Recorded outputs compared.
    pub outputs: u64,
    /// Rows compared, with the changelog and (if one was given) with the store.
    pub rows: u64,
    /// The first [`DIFFERENCES_MAX`] differences.
    pub differences: Vec<Difference>,
    /// How many there are.
    pub differing: u64,
}

impl ReplayReport {
    fn note(&mut self, difference: Difference) {
        self.differing += 1;
        if self.differences.len() < DIFFERENCES_MAX {
            self.differences.push(difference);
        }
    }
}

/// Whether to go on, asked with each chunk: records processed so far, and to process in all.
pub type Progress<'a> = &'a dyn Fn(u64, u64) -> bool;

/// A replay to be run.
pub struct Replay<'a> {
    broker: &'a dyn Broker,
    env: Arc<TaskEnv>,
    against: Option<&'a dyn Store>,
}

impl<'a> Replay<'a> {
    /// Of what this topology has read and written, into an empty store.
    ///
    /// # Errors
    /// When one of its topics is missing, or the broker does not answer.
    pub fn new(
        broker: &'a dyn Broker,
        topology: Topology,
        store: Arc<dyn Store>,
    ) -> Result<Replay<'a>> {
        let count = |topic: &str| -> Result<u32> {
            let found = broker.describe_topics(&[topic])?.into_iter().flatten().next();
            let found = found.ok_or_else(|| Error::Topic {
                topic: topic.to_owned(),
                cause: "it does not exist: there is nothing to replay".to_owned(),
            })?;
            Ok(found.partitions)
        };
        let partitions = count(&topology.inputs()[0])?;
        let dead_letter_partitions = match &topology.dead_letters {
            Some(topic) => count(topic)?,
            None => 0,
        };
        let topics = Layout { partitions, dead_letter_partitions };
        let env = Arc::new(TaskEnv::new(Arc::new(topology), store, topics));
        Ok(Replay { broker, env, against: None })
    }

    /// Compares the rows with those of this store too.
    pub fn against(mut self, store: &'a dyn Store) -> Self {
        self.against = Some(store);
        self
    }

    /// Replays every partition. `progress` may end it.
    ///
    /// # Errors
    /// When the topics cannot be read, or no longer hold what was decided; `Interrupted` by
    /// `progress`.
    pub fn run(&self, progress: Progress<'_>) -> Result<ReplayReport> {
        let mut report = ReplayReport::default();
        self.replay(progress, &mut report, &mut |run, report| {
            rows::compare(self.broker, &self.env, run.partition, self.against, report)
        })?;
        Ok(report)
    }

    /// Replays every partition; `done` takes each in the end.
    fn replay(
        &self,
        progress: Progress<'_>,
        report: &mut ReplayReport,
        done: &mut dyn FnMut(&Run<'_>, &mut ReplayReport) -> Result<()>,
    ) -> Result<()> {
        let early = self.buried_as_future()?;
        let total = self.total()?;
        for partition in 0..self.env.partitions {
            let mut run = Run::begin(self.broker, self.env.clone(), partition, &early)?;
            run.replay(report, &|done| match progress(done, total) {
                true => Ok(()),
                false => Err(interrupted()),
            })?;
            done(&run, report)?;
        }
        Ok(())
    }

    fn total(&self) -> Result<u64> {
        let at = |topic: &String| {
            let topic = topic.clone();
            (0..self.env.partitions).map(move |p| TopicPartition::new(&topic, p))
        };
        let inputs: Vec<_> = self.env.inputs.iter().flat_map(at).collect();
        let ends = self.broker.offsets(&inputs, OffsetSpec::End(Isolation::ReadCommitted))?;
        Ok(ends.iter().sum())
    }

    /// The places of records that were buried because of the clock.
    fn buried_as_future(&self) -> Result<HashSet<Spot>> {
        let mut early = HashSet::new();
        let Some(topic) = &self.env.topology.dead_letters else {
            return Ok(early);
        };
        for partition in 0..self.env.dead_letter_partitions {
            let mut reader =
                PartitionReader::whole(self.broker, TopicPartition::new(topic, partition))?;
            while let Some(letter) = reader.head()? {
                let text = |name| std::str::from_utf8(letter.headers.get(name)?).ok();
                let place = || {
                    let partition = text("partition")?.parse().ok()?;
                    Some((text("topic")?.to_owned(), partition, text("offset")?.parse().ok()?))
                };
                if text("code") == Some("FUTURE")
                    && let Some(place) = place()
                {
                    early.insert(place);
                }
                reader.advance();
            }
        }
        Ok(early)
    }
}

/// Topic, partition and offset of a record.
type Spot = (String, u32, u64);

fn interrupted() -> Error {
    BrokerError::Fatal { what: "replay", cause: "interrupted".to_owned() }.into()
}
