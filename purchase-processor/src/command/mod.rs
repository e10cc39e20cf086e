//! What can be asked of an item: a folder for each kind of command, with what is read, its id and
//! content, its pure rule and its answer. The list below is the only place that knows all kinds; what
//! is done with any of them is in `decider`.

mod decider;
#[cfg(test)]
mod oracle;
pub mod purchase;
pub mod restock;

use std::borrow::Cow;

use bps_events::{Reason, Topics, Unreadable};
use bps_streams::topology::RowOf;
use bps_streams::{Context, DeadLetter, Error, Keyed, Origin, Record};

pub(crate) use self::decider::Decider;
use crate::memory::Remembered;
use crate::stock::{Decision, Stock};

/// A command of one kind.
pub(crate) trait Command<'a>: Sized {
    /// Where it comes from, and where its answer goes.
    const STREAM: Stream;

    /// Reads a record's value.
    fn read(value: Option<&'a [u8]>) -> Result<Self, Unreadable>;
    /// Name of what is counted of an outcome (`counters!`).
    fn counter(outcome: Outcome) -> &'static str;
    /// The item that it is about.
    fn item_id(&self) -> &str;
    /// Its id within the item. `origin` is where its record first lay.
    fn id(&self, origin: Origin<'_>) -> Cow<'_, str>;
    /// What is remembered of it: by this it is known when it is sent again.
    fn memory(&self, id: &str) -> Remembered;
    /// What the item is, from now on; empty: as before.
    fn description(&self) -> &str {
        ""
    }
    /// The rule.
    fn decide(&self, stock: Option<Stock>) -> Decision;
    /// Writes the answer's value.
    fn answer(&self, id: &str, decided: &Decided, into: &mut Vec<u8>);
}

/// A decision, and what it was made on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decided {
    /// The stock before; `None`: the item was not known.
    pub(crate) before: Option<Stock>,
    pub(crate) decision: Decision,
    /// The command's own timestamp (ms since 1970).
    pub(crate) at: i64,
}

impl Decided {
    /// The stock after.
    pub(crate) fn after(&self) -> Option<Stock> {
        self.decision.ok().or(self.before)
    }
}

/// What became of a command, as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// `None`: it was done.
    Decided(Option<Reason>),
    /// It was decided before.
    Resend,
    /// Another one was decided under its id.
    ConflictingResend,
}

/// The name under which an outcome of a kind is counted: the two of them.
macro_rules! counters {
    ($kind:literal, $outcome:expr) => {{
        use bps_events::Reason;
        match $outcome {
            Outcome::Decided(None) => concat!($kind, " SUCCESS"),
            Outcome::Decided(Some(Reason::InvalidQuantity)) => concat!($kind, " INVALID_QUANTITY"),
            Outcome::Decided(Some(Reason::UnknownItem)) => concat!($kind, " UNKNOWN_ITEM"),
            Outcome::Decided(Some(Reason::InsufficientStock)) => {
                concat!($kind, " INSUFFICIENT_STOCK")
            }
            Outcome::Decided(Some(Reason::TooOld)) => concat!($kind, " TOO_OLD"),
            Outcome::Decided(Some(Reason::Overflow)) => concat!($kind, " OVERFLOW"),
            Outcome::Resend => concat!($kind, " RESEND"),
            Outcome::ConflictingResend => concat!($kind, " CONFLICTING_RESEND"),
        }
    }};
}
use counters;

/// Commands of one topic, whose answers go to one topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Restocks,
    Purchases,
}

/// What a stream is made of.
pub(crate) struct StreamParts {
    /// Name of the source.
    pub(crate) source: &'static str,
    pub(crate) input: fn(&Topics) -> &String,
    /// Whether it goes before what it waits with.
    pub(crate) has_head_start: bool,
    /// Name of the memory of what was decided.
    pub(crate) memory: &'static str,
    /// Name of the sink.
    pub(crate) answers: &'static str,
    pub(crate) output: fn(&Topics) -> &String,
    /// Of which item's row an answer speaks.
    pub(crate) item_of_answer: RowOf,
}

impl Stream {
    /// All of them, by number.
    pub(crate) const ALL: [Stream; 2] = [Stream::Restocks, Stream::Purchases];

    pub(crate) fn parts(self) -> StreamParts {
        match self {
            Stream::Restocks => StreamParts {
                source: "restocks",
                input: |topics| &topics.items_added,
                has_head_start: true,
                memory: "restocked",
                answers: "restock-answers",
                output: |topics| &topics.restock_finished,
                item_of_answer: restock::item_of_answer,
            },
            Stream::Purchases => StreamParts {
                source: "purchases",
                input: |topics| &topics.purchase_created,
                has_head_start: false,
                memory: "decided",
                answers: "results",
                output: |topics| &topics.purchase_finished,
                item_of_answer: purchase::item_of_answer,
            },
        }
    }
}

/// Every kind of command, by its folder.
macro_rules! kinds {
    ($($kind:ident,)*) => {
        /// A command of any kind.
        enum AnyCommand<'a> {
            $($kind(bps_events::$kind<'a>),)*
        }

        impl<'a> AnyCommand<'a> {
            fn read(stream: Stream, value: Option<&'a [u8]>) -> Result<Self, Unreadable> {
                $(if stream == <bps_events::$kind<'_> as Command>::STREAM {
                    return <bps_events::$kind<'_> as Command>::read(value).map(Self::$kind);
                })*
                unreachable!("a stream without a kind: {stream:?}")
            }

            fn item_id(&self) -> &str {
                match self {
                    $(Self::$kind(command) => command.item_id(),)*
                }
            }

            fn decide(
                &self,
                decider: &mut Decider,
                at: i64,
                context: &mut Context<'_>,
            ) -> Result<(), Error> {
                match self {
                    $(Self::$kind(command) => decider.decide(command, at, context),)*
                }
            }
        }
    };
}

kinds! {
    Restock,
    Purchase,
}

/// A command, and when it was sent.
pub(crate) struct Request<'a> {
    /// ms since 1970.
    at: i64,
    command: AnyCommand<'a>,
}

impl Keyed for Request<'_> {
    fn key(&self) -> &[u8] {
        self.command.item_id().as_bytes()
    }
}

impl Request<'_> {
    /// Reads the commands of a stream.
    pub(crate) fn reader(
        stream: Stream,
    ) -> impl for<'a> Fn(&Record<'a>) -> Result<Request<'a>, DeadLetter> {
        move |record| {
            let command = AnyCommand::read(stream, record.value)
                .map_err(|error| DeadLetter::new(error.code(), error.to_string()))?;
            Ok(Request { at: record.timestamp, command })
        }
    }
}

/// Text as the key of a row.
fn bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use bps_events::{Purchase, Restock};

    use super::*;

    #[test]
    fn every_counter_says_of_what_kind_it_is() {
        let reasons = [
            Reason::InvalidQuantity,
            Reason::UnknownItem,
            Reason::InsufficientStock,
            Reason::TooOld,
            Reason::Overflow,
        ];
        let outcomes = reasons.map(|reason| (Outcome::Decided(Some(reason)), reason.code()));
        let others = [
            (Outcome::Decided(None), "SUCCESS"),
            (Outcome::Resend, "RESEND"),
            (Outcome::ConflictingResend, "CONFLICTING_RESEND"),
        ];
        for (outcome, code) in outcomes.into_iter().chain(others) {
            assert_eq!(Restock::counter(outcome), format!("restock {code}"));
            assert_eq!(Purchase::counter(outcome), format!("purchase {code}"));
        }
    }
}
