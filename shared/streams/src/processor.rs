//! What a user of the engine writes: a [`Processor`], which sees one record at a time and acts
//! through its [`Context`].

use std::fmt;
use std::time::Duration;

use crate::due::{Due, TICK_SPAN_MAX};
use crate::error::Error;
use crate::record::Record;
use crate::store::Row;

/// Processes the records of one task, one at a time, in order.
///
/// What it remembers lies in stores: a processor is made anew whenever its task is opened or a
/// transaction was dropped, and must decide alike then. Its decisions depend on the record, the
/// stores and stream time alone.
pub trait Processor: Send {
    /// What its sources read in a record ([`crate::topology::Source::new`]). [`Record`] itself where
    /// there is nothing to be read.
    type Input<'a>: Keyed;

    /// Takes one record.
    ///
    /// # Errors
    /// A [`DeadLetter`] sends the record, as it came, to the dead letters; nothing may have been
    /// written for it by then. All else stops the task: errors of the stores, and failures of one's
    /// own ([`ProcessError::failed`]).
    fn process(&mut self, input: Self::Input<'_>, context: &mut Context<'_>) -> ProcessResult;

    /// Takes a row of one of its stores that has fallen due ([`crate::due`]). It deletes the row, or
    /// leaves it with none or a later due; by the other clock than the one that it fell by, one that has not
    /// come yet. With a later one that has come by then, the row falls due again. What
    /// else it changes, and what it sends to a keyed sink, it tells at once in a topic that backs a
    /// ledger: only so a replay, and whoever takes the partition over, can know of it.
    ///
    /// # Errors
    /// All stop the task: a row that falls due is no dead letter.
    fn due(&mut self, row: DueRow<'_>, context: &mut Context<'_>) -> ProcessResult {
        let _ = row;
        Err(context
            .broken("the processor does not say what becomes of a row that falls due")
            .into())
    }
}

/// What was read in a record, which belongs to a key. The engine alone turns keys into partitions.
pub trait Keyed {
    /// The key.
    fn key(&self) -> &[u8];
}

impl Keyed for Record<'_> {
    /// That of the record; nothing where it has none.
    fn key(&self) -> &[u8] {
        self.key.unwrap_or_default()
    }
}

/// Outcome of [`Processor::process`].
pub type ProcessResult = Result<(), ProcessError>;

/// Why a processor did not process a record.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// The record cannot be read: it goes to the dead letters, the partition goes on.
    #[error(transparent)]
    DeadLetter(#[from] DeadLetter),
    /// The engine cannot go on.
    #[error(transparent)]
    Engine(#[from] Error),
    /// The processor cannot go on, for a reason of its own.
    #[error("{0}")]
    Failed(Box<dyn std::error::Error + Send + Sync>),
}

impl ProcessError {
    /// A failure of the processor's own: the task stops, and tells it with the record's place.
    pub fn failed(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Failed(cause.into())
    }
}

/// A record that cannot be processed, ever: a value, not a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Stable name of the cause, in capitals.
    pub code: &'static str,
    /// What was wrong, for people.
    pub text: String,
}

impl DeadLetter {
    /// A dead letter of this code.
    pub fn new(code: &'static str, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

impl fmt::Display for DeadLetter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.text)
    }
}

impl std::error::Error for DeadLetter {}

/// A store that a processor reads and writes: see [`crate::topology::Wiring::store`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreId(pub(crate) usize);

/// A store that is written by sending to the topic that backs it: see
/// [`crate::topology::Wiring::ledger`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerId(pub(crate) usize);

/// A row that has fallen due: see [`Processor::due`].
#[derive(Clone, Copy, Debug)]
pub struct DueRow<'a> {
    /// Its store.
    pub store: StoreId,
    /// Its key.
    pub key: &'a [u8],
    /// As it is.
    pub row: Row<'a>,
    /// When it fell due.
    pub due: Due,
}

/// A topic that a processor writes: see [`crate::topology::Wiring::sink`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SinkId(pub(crate) usize);

/// A store of either kind: rows can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readable(pub(crate) usize);

impl From<StoreId> for Readable {
    fn from(StoreId(table): StoreId) -> Self {
        Readable(table)
    }
}

impl From<LedgerId> for Readable {
    fn from(LedgerId(table): LedgerId) -> Self {
        Readable(table)
    }
}

/// What a processor sends to a sink.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
    pub(crate) sequence: u64,
    pub(crate) memo: &'a [u8],
}

impl<'a> Message<'a> {
    /// A key and a value.
    pub fn new(key: &'a [u8], value: &'a [u8]) -> Self {
        Self { key, value, sequence: 0, memo: &[] }
    }

    /// How often the row that it speaks of has changed, for readers who compare the two
    /// ([`crate::topology::Ledger::tells_of`]). It stands in the record's stamp; 0: it speaks of none.
    pub fn sequence(self, sequence: u64) -> Self {
        Self { sequence, ..self }
    }

