//! A topology as plain data: which topics are read, by which processor, with which stores, and
//! where the results go. It is validated before any broker is asked, can be printed, and every
//! driver runs the same one.

mod builder;
#[cfg(test)]
pub(crate) mod nothing;
mod parts;
mod print;
mod wiring;

use std::borrow::Cow;

pub use self::builder::TopologyBuilder;
pub use self::parts::{Ledger, Node, Sink, Source, Store, as_it_is};
pub(crate) use self::wiring::{AnyProcessor, Gate, Make};
pub use self::wiring::{Homes, Wiring};
use crate::broker::{CleanupPolicy, TopicDescription};
use crate::due::DueOf;
pub use crate::error::TopologyError;
use crate::partitioner::murmur2;
use crate::record::Record;
use crate::store::Kept;

/// Writes a row for its changelog: readable by people, for instance.
pub type ToChangelog = fn(key: &[u8], row: &[u8], into: &mut Vec<u8>);

/// Reads a row back from its changelog; the error says what is wrong with it.
pub type FromChangelog = fn(key: &[u8], value: &[u8]) -> Result<Vec<u8>, String>;

/// What a ledger record says of the store it backs: key and value, or nothing.
pub type FromLedger = for<'a> fn(&Record<'a>, memo: &[u8]) -> Option<(Vec<u8>, Vec<u8>)>;

/// The key of the row that a record speaks of; nothing where it speaks of none.
pub type RowOf = for<'a> fn(&Record<'a>) -> Option<Cow<'a, [u8]>>;

/// A source, as the engine knows it.
#[derive(Clone)]
pub(crate) struct SourceSpec {
    pub(crate) name: String,
    pub(crate) topic: String,
    /// Its number among the inputs, where it is given one.
    number: Option<usize>,
    /// The node that reads it, and its place there.
    pub(crate) node: usize,
    pub(crate) place: usize,
    pub(crate) head_start_ms: Option<u64>,
    pub(crate) future_max_ms: Option<u64>,
}

/// What a store is restored from.
#[derive(Clone)]
pub(crate) enum Backing {
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
    pub(crate) fn topic(&self) -> &str {
        match self {
            Self::Changelog { topic, .. } | Self::Ledger { topic, .. } => topic,
        }
    }
}

/// A table of local state.
#[derive(Clone)]
pub(crate) struct StoreSpec {
    pub(crate) name: String,
    pub(crate) backing: Backing,
    pub(crate) due: Option<DueSpec>,
}

/// When rows of a store fall due.
#[derive(Clone, Copy)]
pub(crate) struct DueSpec {
    pub(crate) version: u32,
    pub(crate) of: DueOf,
}

/// How far ahead of the broker's clock a tick may be: it would end what others wait for early.
pub(crate) const TICKS_FUTURE_MAX_MS: u64 = 10_000;

/// The table that holds the index of due rows.
const DUE_INDEX: &str = "due-index";

/// A ledger whose records speak of rows of another store.
#[derive(Clone)]
pub(crate) struct Tells {
    /// Name of the store.
    pub(crate) store: String,
    /// The ledger's topic.
    pub(crate) topic: String,
    /// Of which row.
    pub(crate) row: RowOf,
}

/// A node, as the engine knows it.
#[derive(Clone)]
pub(crate) struct NodeSpec {
    pub(crate) name: String,
    make: Make,
    /// The stores and sinks that it has asked for.
    pub(crate) keeps: Vec<usize>,
    pub(crate) writes: Vec<usize>,
}

/// A topic that is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SinkSpec {
    pub(crate) name: String,
    pub(crate) topic: String,
    /// A message goes to the partition of its key, not to the task's own.
    pub(crate) is_keyed: bool,
}

/// Which records an input holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InputKind {
    /// Those of a source.
    Source(usize),
    /// Those that lay in a wrong partition, of any source.
    Moved,
    /// Ticks.
    Ticks,
}

/// A whole application: see [`Topology::named`].
#[derive(Clone)]
pub struct Topology {
    name: String,
    pub(crate) sources: Vec<SourceSpec>,
    pub(crate) nodes: Vec<NodeSpec>,
    pub(crate) stores: Vec<StoreSpec>,
    /// What ledgers tell of rows: a restore compares the two.
    pub(crate) tells: Vec<Tells>,
    pub(crate) sinks: Vec<SinkSpec>,
    pub(crate) rekey: Option<String>,
    pub(crate) ticks: Option<String>,
    pub(crate) dead_letters: Option<String>,
    /// What is read, by number; ties of time are broken in this order.
    pub(crate) kinds: Vec<InputKind>,
    /// Of the first input, of the first two, and so on: which inputs those are.
    fingerprints: Vec<u16>,
}

/// How many partitions its topics have on a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Partitions of all topics but the dead letters'.
    pub partitions: u32,
    /// Partitions of the topic of dead letters.
    pub dead_letter_partitions: u32,
}

impl Topology {
    /// Begins a topology. `name` is the application's: its consumer group and the beginning of
    /// its transactional ids.
    pub fn named(name: impl Into<String>) -> TopologyBuilder {
        TopologyBuilder::new(name.into())
    }

