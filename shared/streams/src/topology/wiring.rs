//! How a processor comes by its stores and sinks, and how it is called without its type.

use std::cell::RefCell;
use std::sync::Arc;

use super::parts::{MakeTyped, Reader, Source};
use super::{Backing, Topology};
use crate::partitioner::partition_of;
use crate::processor::{
    Context, DeadLetter, DueRow, Keyed, LedgerId, ProcessError, ProcessResult, Processor, SinkId,
    StoreId,
};
use crate::record::Record;

/// What a processor that is being made asks for its stores and sinks. A name that is not there is a
/// wiring error of the topology ([`crate::TopologyBuilder::build`]).
pub struct Wiring<'a> {
    topology: &'a Topology,
    used: RefCell<Used>,
}

/// What a processor has asked for.
#[derive(Default)]
pub(super) struct Used {
    pub(super) stores: Vec<usize>,
    pub(super) sinks: Vec<usize>,
    /// Names that are not there, and of what.
    pub(super) unknown: Vec<(&'static str, String)>,
}

/// Stands for a part that is not there, in a topology that is refused.
const NOWHERE: usize = usize::MAX;

impl Wiring<'_> {
    /// The store of this name, to be read and written.
    pub fn store(&self, name: &str) -> StoreId {
        let is_it = |backing: &Backing| matches!(backing, Backing::Changelog { .. });
        StoreId(self.table(name, "store", is_it))
    }

    /// The ledger of this name, to be read.
    pub fn ledger(&self, name: &str) -> LedgerId {
        let is_it = |backing: &Backing| matches!(backing, Backing::Ledger { .. });
        LedgerId(self.table(name, "ledger", is_it))
    }

    /// The sink of this name.
    pub fn sink(&self, name: &str) -> SinkId {
        let found = self.topology.sinks.iter().position(|sink| sink.name == name);
        SinkId(self.note(found, |used| &mut used.sinks, ("sink", name)))
    }

    fn table(&self, name: &str, what: &'static str, is_it: impl Fn(&Backing) -> bool) -> usize {
        let mut stores = self.topology.stores.iter();
        let found = stores.position(|store| store.name == name && is_it(&store.backing));
        self.note(found, |used| &mut used.stores, (what, name))
    }

    /// Notes what was asked for: in its list, or as unknown.
    fn note(
        &self,
        found: Option<usize>,
        list: fn(&mut Used) -> &mut Vec<usize>,
        (what, name): (&'static str, &str),
    ) -> usize {
        let used = &mut *self.used.borrow_mut();
        match found {
            Some(place) => list(used).push(place),
            None => used.unknown.push((what, name.to_owned())),
        }
        found.unwrap_or(NOWHERE)
    }
}

/// Makes a processor for one task.
pub(crate) type Make = Arc<dyn Fn(&Wiring<'_>) -> Box<dyn AnyProcessor> + Send + Sync>;

impl Topology {
    /// New processors, one for each node.
    pub(crate) fn processors(&self) -> Vec<Box<dyn AnyProcessor>> {
        (0..self.nodes.len()).map(|node| self.make(node).0).collect()
    }

    /// A new processor of a node, and what it has asked for.
    pub(super) fn make(&self, node: usize) -> (Box<dyn AnyProcessor>, Used) {
        let wiring = Wiring { topology: self, used: RefCell::default() };
        let processor = (self.nodes[node].make)(&wiring);
        (processor, wiring.used.into_inner())
    }
}

/// What lets a record in, once it is read.
pub(crate) trait Gate {
    /// The context to process a record of this key with; `None` where it is not processed here, or
    /// not yet.
    fn admit(&mut self, key: &[u8]) -> Result<Option<Context<'_>>, ProcessError>;
}

/// A processor of any type.
pub(crate) trait AnyProcessor: Send {
    /// Reads a record of the source in this place of its node, and processes it if the gate lets it
    /// in.
    fn take(&mut self, source: usize, record: &Record<'_>, gate: &mut dyn Gate) -> ProcessResult;
    /// Lets a row of one of its stores fall due.
    fn due(&mut self, row: DueRow<'_>, context: &mut Context<'_>) -> ProcessResult;
}

/// Tells where records belong, without processing them.
pub struct Homes<'a> {
    topology: &'a Topology,
    processors: Vec<Box<dyn AnyProcessor>>,
}

impl Topology {
    /// What tells where records of its sources belong.
    pub fn homes(&self) -> Homes<'_> {
        Homes { topology: self, processors: self.processors() }
    }
}

impl Homes<'_> {
    /// The partition, of so many, that a record of this source belongs to.
    ///
    /// # Errors
    /// The dead letter that it is; also where there is no such source.
    pub fn of(
        &mut self,
        source: &str,
        record: &Record<'_>,
        partitions: u32,
    ) -> Result<u32, DeadLetter> {
        let mut sources = self.topology.sources.iter();
        let Some(spec) = sources.find(|spec| spec.name == source) else {
            return Err(DeadLetter::new("NO_SOURCE", format!("there is no source {source}")));
        };
        let mut home = Home { partitions, found: 0 };
        match self.processors[spec.node].take(spec.place, record, &mut home) {
            Err(ProcessError::DeadLetter(letter)) => Err(letter),
            _ => Ok(home.found),
        }
    }
}

/// Lets nothing in, and notes where it belongs.
struct Home {
    partitions: u32,
    found: u32,
}

impl Gate for Home {
    fn admit(&mut self, key: &[u8]) -> Result<Option<Context<'_>>, ProcessError> {
        self.found = partition_of(key, self.partitions);
        Ok(None)
    }
}

struct Typed<P: Processor> {
    processor: P,
    readers: Arc<[Reader<P>]>,
}

impl<P: Processor> AnyProcessor for Typed<P> {
    fn take(&mut self, source: usize, record: &Record<'_>, gate: &mut dyn Gate) -> ProcessResult {
        let input = self.readers[source](record)?;
        match gate.admit(input.key())? {
            Some(mut context) => self.processor.process(input, &mut context),
            None => Ok(()),
        }
    }

    fn due(&mut self, row: DueRow<'_>, context: &mut Context<'_>) -> ProcessResult {
        self.processor.due(row, context)
    }
}

/// Forgets the type of a node's processor.
pub(super) fn erase<P: Processor + 'static>(
    make: MakeTyped<P>,
    sources: &[Source<Reader<P>>],
) -> Make {
    let readers: Arc<[Reader<P>]> = sources.iter().map(|source| source.read.clone()).collect();
    Arc::new(move |wiring| Box::new(Typed { processor: make(wiring), readers: readers.clone() }))
}