    /// What comes back when a store is restored from the sink's topic
    /// ([`crate::topology::Ledger`]). It stands in the record's stamp.
    pub fn memo(self, memo: &'a [u8]) -> Self {
        Self { memo, ..self }
    }
}

/// Where a record first lay: for a moved one the place it was moved from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Partition.
    pub partition: u32,
    /// Offset.
    pub offset: u64,
}

/// Shown the key and the row of one after the other; whether more are wanted.
pub(crate) type Visit<'a> = dyn FnMut(&[u8], Row<'_>) -> bool + 'a;

/// What stands behind a context: a task.
pub(crate) trait Host {
    fn stream_time(&self) -> i64;
    fn partition(&self) -> u32;
    fn running_ms(&self) -> u64;
    fn get(&mut self, table: usize, key: &[u8]) -> Result<Option<Row<'_>>, Error>;
    fn scan(&mut self, table: usize, from: &[u8], visit: &mut Visit<'_>) -> Result<(), Error>;
    /// Sets a row, or deletes it; its new sequence.
    fn put(&mut self, table: usize, key: &[u8], value: Option<&[u8]>) -> Result<u64, Error>;
    fn send(&mut self, sink: usize, message: Message<'_>) -> Result<(), Error>;
    fn broken(&self, cause: String) -> Error;
    fn count(&mut self, name: &'static str);
}

/// What a processor may do while it holds a record.
pub struct Context<'a> {
    pub(crate) host: &'a mut dyn Host,
    pub(crate) origin: Option<Origin<'a>>,
}

impl Context<'_> {
    /// Where the record first lay; nothing where it is a row that has fallen due.
    pub fn origin(&self) -> Option<Origin<'_>> {
        self.origin
    }

    /// The largest timestamp of the records processed and the rows fallen due so far, this one included
    /// (ms since 1970).
    pub fn stream_time(&self) -> i64 {
        self.host.stream_time()
    }

    /// The task's partition.
    pub fn partition(&self) -> u32 {
        self.host.partition()
    }

    /// When a row falls due that is to fall due a while after now, by the running clock: never earlier,
    /// and at most 3 s later while the task runs.
    pub fn after(&self, span: Duration) -> Due {
        self.due_in(span + TICK_SPAN_MAX)
    }

    /// As [`Context::after`] for pauses between attempts: up to 2 s earlier. Without any span it has come
    /// already.
    pub fn backoff(&self, span: Duration) -> Due {
        self.due_in(span)
    }

    fn due_in(&self, span: Duration) -> Due {
        let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Due::Running(self.host.running_ms().saturating_add(span))
    }

    /// A row, as the open transaction has left it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn get(
        &mut self,
        store: impl Into<Readable>,
        key: &[u8],
    ) -> Result<Option<Row<'_>>, Error> {
        let Readable(table) = store.into();
        self.host.get(table, key)
    }

    /// Shows the rows of the task's partition in the order of their keys (bytes), from a key on, as the
    /// open transaction has left them, until `visit` says that it has enough. The caller bounds what is
    /// shown. The first scan in a transaction sorts what that has changed.
    ///
    /// # Errors
    /// As [`Context::get`].
    pub fn scan(
        &mut self,
        store: impl Into<Readable>,
        from: &[u8],
        mut visit: impl FnMut(&[u8], Row<'_>) -> bool,
    ) -> Result<(), Error> {
        let Readable(table) = store.into();
        self.host.scan(table, from, &mut visit)
    }

    /// Sets a row; its sequence grows by one. Returns the new sequence.
    ///
    /// # Errors
    /// As [`Context::get`].
    pub fn put(&mut self, store: StoreId, key: &[u8], value: &[u8]) -> Result<u64, Error> {
        self.host.put(store.0, key, Some(value))
    }

    /// Deletes a row.
    ///
    /// # Errors
    /// As [`Context::put`].
    pub fn delete(&mut self, store: StoreId, key: &[u8]) -> Result<(), Error> {
        self.host.put(store.0, key, None).map(drop)
    }

    /// Sends a message to a sink, stamped with stream time: to the task's own partition of its topic, or
    /// to that of the message's key where the sink is keyed.
    ///
    /// # Errors
    /// When the broker does not take it.
    pub fn send(&mut self, sink: SinkId, message: Message<'_>) -> Result<(), Error> {
        self.host.send(sink.0, message)
    }

    /// An error that stops the task: something that must never be is, here. Better than to go on
    /// wrong.
    pub fn broken(&self, cause: impl Into<String>) -> Error {
        self.host.broken(cause.into())
    }

    /// Counts an event of this name (shown with the worker's metrics).
    pub fn count(&mut self, name: &'static str) {
        self.host.count(name);
    }
}