    /// Name of the application: its group, and the beginning of its transactional ids.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The source that an input holds records of; none where it holds moved records of any, or ticks.
    pub(crate) fn source_of(&self, input: usize) -> Option<usize> {
        match self.kinds[input] {
            InputKind::Source(source) => Some(source),
            InputKind::Moved | InputKind::Ticks => None,
        }
    }

    /// The input that holds ticks.
    pub(crate) fn tick_input(&self) -> Option<usize> {
        self.kinds.iter().position(|kind| *kind == InputKind::Ticks)
    }

    /// The topics that are read, by the number of the input.
    pub fn inputs(&self) -> Vec<String> {
        let topic = |kind: &InputKind| match kind {
            InputKind::Source(source) => Some(self.sources[*source].topic.clone()),
            InputKind::Moved => self.rekey.clone(),
            InputKind::Ticks => self.ticks.clone(),
        };
        self.kinds.iter().filter_map(topic).collect()
    }

    /// Which inputs there are, in which order.
    pub(crate) fn fingerprint(&self) -> u16 {
        self.fingerprints.last().copied().unwrap_or_default()
    }

    /// Whether positions that a stamp tells are of the first inputs of now, by number.
    pub(crate) fn has_numbers(&self, inputs: Option<u16>, count: usize) -> bool {
        match inputs {
            Some(inputs) => {
                count > 0 && self.fingerprints.get(count - 1).is_some_and(|known| *known == inputs)
            }
            // Of version 1. Who numbers inputs has added them behind those that there were.
            None => {
                let is_numbered = |input: usize| {
                    let source = self.source_of(input);
                    source.is_some_and(|source| self.sources[source].number.is_some())
                };
                let inputs = self.kinds.len();
                count == inputs
                    || count < inputs
                        && (count..inputs).all(is_numbered)
                        && !(0..count).any(is_numbered)
            }
        }
    }

    /// The sources, by name and topic, as they are declared.
    pub fn sources(&self) -> impl Iterator<Item = (&str, &str)> {
        self.sources.iter().map(|source| (source.name.as_str(), source.topic.as_str()))
    }

    /// The changelogs of its stores.
    pub fn changelogs(&self) -> impl Iterator<Item = &str> {
        let changelogs = |store: &&StoreSpec| matches!(store.backing, Backing::Changelog { .. });
        self.stores.iter().filter(changelogs).map(|store| store.backing.topic())
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
        let written = written.chain(&self.rekey).chain(&self.ticks).chain(&self.dead_letters);
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
            // What a processor writes itself may be stamped as far ahead as what it reads.
            let is_own = self.sinks.iter().any(|sink| sink.topic == source.topic);
            add(&source.topic, kept.clone(), source.future_max_ms.filter(|_| !is_own));
        }
        for store in &self.stores {
            match &store.backing {
                Backing::Changelog { topic, .. } => add(topic, CleanupPolicy::Compact, None),
                Backing::Ledger { topic, .. } => add(topic, kept.clone(), None),
            }
        }
        if let Some(topic) = &self.ticks {
            add(topic, kept.clone(), Some(TICKS_FUTURE_MAX_MS));
        }
        let written = self.sinks.iter().map(|s| &s.topic);
        for topic in written.chain(&self.rekey).chain(&self.dead_letters) {
            add(topic, kept.clone(), None);
        }
        all
    }

    /// The stores, as a checkpoint has them.
    pub(crate) fn kept(&self) -> Vec<Kept> {
        let kept = |store: &StoreSpec| Kept {
            name: store.name.clone(),
            topic: Some(store.backing.topic().to_owned()),
        };
        self.stores.iter().map(kept).collect()
    }

    /// Names of the tables that it keeps: those of its stores, in their order, and then the index of due
    /// rows, where there are any.
    pub fn tables(&self) -> Vec<String> {
        let index = self.due_index().map(|_| DUE_INDEX.to_owned());
        self.store_names().into_iter().chain(index).collect()
    }

    /// Names of the stores.
    pub fn store_names(&self) -> Vec<String> {
        self.stores.iter().map(|store| store.name.clone()).collect()
    }

    /// The number of the table that holds the index of due rows; none where no row falls due.
    pub(crate) fn due_index(&self) -> Option<usize> {
        self.stores.iter().any(|store| store.due.is_some()).then_some(self.stores.len())
    }

    /// By which stores, and which of their functions, the index of due rows is made; none where no row
    /// falls due.
    pub(crate) fn due_layout(&self) -> Option<u32> {
        self.due_index()?;
        let mut text = String::new();
        for (table, store) in self.stores.iter().enumerate() {
            if let Some(DueSpec { version, .. }) = store.due {
                text.push_str(&format!("{table} {version} {}\n", store.name));
            }
        }
        Some(murmur2(text.as_bytes()))
    }

    /// Index of a store, as tables are numbered.
    pub(crate) fn store_index(&self, name: &str) -> Option<usize> {
        self.stores.iter().position(|s| s.name == name)
    }
}
