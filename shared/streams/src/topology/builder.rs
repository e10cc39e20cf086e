//! Puts a [`Topology`] together and refuses one that is wired wrongly, before any broker call.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::{
    Backing, FromChangelog, FromLedger, KeyOf, ProcessorSpec, RowOf, Sink, Source, StoreSpec,
    Tells, ToChangelog, Topology,
};
use crate::processor::Processor;

/// What is wrong with a topology.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopologyError {
    /// Two parts have one name, or two sources one topic.
    #[error("topology {topology}: {name:?} is there twice")]
    Twice {
        /// The topology.
        topology: String,
        /// The name or topic.
        name: String,
    },
    /// A part names another that is not there.
    #[error("topology {topology}: {by:?} names {name:?}, which is not there")]
    Unknown {
        /// The topology.
        topology: String,
        /// Who names it.
        by: String,
        /// What is missing.
        name: String,
    },
    /// A part that nothing uses, or that lacks what it needs.
    #[error("topology {topology}: {name:?} {cause}")]
    Dangling {
        /// The topology.
        topology: String,
        /// The part.
        name: String,
        /// What is wrong.
        cause: &'static str,
    },
}

/// Builds a [`Topology`]; mistakes are told by [`TopologyBuilder::build`].
#[must_use = "a topology is made by build()"]
pub struct TopologyBuilder {
    topology: Topology,
}

impl TopologyBuilder {
    pub(super) fn new(name: String) -> Self {
        Self {
            topology: Topology {
                name,
                sources: Vec::new(),
                processors: Vec::new(),
                stores: Vec::new(),
                tells: Vec::new(),
                sinks: Vec::new(),
                rekey: None,
                dead_letters: None,
            },
        }
    }

    /// Reads `topic`; `key` tells where each record belongs.
    pub fn source(mut self, name: &str, topic: impl Into<String>, key: KeyOf) -> Self {
        self.topology.sources.push(Source {
            name: name.to_owned(),
            topic: topic.into(),
            key,
            head_start_ms: None,
            future_max_ms: None,
        });
        self
    }

    /// Lets the records of the last source go before those of sources without a head start, unless
    /// they are stamped later by more than this. One that is stamped further ahead holds up none of
    /// those behind it: it goes early, with them.
    pub fn head_start(mut self, by: Duration) -> Self {
        if let Some(source) = self.topology.sources.last_mut() {
            source.head_start_ms = Some(by.as_millis() as u64);
        }
        self
    }

    /// Makes dead letters of the last source's records that are stamped further ahead of the
    /// clock than this; its topic, where it is created, refuses them at the door.
    pub fn future_max(mut self, by: Duration) -> Self {
        if let Some(source) = self.topology.sources.last_mut() {
            source.future_max_ms = Some(by.as_millis() as u64);
        }
        self
    }

    /// A store with a compacted changelog of its own, whose records have the form that `to`
    /// writes and `from` reads.
    pub fn store(
        mut self,
        name: &str,
        changelog: impl Into<String>,
        to: ToChangelog,
        from: FromChangelog,
    ) -> Self {
        let backing = Backing::Changelog { topic: changelog.into(), to, from };
        self.topology.stores.push(StoreSpec { name: name.to_owned(), backing });
        self
    }

    /// A store with a compacted changelog of its own, whose records are the rows as they are.
    pub fn plain_store(self, name: &str, changelog: impl Into<String>) -> Self {
        let to: ToChangelog = |_, row, into| into.extend_from_slice(row);
        self.store(name, changelog, to, |_, value| Ok(value.to_vec()))
    }

    /// A store that remembers what `from` reads in the records that the task itself writes to
    /// `topic`: that topic is its log, there is no second copy.
    pub fn store_backed_by(
        mut self,
        name: &str,
        topic: impl Into<String>,
        from: FromLedger,
    ) -> Self {
        let backing = Backing::Ledger { topic: topic.into(), from };
        self.topology.stores.push(StoreSpec { name: name.to_owned(), backing });
        self
    }

    /// Says that the records of `topic`, which backs another store, speak of rows of `store`: the
    /// sequence in the stamp of each is that of the row whose key `row` reads. A store that is
    /// built from its changelog is then compared with what they tell, and is not used where the
    /// changelog has lost rows. For rows that are never deleted.
    pub fn tells_of(mut self, store: &str, topic: impl Into<String>, row: RowOf) -> Self {
        let (store, topic) = (store.to_owned(), topic.into());
        self.topology.tells.push(Tells { store, topic, row });
        self
    }

    /// Sends records that lie in a partition that is not their key's through `topic`.
    pub fn rekey(mut self, topic: impl Into<String>) -> Self {
        self.topology.rekey = Some(topic.into());
        self
    }

    /// Sends records that cannot be read to `topic`, as they came.
    pub fn dead_letters(mut self, topic: impl Into<String>) -> Self {
        self.topology.dead_letters = Some(topic.into());
        self
    }

