//! Puts a [`Topology`] together and refuses one that is wired wrongly, before any broker call.

use std::collections::HashSet;

use super::parts::{Ledger, Node, Reader, Sink, Source, Store};
use super::wiring::{Used, erase};
use super::{Backing, InputKind, NodeSpec, SinkSpec, SourceSpec, StoreSpec, Tells, Topology};
use crate::error::TopologyError;
use crate::partitioner::murmur2;
use crate::processor::Processor;

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
                nodes: Vec::new(),
                stores: Vec::new(),
                tells: Vec::new(),
                sinks: Vec::new(),
                rekey: None,
                dead_letters: None,
                kinds: Vec::new(),
                fingerprints: Vec::new(),
            },
        }
    }

    /// Keeps a store.
    pub fn store(mut self, store: Store) -> Self {
        let Store { name, changelog: topic, to, from } = store;
        let backing = Backing::Changelog { topic, to, from };
        self.topology.stores.push(StoreSpec { name, backing });
        self
    }

    /// Keeps a store that is backed by the topic of a sink.
    pub fn ledger(mut self, ledger: Ledger) -> Self {
        let Ledger { name, topic, from, tells } = ledger;
        if let Some((store, row)) = tells {
            self.topology.tells.push(Tells { store, topic: topic.clone(), row });
        }
        let backing = Backing::Ledger { topic, from };
        self.topology.stores.push(StoreSpec { name, backing });
        self
    }

    /// Writes a topic.
    pub fn sink(mut self, sink: Sink) -> Self {
        let Sink { name, topic } = sink;
        self.topology.sinks.push(SinkSpec { name, topic });
        self
    }

    /// Processes what a node's sources read.
    pub fn processor<P: Processor + 'static>(mut self, node: Node<P>) -> Self {
        let Node { name, make, sources } = node;
        let make = erase(make, &sources);
        let node = self.topology.nodes.len();
        let spec = |(place, source): (usize, Source<Reader<P>>)| SourceSpec {
            name: source.name,
            topic: source.topic,
            number: source.number,
            node,
            place,
            head_start_ms: source.head_start_ms,
            future_max_ms: source.future_max_ms,
        };
        self.topology.sources.extend(sources.into_iter().enumerate().map(spec));
        let (keeps, writes) = (Vec::new(), Vec::new());
        self.topology.nodes.push(NodeSpec { name, make, keeps, writes });
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

    /// The topology.
    ///
    /// # Errors
    /// The first wiring mistake found.
    pub fn build(mut self) -> Result<Topology, TopologyError> {
        let t = &self.topology;
        self.unique(t.sources.iter().map(|s| s.name.as_str()))?;
        let read = t.sources.iter().map(|s| &s.topic).chain(&t.rekey);
        self.unique(read.map(String::as_str))?;
        self.unique(t.nodes.iter().map(|n| n.name.as_str()))?;
        self.unique(t.stores.iter().map(|s| s.name.as_str()))?;
        self.unique(t.sinks.iter().map(|s| s.name.as_str()))?;
        if t.sources.is_empty() {
            return Err(self.dangling(&t.name, "reads nothing"));
        }
        self.topology.kinds = self.number_inputs()?;
        self.topology.fingerprints = self.fingerprints();
        for node in 0..self.topology.nodes.len() {
            self.wire(node)?;
        }
        self.check_stores()?;
        self.check_sinks()?;
        Ok(self.topology)
    }

    /// Gives each input its number.
    fn number_inputs(&self) -> Result<Vec<InputKind>, TopologyError> {
        let t = &self.topology;
        let mut kinds = vec![None; t.sources.len() + usize::from(t.rekey.is_some())];
        for (index, source) in t.sources.iter().enumerate() {
            let Some(number) = source.number else { continue };
            match kinds.get_mut(number) {
                Some(free @ None) => *free = Some(InputKind::Source(index)),
                Some(_) => return Err(self.dangling(&source.name, "has the number of another")),
                None => return Err(self.dangling(&source.name, "leaves a number out before it")),
            }
        }
        let unnumbered = t.sources.iter().enumerate().filter(|(_, s)| s.number.is_none());
        let unnumbered = unnumbered.map(|(index, _)| InputKind::Source(index));
        let mut rest = unnumbered.chain(t.rekey.is_some().then_some(InputKind::Moved));
        Ok(kinds.into_iter().filter_map(|kind| kind.or_else(|| rest.next())).collect())
    }

    /// One for each number of inputs that there may have been.
    fn fingerprints(&self) -> Vec<u16> {
        let mut names = Vec::new();
        let add = |kind: &InputKind| {
            let name = match kind {
                InputKind::Source(source) => self.topology.sources[*source].name.as_str(),
                // No name of a source: those are not empty.
                InputKind::Moved => "",
            };
            names.extend_from_slice(&(name.len() as u32).to_le_bytes());
            names.extend_from_slice(name.as_bytes());
            murmur2(&names) as u16
        };
        self.topology.kinds.iter().map(add).collect()
    }

    /// Makes a node's processor once, to see what it asks for.
    fn wire(&mut self, node: usize) -> Result<(), TopologyError> {
        let (_, used) = self.topology.try_make(&self.topology.nodes[node].make);
        let Used { stores, sinks, unknown } = used;
        let spec = &self.topology.nodes[node];
        if let Some((what, name)) = unknown.into_iter().next() {
            let (topology, by) = (self.topology.name.clone(), spec.name.clone());
            return Err(TopologyError::Unknown { topology, by, what, name });
        }
        if !self.topology.sources.iter().any(|source| source.node == node) {
            return Err(self.dangling(&spec.name, "reads no source"));
        }
        let spec = &mut self.topology.nodes[node];
        (spec.keeps, spec.writes) = (stores, sinks);
        Ok(())
    }

    fn check_stores(&self) -> Result<(), TopologyError> {
        let t = &self.topology;
        for tells in &t.tells {
            let is_it = |s: &StoreSpec| {
                s.name == tells.store && matches!(s.backing, Backing::Changelog { .. })
            };
            if !t.stores.iter().any(is_it) {
                let (topology, by) = (t.name.clone(), tells.topic.clone());
                let (what, name) = ("store", tells.store.clone());
                return Err(TopologyError::Unknown { topology, by, what, name });
            }
        }
        for (table, store) in t.stores.iter().enumerate() {
            match t.nodes.iter().filter(|n| n.keeps.contains(&table)).count() {
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

    fn check_sinks(&self) -> Result<(), TopologyError> {
        for (number, sink) in self.topology.sinks.iter().enumerate() {
            if !self.topology.nodes.iter().any(|node| node.writes.contains(&number)) {
                return Err(self.dangling(&sink.name, "is written by no processor"));
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

    fn dangling(&self, name: &str, cause: &'static str) -> TopologyError {
        let topology = self.topology.name.clone();
        TopologyError::Dangling { topology, name: name.to_owned(), cause }
    }
}
