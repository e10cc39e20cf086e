//! The parts of a topology, as a user puts them together: each with its settings.

use std::sync::Arc;
use std::time::Duration;

use super::{DueSpec, FromChangelog, FromLedger, RowOf, ToChangelog, Wiring};
use crate::due::DueOf;
use crate::processor::{DeadLetter, Processor};
use crate::record::Record;

/// What reads records for a processor: see [`Source::new`].
pub(super) type Reader<P> = Arc<
    dyn for<'a> Fn(&Record<'a>) -> Result<<P as Processor>::Input<'a>, DeadLetter> + Send + Sync,
>;

/// Reads a record as it is ([`Source::new`]); one without a key is a dead letter `NO_KEY`.
///
/// # Errors
/// The dead letter.
pub fn as_it_is<'a>(record: &Record<'a>) -> Result<Record<'a>, DeadLetter> {
    match record.key {
        Some(_) => Ok(*record),
        None => Err(DeadLetter::new("NO_KEY", "it has no key")),
    }
}

/// A topic that is read, by a function `R`.
pub struct Source<R> {
    pub(super) name: String,
    pub(super) topic: String,
    pub(super) read: R,
    pub(super) number: Option<usize>,
    pub(super) head_start_ms: Option<u64>,
    pub(super) future_max_ms: Option<u64>,
}

impl<R> Source<R> {
    /// Reads `topic`. `read` returns what the processor takes ([`Processor::Input`]), the key that the
    /// record belongs to among it; what cannot be read becomes a dead letter. A record may be read
    /// more than once, and reads the same each time.
    pub fn new(name: impl Into<String>, topic: impl Into<String>, read: R) -> Self {
        let (name, topic) = (name.into(), topic.into());
        Self { name, topic, read, number: None, head_start_ms: None, future_max_ms: None }
    }

    /// Its number among the inputs of the topology, from 0. What was written before knows inputs by
    /// their numbers, so one that is added gets the next one, behind that of moved records. Without it
    /// sources are numbered as they are declared, then come moved records, then ticks. Numbers begin at 0 and
    /// leave none out: where an input is removed, those behind it get others, and what was written
    /// before does not tell their positions any more.
    pub fn number(self, number: usize) -> Self {
        Self { number: Some(number), ..self }
    }

    /// Lets its records go before those of sources without a head start, unless they are stamped
    /// later by more than this. One that is stamped further ahead holds up none of those behind it:
    /// it goes early, with them.
    pub fn head_start(self, by: Duration) -> Self {
        Self { head_start_ms: Some(by.as_millis() as u64), ..self }
    }

    /// Makes dead letters of its records that are stamped further ahead of the clock than this; its
    /// topic, where it is created, refuses them at the door.
    pub fn future_max(self, by: Duration) -> Self {
        Self { future_max_ms: Some(by.as_millis() as u64), ..self }
    }
}

/// A table of local state with a compacted changelog of its own.
pub struct Store {
    pub(super) name: String,
    pub(super) changelog: String,
    pub(super) to: ToChangelog,
    pub(super) from: FromChangelog,
    pub(super) due: Option<DueSpec>,
}

impl Store {
    /// A store whose changelog's records are its rows as they are.
    pub fn new(name: impl Into<String>, changelog: impl Into<String>) -> Self {
        let to: ToChangelog = |_, row, into| into.extend_from_slice(row);
        let from: FromChangelog = |_, value| Ok(value.to_vec());
        Self { name: name.into(), changelog: changelog.into(), to, from, due: None }
    }

    /// Gives the changelog's records the form that `to` writes and `from` reads.
    pub fn written_as(self, to: ToChangelog, from: FromChangelog) -> Self {
        Self { to, from, ..self }
    }

    /// Lets its rows fall due when `of` says so ([`crate::due`]). `version` changes with what `of` says:
    /// the index of due rows is then made anew.
    pub fn due(self, version: u32, of: DueOf) -> Self {
        Self { due: Some(DueSpec { version, of }), ..self }
    }
}

/// A table of local state that remembers what the task itself writes to a sink's topic: that topic
/// is its log, there is no second copy. It is written by sending there.
pub struct Ledger {
    pub(super) name: String,
    pub(super) topic: String,
    pub(super) from: FromLedger,
    pub(super) tells: Option<(String, RowOf)>,
}

impl Ledger {
    /// Remembers what `from` reads in the records of `topic`.
    pub fn new(name: impl Into<String>, topic: impl Into<String>, from: FromLedger) -> Self {
        Self { name: name.into(), topic: topic.into(), from, tells: None }
    }

    /// Says that its records speak of rows of `store`, which has a changelog: the sequence in the
    /// stamp of each ([`crate::Message::sequence`]) is that of the row whose key `row` reads. A store
    /// that is built from its changelog is then compared with what they tell, and is not used where
    /// the changelog has lost rows. For rows that are never deleted.
    pub fn tells_of(self, store: impl Into<String>, row: RowOf) -> Self {
        Self { tells: Some((store.into(), row)), ..self }
    }
}

/// A topic that is written, in the task's own partition unless it is keyed.
pub struct Sink {
    pub(super) name: String,
    pub(super) topic: String,
    pub(super) is_keyed: bool,
}

impl Sink {
    /// Writes `topic`.
    pub fn new(name: impl Into<String>, topic: impl Into<String>) -> Self {
        Self { name: name.into(), topic: topic.into(), is_keyed: false }
    }

    /// Sends each message to the partition of its key: to another task, mostly, if this or another
    /// topology reads the topic. It has as many partitions as all topics of the topology. It cannot back
    /// a store, as several tasks write to a partition of it; a stamp tells which.
    pub fn keyed(self) -> Self {
        Self { is_keyed: true, ..self }
    }
}

/// Makes a processor.
pub(super) type MakeTyped<P> = Box<dyn Fn(&Wiring<'_>) -> P + Send + Sync>;

/// A processor in a topology, and what it reads.
pub struct Node<P: Processor> {
    pub(super) name: String,
    pub(super) make: MakeTyped<P>,
    pub(super) sources: Vec<Source<Reader<P>>>,
}

impl<P: Processor> Node<P> {
    /// A processor that `make` makes for each task, with the stores and sinks that it asks its
    /// [`Wiring`] for. It is also called by `build()`, to see what that is, and must ask for the same
    /// each time.
    pub fn new(
        name: impl Into<String>,
        make: impl Fn(&Wiring<'_>) -> P + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), make: Box::new(make), sources: Vec::new() }
    }

    /// Reads this source too.
    pub fn reads<R>(mut self, source: Source<R>) -> Self
    where
        R: for<'a> Fn(&Record<'a>) -> Result<P::Input<'a>, DeadLetter> + Send + Sync + 'static,
    {
        let Source { name, topic, read, number, head_start_ms, future_max_ms } = source;
        let read: Reader<P> = Arc::new(read);
        self.sources.push(Source { name, topic, read, number, head_start_ms, future_max_ms });
        self
    }
}
