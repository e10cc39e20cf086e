//! The stream of all kinds but two: restocks and purchases have topics of their own. The others share one,
//! so that what is asked of an item is decided in the order in which it was asked.

use std::borrow::Cow;

use bps_events::{Command, CommandResult, Unreadable};
use bps_streams::Record;

use super::bytes;
use super::stream::{Stream, StreamParts};

/// Told apart by their type.
pub(crate) struct Commands;

impl Stream for Commands {
    type Event<'a> = Command<'a>;
    const PARTS: StreamParts = StreamParts {
        source: "commands",
        input: |topics| &topics.command_created,
        number: Some(3),
        has_head_start: false,
        memory: "commanded",
        made: 3,
        answers: "command-answers",
        output: |topics| &topics.command_finished,
        item_of_answer,
    };

    fn read(value: Option<&[u8]>) -> Result<Command<'_>, Unreadable> {
        Command::read(value)
    }

    fn kind<'e>(event: &'e Command<'_>) -> Option<&'e str> {
        Some(&event.kind)
    }
}

fn item_of_answer<'a>(record: &Record<'a>) -> Option<Cow<'a, [u8]>> {
    let answer: CommandResult<'a> = serde_json::from_slice(record.value?).ok()?;
    Some(bytes(answer.item_id))
}
