//! A topology as plain data: which topics are read, by which processor, with which stores, and
//! where the results go. It is validated before any broker is asked, can be printed, and every
//! driver runs the same one.

mod builder;
mod print;

use std::borrow::Cow;
use std::sync::Arc;

pub use self::builder::{TopologyBuilder, TopologyError};
use crate::broker::{CleanupPolicy, TopicDescription};
use crate::processor::{DeadLetter, Processor};
use crate::record::Record;

/// The key that a record belongs to, read from its value or its key; what cannot be read becomes
/// a dead letter. The engine alone turns keys into partitions.
pub type KeyOf = for<'a> fn(&Record<'a>) -> Result<Cow<'a, [u8]>, DeadLetter>;

/// The key of a record as it is; one without a key is a dead letter `NO_KEY`.
///
/// # Errors
/// The dead letter.
pub fn record_key<'a>(record: &Record<'a>) -> Result<Cow<'a, [u8]>, DeadLetter> {
    let key = record.key.map(Cow::Borrowed);
    key.ok_or_else(|| DeadLetter::new("NO_KEY", "it has no key"))
}

/// Makes a processor for one task.
pub type ProcessorFactory = Arc<dyn Fn() -> Box<dyn Processor> + Send + Sync>;

/// Writes a row for its changelog: readable by people, for instance.
pub type ToChangelog = fn(key: &[u8], row: &[u8], into: &mut Vec<u8>);

/// Reads a row back from its changelog; the error says what is wrong with it.
pub type FromChangelog = fn(key: &[u8], value: &[u8]) -> Result<Vec<u8>, String>;

/// What a ledger record says of the store it backs: key and value, or nothing.
pub type FromLedger = for<'a> fn(&Record<'a>, memo: &[u8]) -> Option<(Vec<u8>, Vec<u8>)>;

/// A topic that is read.
#[derive(Clone)]
pub struct Source {
    /// Name in the topology.
    pub name: String,
    /// The topic.
    pub topic: String,
    /// Where a record belongs.
    pub key: KeyOf,
    /// Its records go before those of inputs without one unless stamped this much later (ms).
    pub head_start_ms: Option<u64>,
    /// Records stamped further ahead of the clock become dead letters (ms).
    pub future_max_ms: Option<u64>,
}

/// What a store is restored from.
#[derive(Clone)]
pub enum Backing {
    /// A compacted topic of its own, one row per changed key and transaction.
    Changelog {
        /// The topic.
        topic: String,
        /// Row to record.
        to: ToChangelog,
        /// Record to row.
        from: FromChangelog,
    },
    /// A topic that the task writes anyway, in its own partition.
    Ledger {
        /// The topic.
        topic: String,
        /// Record to key and row.
        from: FromLedger,
    },
}

impl Backing {
    /// The topic.
    pub fn topic(&self) -> &str {
        match self {
            Self::Changelog { topic, .. } | Self::Ledger { topic, .. } => topic,
        }
    }
}

/// A table of local state.
#[derive(Clone)]
pub struct StoreSpec {
    /// Name in the topology.
    pub name: String,
    /// What it is restored from.
    pub backing: Backing,
}

/// The key of the row that a record speaks of; nothing where it speaks of none.
pub type RowOf = for<'a> fn(&Record<'a>) -> Option<Cow<'a, [u8]>>;

/// A ledger whose records speak of rows of another store.
#[derive(Clone)]
pub struct Tells {
    /// Name of the store.
    pub store: String,
    /// The ledger's topic.
    pub topic: String,
    /// Of which row.
    pub row: RowOf,
}

/// A node that processes records.
#[derive(Clone)]
pub struct ProcessorSpec {
    /// Name in the topology.
    pub name: String,
    /// Makes one for a task.
    pub factory: ProcessorFactory,
    /// Names of the sources it reads.
    pub reads: Vec<String>,
    /// Names of the stores it keeps.
    pub keeps: Vec<String>,
    /// Stream time between two calls of [`Processor::punctuate`] (ms).
    pub punctuate_every_ms: Option<u64>,
}

