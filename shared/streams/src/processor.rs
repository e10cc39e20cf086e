//! What a user of the engine writes: a [`Processor`], which sees one record at a time and acts
//! through its [`Context`].

use std::fmt;

use crate::error::Error;
use crate::record::Record;
use crate::store::Row;
use crate::task::Scope;

/// Processes the records of one task, one at a time, in order.
///
/// What it remembers lies in stores: a processor is made anew whenever its task is opened or a
/// transaction was dropped, and must decide alike then. Its decisions depend on the record, the
/// stores and stream time alone.
pub trait Processor: Send {
    /// Takes one record.
    ///
    /// # Errors
    /// A [`DeadLetter`] sends the record, as it came, to the dead letters; nothing may have been
    /// written for it by then. Errors of the stores are passed on and stop the task.
    fn process(&mut self, record: &Record<'_>, context: &mut Context<'_>) -> ProcessResult;

    /// Stream time has entered a new interval
    /// ([`crate::topology::TopologyBuilder::punctuate_every`]).
    ///
    /// # Errors
    /// Errors of the stores.
    fn punctuate(&mut self, _context: &mut Context<'_>) -> ProcessResult {
        Ok(())
    }
}

/// Outcome of [`Processor::process`].
pub type ProcessResult = Result<(), ProcessError>;

/// Why a processor did not process a record.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The record cannot be read: it goes to the dead letters, the partition goes on.
    #[error(transparent)]
    DeadLetter(#[from] DeadLetter),
    /// The task cannot go on.
    #[error(transparent)]
    Failed(#[from] Error),
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

/// What a processor sends to a sink. It goes to the task's own partition of the sink's topic.
#[derive(Clone, Copy, Debug, Default)]
pub struct Message<'a> {
    /// Key.
    pub key: &'a [u8],
    /// Value.
    pub value: &'a [u8],
    /// How often the row that it speaks of has changed; 0 where there is none.
    pub sequence: u64,
    /// Goes into the stamp, and comes back when a store is restored from the topic.
    pub memo: &'a [u8],
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

/// What a processor may do while it holds a record.
pub struct Context<'a> {
    pub(crate) scope: Scope<'a>,
    pub(crate) source: &'a str,
    pub(crate) origin: Origin<'a>,
}

impl Context<'_> {
    /// Name of the source that the record came by (for a moved record: the one it first came by).
    pub fn source(&self) -> &str {
        self.source
    }

    /// Where the record first lay.
    pub fn origin(&self) -> Origin<'_> {
        self.origin
    }

    /// The largest timestamp of the records processed so far, this one included (ms since 1970).
    pub fn stream_time(&self) -> i64 {
        self.scope.stream_time()
    }

    /// The task's partition.
    pub fn partition(&self) -> u32 {
        self.scope.partition()
    }

    /// A row, as the open transaction has left it.
    ///
    /// # Errors
    /// When the store cannot be read, or the processor does not keep one of this name.
    pub fn get(&mut self, store: &str, key: &[u8]) -> Result<Option<Row<'_>>, Error> {
        self.scope.get(store, key)
    }

    /// Sets a row; its sequence grows by one. Returns the new sequence.
    ///
    /// # Errors
    /// As [`Context::get`]; a store that is backed by a sink's topic is written by sending there.
    pub fn put(&mut self, store: &str, key: &[u8], value: &[u8]) -> Result<u64, Error> {
        self.scope.put(store, key, Some(value))
    }

    /// Deletes a row.
    ///
    /// # Errors
    /// As [`Context::put`].
    pub fn delete(&mut self, store: &str, key: &[u8]) -> Result<(), Error> {
        self.scope.put(store, key, None).map(|_| ())
    }

    /// Sends a message to a sink, stamped with stream time.
    ///
    /// # Errors
    /// When there is no such sink, or the broker does not take it.
    pub fn send(&mut self, sink: &str, message: Message<'_>) -> Result<(), Error> {
        self.scope.send(sink, message)
    }

    /// An error that stops the task: something that must never be is, here. Better than to go on
    /// wrong.
    pub fn broken(&self, cause: impl Into<String>) -> Error {
        self.scope.broken(cause.into())
    }

    /// Counts an event of this name (shown with the worker's metrics).
    pub fn count(&mut self, name: &'static str) {
        self.scope.count(name);
    }
}
