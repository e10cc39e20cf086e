//! A restock: units added to an item, on a topic of its own.

pub mod rule;

use std::borrow::Cow;

use bps_events::{Reason, Restock, RestockFinished, RestockResult, Unreadable};
use bps_streams::{Origin, Record};

use super::stream::{Stream, StreamParts};
use super::{Command, Decided, Outcome, bytes, counters};
use crate::memory::Remembered;
use crate::stock::Stock;

/// The topic of restocks.
pub(crate) struct Restocks;

impl Stream for Restocks {
    type Event<'a> = Restock<'a>;
    const PARTS: StreamParts = StreamParts {
        source: "restocks",
        input: |topics| &topics.items_added,
        number: None,
        has_head_start: true,
        memory: "restocked",
        made: 2,
        answers: "restock-answers",
        output: |topics| &topics.restock_finished,
        item_of_answer,
    };

    fn read(value: Option<&[u8]>) -> Result<Restock<'_>, Unreadable> {
        Restock::read(value)
    }
}

impl<'a> Command<'a> for Restock<'a> {
    type Stream = Restocks;

    fn read(event: Restock<'a>) -> Result<Self, Unreadable> {
        Ok(event)
    }

    fn counter(outcome: Outcome) -> &'static str {
        counters!("restock", outcome)
    }

    fn item_id(&self) -> &str {
        &self.item_id
    }

    /// One without an id is known by its place.
    fn id(&self, origin: Origin<'_>) -> Cow<'_, str> {
        match &self.restock_id {
            Some(id) => Cow::Borrowed(id),
            None => {
                let Origin { topic, partition, offset } = origin;
                Cow::Owned(format!("{topic}-{partition}-{offset}"))
            }
        }
    }

    fn memory(&self, id: &str) -> Remembered {
        let mut digits = itoa::Buffer::new();
        let content = [self.quantity.text(&mut digits), &self.description];
        Remembered::new(&self.item_id, id, &content)
    }

    fn description(&self) -> &str {
        &self.description
    }

    fn decide(&self, stock: Option<Stock>) -> Result<Option<Stock>, Reason> {
        rule::decide(stock, self.quantity.valid()).map(Some)
    }

    fn answer(&self, id: &str, decided: &Decided, into: &mut Vec<u8>) {
        RestockFinished {
            restock_id: id,
            item_id: &self.item_id,
            quantity: &self.quantity,
            reason: decided.decision.err(),
            supplied: decided.after().map_or(0, |stock| stock.supplied),
        }
        .write(into);
    }
}

/// The item that an answer speaks of.
fn item_of_answer<'a>(record: &Record<'a>) -> Option<Cow<'a, [u8]>> {
    let answer: RestockResult<'a> = serde_json::from_slice(record.value?).ok()?;
    Some(bytes(answer.item_id))
}
