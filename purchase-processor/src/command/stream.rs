//! Where commands come from, and where their answers go.

use bps_events::{Topics, Unreadable};
use bps_streams::topology::RowOf;

/// A topic of commands, with one kind or several, whose answers go to one topic.
pub(crate) trait Stream {
    /// What one of its records says, whatever kind of command it is.
    type Event<'a>;
    /// What it is made of.
    const PARTS: StreamParts;

    /// Reads a record's value.
    fn read(value: Option<&[u8]>) -> Result<Self::Event<'_>, Unreadable>;
    /// The type that a record has, where the stream has several kinds.
    fn kind<'e>(_: &'e Self::Event<'_>) -> Option<&'e str> {
        None
    }
}

/// What a stream is made of.
pub(crate) struct StreamParts {
    /// Name of the source.
    pub(crate) source: &'static str,
    pub(crate) input: fn(&Topics) -> &String,
    /// Number of the input, where it was added later than moved records.
    pub(crate) number: Option<usize>,
    /// Whether it goes before what it waits with.
    pub(crate) has_head_start: bool,
    /// Name of the memory of what was decided.
    pub(crate) memory: &'static str,
    /// Tables stand in the order in which they were first made.
    pub(crate) made: u32,
    /// Name of the sink.
    pub(crate) answers: &'static str,
    pub(crate) output: fn(&Topics) -> &String,
    /// Of which item's row an answer speaks.
    pub(crate) item_of_answer: RowOf,
}
