//! What can be asked of an item: a folder for each kind of command, with what is read, its id and
//! content, its pure rule and its answer. The list below is the only place that knows all kinds; what
//! is done with any of them is in `decider`.

mod decider;
#[cfg(test)]
mod oracle;
pub mod purchase;
pub mod restock;
mod shared;
mod stream;

use std::borrow::Cow;

use bps_events::{Purchase, Reason, Restock, Unreadable};
use bps_streams::{Context, DeadLetter, Error, Keyed, Origin, Record};

pub(crate) use self::decider::Decider;
use self::purchase::Purchases;
use self::restock::Restocks;
use self::shared::Commands;
use self::stream::{Stream, StreamParts};
use crate::memory::Remembered;
use crate::stock::Stock;

/// A command of one kind.
pub(crate) trait Command<'a>: Sized {
    /// Where it comes from, and where its answer goes.
    type Stream: Stream;
    /// Its type, where the stream has several kinds.
    const TYPE: Option<&'static str> = None;

    /// Reads what is of its own kind.
    fn read(event: EventOf<'a, Self>) -> Result<Self, Unreadable>;
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
    /// The rule: why not, or the stock after it; `None` where it stays as it is.
    fn decide(&self, stock: Option<Stock>) -> Result<Option<Stock>, Reason>;
    /// Writes the answer's value.
    fn answer(&self, id: &str, decided: &Decided, into: &mut Vec<u8>);
}

/// What a record says from which a command is read.
pub(crate) type EventOf<'a, C> = <<C as Command<'a>>::Stream as Stream>::Event<'a>;

/// A decision, and what it was made on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decided {
    /// The stock before; `None`: the item was not known.
    pub(crate) before: Option<Stock>,
    /// As [`Command::decide`] has it.
    pub(crate) decision: Result<Option<Stock>, Reason>,
    /// The command's own timestamp (ms since 1970).
    pub(crate) at: i64,
}

impl Decided {
    /// The stock after.
    pub(crate) fn after(&self) -> Option<Stock> {
        self.decision.ok().flatten().or(self.before)
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
    ($kind:literal, $outcome:expr) => {
        match $outcome {
            Outcome::Decided(None) => concat!($kind, " SUCCESS"),
            Outcome::Decided(Some(reason)) => bps_events::reason_behind!(reason, $kind, " "),
            Outcome::Resend => concat!($kind, " RESEND"),
            Outcome::ConflictingResend => concat!($kind, " CONFLICTING_RESEND"),
        }
    };
}
use counters;

/// Every kind of command, by the stream that it comes from.
macro_rules! kinds {
    ($($stream:ident [$($kind:ident),*];)*) => {
        /// A stream.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum StreamId {
            $($stream,)*
        }

        impl StreamId {
            const ALL: &[StreamId] = &[$(StreamId::$stream),*];

            pub(crate) fn parts(self) -> StreamParts {
                match self {
                    $(Self::$stream => $stream::PARTS,)*
                }
            }

            /// Whether there is a kind that comes from it.
            fn is_used(self) -> bool {
                match self {
                    $(Self::$stream => !(&[$(stringify!($kind)),*] as &[&str]).is_empty(),)*
                }
            }
        }

        /// A command of any kind.
        enum AnyCommand<'a> {
            $($($kind($kind<'a>),)*)*
        }

        impl<'a> AnyCommand<'a> {
            #[inline]
            fn read(stream: StreamId, value: Option<&'a [u8]>) -> Result<Self, Unreadable> {
                match stream {
                    $(StreamId::$stream => {
                        let event = $stream::read(value)?;
                        $(if <$kind<'_> as Command>::TYPE == $stream::kind(&event) {
                            return Ok(Self::$kind(<$kind<'_> as Command>::read(event)?));
                        })*
                        Err(unknown($stream::kind(&event)))
                    })*
                }
            }

            fn item_id(&self) -> &str {
                match self {
                    $($(Self::$kind(command) => command.item_id(),)*)*
                }
            }

            fn decide(
                &self,
                decider: &mut Decider,
                at: i64,
                context: &mut Context<'_>,
            ) -> Result<(), Error> {
                match self {
                    $($(Self::$kind(command) => {
                        decider.decide(StreamId::$stream, command, at, context)
                    })*)*
                }
            }
        }
    };
}

kinds! {
    Restocks [Restock];
    Purchases [Purchase];
    Commands [];
}

fn unknown(kind: Option<&str>) -> Unreadable {
    Unreadable::Type { cause: format!("{:?} is not known", kind.unwrap_or_default()) }
}

impl StreamId {
    /// Those that some kind comes from.
    pub(crate) fn used() -> impl Iterator<Item = StreamId> {
        StreamId::ALL.iter().copied().filter(|stream| stream.is_used())
    }

    /// How many there are.
    pub(crate) const COUNT: usize = StreamId::ALL.len();
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
        stream: StreamId,
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
    use super::*;

    #[test]
    fn every_counter_says_of_what_kind_it_is() {
        let outcomes =
            Reason::ALL.iter().map(|reason| (Outcome::Decided(Some(*reason)), reason.code()));
        let others = [
            (Outcome::Decided(None), "SUCCESS"),
            (Outcome::Resend, "RESEND"),
            (Outcome::ConflictingResend, "CONFLICTING_RESEND"),
        ];
        for (outcome, code) in outcomes.chain(others) {
            assert_eq!(Restock::counter(outcome), format!("restock {code}"));
            assert_eq!(Purchase::counter(outcome), format!("purchase {code}"));
        }
    }
}
