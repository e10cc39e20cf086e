//! Topics of requests, each with a topic of answers; and the numbers of a partition's inputs.

use bps_events::Topics;

use crate::kind::KINDS;
use crate::report::Rule;

/// A topic of requests, and what is answered to them.
pub(crate) struct Stream {
    /// Its name in records that were sent on.
    pub(crate) source: &'static str,
    pub(crate) input: fn(&Topics) -> &str,
    pub(crate) output: fn(&Topics) -> &str,
    /// What an answer is called.
    pub(crate) answer: &'static str,
    /// The rule that is broken where one is missing, or one too many.
    pub(crate) rule: Rule,
    /// Whether its requests go before others that wait.
    pub(crate) goes_first: bool,
}

/// Number of the stream of restocks.
pub(crate) const RESTOCKS: usize = 0;
/// Number of the stream of purchases.
pub(crate) const PURCHASES: usize = 1;
/// Number of the stream of all other commands.
pub(crate) const COMMANDS: usize = 2;

static STREAMS: [Stream; 3] = [
    Stream {
        source: "restocks",
        input: |topics| &topics.items_added,
        output: |topics| &topics.restock_finished,
        answer: "answer",
        rule: Rule::C4,
        goes_first: true,
    },
    Stream {
        source: "purchases",
        input: |topics| &topics.purchase_created,
        output: |topics| &topics.purchase_finished,
        answer: "result",
        rule: Rule::C1,
        goes_first: false,
    },
    Stream {
        source: "commands",
        input: |topics| &topics.command_created,
        output: |topics| &topics.command_finished,
        answer: "answer",
        rule: Rule::C1,
        goes_first: false,
    },
];

/// Those that some kind of request comes from: all up to the last of these.
pub(crate) fn used() -> &'static [Stream] {
    let last = KINDS.iter().map(|kind| kind.stream()).max();
    &STREAMS[..last.map_or(0, |last| last + 1)]
}

/// Number of the input of moved records. Streams that came later stand behind it.
pub(crate) const MOVED: usize = 2;

/// Number of the input of a stream.
pub(crate) fn input_of(stream: usize) -> usize {
    if stream < MOVED { stream } else { stream + 1 }
}

/// The stream of an input; `None`: moved records.
pub(crate) fn stream_of(input: usize) -> Option<usize> {
    match input {
        MOVED => None,
        below if below < MOVED => Some(below),
        above => Some(above - 1),
    }
}