    /// A processor that reads these sources and keeps these stores.
    pub fn processor<P: Processor + 'static>(
        mut self,
        name: &str,
        factory: impl Fn() -> P + Send + Sync + 'static,
        reads: impl IntoIterator<Item = &'static str>,
        keeps: impl IntoIterator<Item = &'static str>,
    ) -> Self {
        self.topology.processors.push(ProcessorSpec {
            name: name.to_owned(),
            factory: Arc::new(move || Box::new(factory())),
            reads: reads.into_iter().map(str::to_owned).collect(),
            keeps: keeps.into_iter().map(str::to_owned).collect(),
            punctuate_every_ms: None,
        });
        self
    }

    /// Calls the last processor's `punctuate` whenever stream time enters a new interval of this
    /// length.
    pub fn punctuate_every(mut self, interval: Duration) -> Self {
        if let Some(processor) = self.topology.processors.last_mut() {
            processor.punctuate_every_ms = Some(interval.as_millis().max(1) as u64);
        }
        self
    }

    /// Writes what processor `from` sends under this name to `topic`.
    pub fn sink(mut self, name: &str, topic: impl Into<String>, from: &str) -> Self {
        let (name, topic, from) = (name.to_owned(), topic.into(), from.to_owned());
        self.topology.sinks.push(Sink { name, topic, from });
        self
    }

    /// The topology.
    ///
    /// # Errors
    /// The first wiring mistake found.
    pub fn build(self) -> Result<Topology, TopologyError> {
        let t = &self.topology;
        self.unique(t.sources.iter().map(|s| s.name.as_str()))?;
        self.unique(t.inputs().iter().map(String::as_str))?;
        self.unique(t.processors.iter().map(|p| p.name.as_str()))?;
        self.unique(t.stores.iter().map(|s| s.name.as_str()))?;
        self.unique(t.sinks.iter().map(|s| s.name.as_str()))?;
        if t.sources.is_empty() {
            return Err(self.dangling(&t.name, "reads nothing"));
        }
        for processor in &t.processors {
            for name in &processor.reads {
                self.known(&processor.name, name, t.sources.iter().any(|s| s.name == *name))?;
            }
            for name in &processor.keeps {
                self.known(&processor.name, name, t.store_index(name).is_some())?;
            }
        }
        for sink in &t.sinks {
            self.known(&sink.name, &sink.from, t.processors.iter().any(|p| p.name == sink.from))?;
        }
        for tells in &t.tells {
            self.known(&tells.topic, &tells.store, t.store_index(&tells.store).is_some())?;
            let is_it = |s: &StoreSpec| s.backing.topic() == tells.topic && s.name != tells.store;
            if !t.stores.iter().any(is_it) {
                return Err(self.dangling(&tells.topic, "tells of rows and backs no store"));
            }
        }
        self.wired()?;
        Ok(self.topology)
    }

    fn wired(&self) -> Result<(), TopologyError> {
        let t = &self.topology;
        for source in &t.sources {
            match t.processors.iter().filter(|p| p.reads.contains(&source.name)).count() {
                0 => return Err(self.dangling(&source.name, "is read by no processor")),
                1 => {}
                _ => return Err(self.dangling(&source.name, "is read by two processors")),
            }
        }
        for store in &t.stores {
            match t.processors.iter().filter(|p| p.keeps.contains(&store.name)).count() {
                0 => return Err(self.dangling(&store.name, "is kept by no processor")),
                1 => {}
                _ => return Err(self.dangling(&store.name, "is kept by two processors")),
            }
            let topic = store.backing.topic();
            let read = t.inputs().iter().any(|i| i == topic);
            let written = t.sinks.iter().any(|s| s.topic == topic);
            match store.backing {
                // What others write can grow behind the task's back: it says nothing of the
                // task's own state.
                Backing::Ledger { .. } if read || !written => {
                    return Err(self.dangling(&store.name, "must be backed by a topic of a sink"));
                }
                Backing::Changelog { .. } if read || written => {
                    return Err(self.dangling(&store.name, "must have a changelog of its own"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn unique<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<(), TopologyError> {
        let mut seen = HashSet::new();
        for name in names {
            if !seen.insert(name) {
                let (topology, name) = (self.topology.name.clone(), name.to_owned());
                return Err(TopologyError::Twice { topology, name });
            }
        }
        Ok(())
    }

    fn known(&self, by: &str, name: &str, known: bool) -> Result<(), TopologyError> {
        if known {
            return Ok(());
        }
        let topology = self.topology.name.clone();
        Err(TopologyError::Unknown { topology, by: by.to_owned(), name: name.to_owned() })
    }

    fn dangling(&self, name: &str, cause: &'static str) -> TopologyError {
        let topology = self.topology.name.clone();
        TopologyError::Dangling { topology, name: name.to_owned(), cause }
    }
}
