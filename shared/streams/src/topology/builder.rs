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
                ticks: None,
                dead_letters: None,
                kinds: Vec::new(),
                fingerprints: Vec::new(),
            },
        }
    }

    /// Keeps a store.
    pub fn store(mut self, store: Store) -> Self {
        let Store { name, changelog: topic, to, from, due } = store;
        let backing = Backing::Changelog { topic, to, from };
        self.topology.stores.push(StoreSpec { name, backing, due });
        self
    }

    /// Keeps a store that is backed by the topic of a sink.
    pub fn ledger(mut self, ledger: Ledger) -> Self {
        let Ledger { name, topic, from, tells } = ledger;
        if let Some((store, row)) = tells {
            self.topology.tells.push(Tells { store, topic: topic.clone(), row });
        }
        let backing = Backing::Ledger { topic, from };
        self.topology.stores.push(StoreSpec { name, backing, due: None });
        self
    }

    /// Writes a topic.
    pub fn sink(mut self, sink: Sink) -> Self {
        let Sink { name, topic, is_keyed } = sink;
        self.topology.sinks.push(SinkSpec { name, topic, is_keyed });
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

    /// Writes ticks to `topic` and reads them: where rows fall due ([`crate::due`]). They tell the time where
    /// no other record does.
    pub fn ticks(mut self, topic: impl Into<String>) -> Self {
        self.topology.ticks = Some(topic.into());
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
        let read = t.sources.iter().map(|s| &s.topic).chain(&t.rekey).chain(&t.ticks);
        self.unique(read.map(String::as_str))?;
        self.unique(t.nodes.iter().map(|n| n.name.as_str()))?;
        self.unique(t.tables().iter().map(String::as_str))?;
        self.unique(t.sinks.iter().map(|s| s.name.as_str()))?;
        if t.sources.is_empty() {
            return Err(self.dangling(&t.name, "reads nothing"));
        }
        if t.sources.iter().any(|source| source.name.is_empty()) {
            return Err(self.dangling("", "is no name of a source"));
        }
        self.topology.kinds = self.number_inputs()?;
        self.topology.fingerprints = self.fingerprints();
        for node in 0..self.topology.nodes.len() {
            self.wire(node)?;
        }
        self.check_stores()?;
        self.check_due()?;
        self.check_sinks()?;
        Ok(self.topology)
    }

    /// Gives each input its number.
    fn number_inputs(&self) -> Result<Vec<InputKind>, TopologyError> {
        let t = &self.topology;
        let others = [(&t.rekey, InputKind::Moved), (&t.ticks, InputKind::Ticks)];
        let others = others.into_iter().filter_map(|(topic, kind)| topic.as_ref().map(|_| kind));
        let others: Vec<InputKind> = others.collect();
        let mut kinds = vec![None; t.sources.len() + others.len()];
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
        let mut rest = unnumbered.chain(others);
        Ok(kinds.into_iter().filter_map(|kind| kind.or_else(|| rest.next())).collect())
    }

    /// One for each number of inputs that there may have been.
    fn fingerprints(&self) -> Vec<u16> {
        let (t, mut names) = (&self.topology, Vec::new());
        let add = |(input, topic): (usize, String)| {
            // No source has one of these names.
            let name = match t.kinds[input] {
                InputKind::Source(source) => &t.sources[source].name,
                InputKind::Moved => "",
                InputKind::Ticks => "\0ticks",
            };
            for text in [name, &topic] {
                names.extend_from_slice(&(text.len() as u32).to_le_bytes());
                names.extend_from_slice(text.as_bytes());
            }
            murmur2(&names) as u16
        };
        t.inputs().into_iter().enumerate().map(add).collect()
    }

    /// Makes a node's processor once, to see what it asks for.
    fn wire(&mut self, node: usize) -> Result<(), TopologyError> {
        let (_, used) = self.topology.make(node);
        let Used { mut stores, mut sinks, unknown } = used;
        for asked in [&mut stores, &mut sinks] {
            asked.sort_unstable();
            asked.dedup();
        }
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
                Backing::Ledger { .. }
                    if t.sinks.iter().any(|s| s.topic == topic && s.is_keyed) =>
                {
                    return Err(self.dangling(&store.name, "is backed by a topic of a keyed sink"));
                }
                Backing::Changelog { .. } if read || written => {
                    return Err(self.dangling(&store.name, "must have a changelog of its own"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn check_due(&self) -> Result<(), TopologyError> {
        let t = &self.topology;
        match (t.due_index(), &t.ticks) {
            (Some(_), None) => Err(self.dangling(&t.name, "has rows that fall due and no ticks")),
            (None, Some(topic)) => Err(self.dangling(topic, "has ticks, and no row falls due")),
            _ => Ok(()),
        }
    }

    fn check_sinks(&self) -> Result<(), TopologyError> {
        for (number, sink) in self.topology.sinks.iter().enumerate() {
            if !self.topology.nodes.iter().any(|node| node.writes.contains(&number)) {
                return Err(self.dangling(&sink.name, "is written by no processor"));
            }
            let t = &self.topology;
            let others = [&t.rekey, &t.ticks, &t.dead_letters];
            if others.into_iter().flatten().any(|topic| *topic == sink.topic) {
                return Err(self.dangling(&sink.name, "writes a topic that the engine writes"));
            }
            let mut others = self.topology.sinks.iter().filter(|other| other.topic == sink.topic);
            if others.any(|other| other.is_keyed != sink.is_keyed) {
                return Err(
                    self.dangling(&sink.name, "shares its topic, and one of the two is keyed")
                );
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::nothing::{Nothing, node};
    use crate::topology::{Source, Wiring, as_it_is};

    fn good() -> Node<Nothing> {
        let ask = |wiring: &Wiring<'_>| {
            wiring.store("rows");
            wiring.ledger("told");
            wiring.sink("out");
        };
        node("n", ask).reads(Source::new("in", "in", as_it_is))
    }

    fn parts() -> TopologyBuilder {
        Topology::named("t")
            .store(Store::new("rows", "rows"))
            .ledger(Ledger::new("told", "out", |_, _| None))
            .sink(Sink::new("out", "out"))
    }

    #[track_caller]
    fn check(topology: TopologyBuilder, expected: &str) {
        let refused = topology.build().err().map(|error| error.to_string());
        assert_eq!(refused.unwrap_or_default(), expected);
    }

    #[test]
    fn what_is_wired_wrongly_is_refused_by_name() {
        check(parts().processor(good()), "");
        let unknown = |ask: fn(&Wiring<'_>)| {
            let node = node("n", ask).reads(Source::new("in", "in", as_it_is));
            parts().processor(node)
        };
        let missing = |part: &str| format!("topology t: \"n\" names {part}, which is not there");
        check(unknown(|w| _ = w.store("row")), &missing("store \"row\""));
        check(unknown(|w| _ = w.store("told")), &missing("store \"told\""));
        check(unknown(|w| _ = w.ledger("rows")), &missing("ledger \"rows\""));
        check(unknown(|w| _ = w.sink("rows")), &missing("sink \"rows\""));
        let dangling = |name: &str, cause: &str| format!("topology t: {name:?} {cause}");
        check(parts(), &dangling("t", "reads nothing"));
        let idle = node("idle", |_| ());
        check(parts().processor(good()).processor(idle), &dangling("idle", "reads no source"));
        let more = parts().store(Store::new("more", "more")).processor(good());
        check(more, &dangling("more", "is kept by no processor"));
        let more = parts().sink(Sink::new("more", "more")).processor(good());
        check(more, &dangling("more", "is written by no processor"));
        let engines = parts().dead_letters("out").processor(good());
        check(engines, &dangling("out", "writes a topic that the engine writes"));
        let ask = |wiring: &Wiring<'_>| {
            wiring.sink("out");
            wiring.sink("also");
        };
        let both = node("n", ask).reads(Source::new("in", "in", as_it_is));
        let sinks = [Sink::new("out", "out"), Sink::new("also", "out").keyed()];
        let shared = sinks.into_iter().fold(Topology::named("t"), TopologyBuilder::sink);
        let cause = "shares its topic, and one of the two is keyed";
        check(shared.processor(both), &dangling("out", cause));
        let other = node("other", |wiring| _ = wiring.store("rows"));
        let other = other.reads(Source::new("more", "more", as_it_is));
        let twice = parts().processor(good()).processor(other);
        check(twice, &dangling("rows", "is kept by two processors"));
        let twice = parts().store(Store::new("rows", "other")).processor(good());
        check(twice, "topology t: \"rows\" is there twice");
        let read = Source::new("rows", "rows", as_it_is);
        let read = parts().processor(good().reads(read));
        check(read, &dangling("rows", "must have a changelog of its own"));
    }

    #[test]
    fn a_keyed_sink_backs_no_store() {
        let keyed = Topology::named("t")
            .store(Store::new("rows", "rows"))
            .ledger(Ledger::new("told", "out", |_, _| None))
            .sink(Sink::new("out", "out").keyed());
        let cause = "topology t: \"told\" is backed by a topic of a keyed sink";
        check(keyed.processor(good()), cause);
    }

    #[test]
    fn inputs_are_numbered_as_they_are_told_to() {
        let source = |name: &str| Source::new(name, name, as_it_is);
        let inputs = |node: Node<Nothing>| {
            let topology = Topology::named("t").processor(node).rekey("moved").build();
            topology.map(|topology| topology.inputs().join(" ")).map_err(|error| error.to_string())
        };
        let of = |node: Node<Nothing>| inputs(node).unwrap_or_else(|error| error);
        let both = || node("n", |_| ()).reads(source("a")).reads(source("b"));
        assert_eq!(of(both()), "a b moved");
        assert_eq!(of(both().reads(source("c"))), "a b c moved");
        assert_eq!(of(both().reads(source("c").number(3))), "a b moved c");
        assert_eq!(
            of(node("n", |_| ()).reads(source("a").number(1)).reads(source("b"))),
            "b a moved"
        );
        let twice = both().reads(source("c").number(3)).reads(source("d").number(3));
        assert_eq!(of(twice), "topology t: \"d\" has the number of another");
        let nameless = inputs(node("n", |_| ()).reads(source("")));
        assert_eq!(nameless, Err("topology t: \"\" is no name of a source".to_owned()));
        let gap = both().reads(source("c").number(4));
        assert_eq!(of(gap), "topology t: \"c\" leaves a number out before it");
    }
}