/// A topic that is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sink {
    /// Name in the topology.
    pub name: String,
    /// The topic.
    pub topic: String,
    /// Name of the processor that writes it.
    pub from: String,
}

/// A whole application: see [`Topology::named`].
#[derive(Clone)]
pub struct Topology {
    /// Name of the application: its group, and the beginning of its transactional ids.
    pub name: String,
    /// What is read, in the order in which ties of time are broken.
    pub sources: Vec<Source>,
    /// What processes.
    pub processors: Vec<ProcessorSpec>,
    /// What is remembered.
    pub stores: Vec<StoreSpec>,
    /// What ledgers tell of rows: a restore compares the two.
    pub tells: Vec<Tells>,
    /// What is written.
    pub sinks: Vec<Sink>,
    /// Where records go that lie in a partition that is not their key's.
    pub rekey: Option<String>,
    /// Where records go that cannot be read.
    pub dead_letters: Option<String>,
}

impl Topology {
    /// Begins a topology. `name` is the application's: its consumer group and the beginning of
    /// its transactional ids.
    pub fn named(name: impl Into<String>) -> TopologyBuilder {
        TopologyBuilder::new(name.into())
    }

    /// The topics that are read, in the order of a task's inputs: the sources', then the one of
    /// moved records.
    pub fn inputs(&self) -> Vec<String> {
        self.sources.iter().map(|s| &s.topic).chain(&self.rekey).cloned().collect()
    }

    /// The topics that back a store, each once.
    pub fn backing_topics(&self) -> Vec<String> {
        let mut topics: Vec<String> = Vec::new();
        for store in &self.stores {
            if !topics.iter().any(|t| t == store.backing.topic()) {
                topics.push(store.backing.topic().to_owned());
            }
        }
        topics
    }

    /// The topics of which positions are kept, each once: what is read, and what backs a store.
    pub(crate) fn topics_with_positions(&self) -> Vec<String> {
        let mut topics = self.inputs();
        for topic in self.backing_topics() {
            if !topics.contains(&topic) {
                topics.push(topic);
            }
        }
        topics
    }

    /// Whether a task writes to this topic.
    pub(crate) fn writes(&self, topic: &str) -> bool {
        let backs = |store: &StoreSpec| store.backing.topic() == topic;
        let written = self.sinks.iter().map(|sink| &sink.topic);
        let written = written.chain(&self.rekey).chain(&self.dead_letters);
        self.stores.iter().any(backs) || written.into_iter().any(|name| name == topic)
    }

    /// Every topic that must be there, as it must be, with this many partitions.
    pub fn topics(&self, partitions: u32) -> Vec<TopicDescription> {
        let kept = CleanupPolicy::Delete { retention_ms: None };
        let mut all: Vec<TopicDescription> = Vec::new();
        let mut add = |name: &str, cleanup: CleanupPolicy, future_max_ms: Option<u64>| {
            if !all.iter().any(|t| t.name == name) {
                let name = name.to_owned();
                all.push(TopicDescription { name, partitions, cleanup, future_max_ms });
            }
        };
        for source in &self.sources {
            add(&source.topic, kept.clone(), source.future_max_ms);
        }
        for store in &self.stores {
            match &store.backing {
                Backing::Changelog { topic, .. } => add(topic, CleanupPolicy::Compact, None),
                Backing::Ledger { topic, .. } => add(topic, kept.clone(), None),
            }
        }
        let written = self.sinks.iter().map(|s| &s.topic);
        for topic in written.chain(&self.rekey).chain(&self.dead_letters) {
            add(topic, kept.clone(), None);
        }
        all
    }

    /// Names of the stores, in the order of their tables.
    pub(crate) fn store_names(&self) -> Vec<String> {
        self.stores.iter().map(|store| store.name.clone()).collect()
    }

    /// Index of a store, as tables are numbered.
    pub(crate) fn store_index(&self, name: &str) -> Option<usize> {
        self.stores.iter().position(|s| s.name == name)
    }
}
