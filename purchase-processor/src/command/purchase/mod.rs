//! A purchase: units taken from an item, on a topic of its own.

pub mod rule;

use std::borrow::Cow;

use bps_events::{Purchase, PurchaseFinished, PurchaseResult, Reason, Unreadable};
use bps_streams::{Origin, Record};

use super::stream::{Stream, StreamParts};
use super::{Command, Decided, Outcome, bytes, counters};
use crate::memory::Remembered;
use crate::stock::Stock;

/// The topic of purchases.
pub(crate) struct Purchases;

impl Stream for Purchases {
    type Event<'a> = Purchase<'a>;
    const PARTS: StreamParts = StreamParts {
        source: "purchases",
        input: |topics| &topics.purchase_created,
        number: None,
        has_head_start: false,
        memory: "decided",
        made: 1,
        answers: "results",
        output: |topics| &topics.purchase_finished,
        item_of_answer,
    };

    fn read(value: Option<&[u8]>) -> Result<Purchase<'_>, Unreadable> {
        Purchase::read(value)
    }
}

impl<'a> Command<'a> for Purchase<'a> {
    type Stream = Purchases;

    fn read(event: Purchase<'a>) -> Result<Self, Unreadable> {
        Ok(event)
    }

    fn counter(outcome: Outcome) -> &'static str {
        counters!("purchase", outcome)
    }

    fn item_id(&self) -> &str {
        &self.item_id
    }

    fn id(&self, _: Origin<'_>) -> Cow<'_, str> {
        Cow::Borrowed(&self.purchase_id)
    }

    fn memory(&self, id: &str) -> Remembered {
        let mut digits = itoa::Buffer::new();
        let content = [self.quantity.text(&mut digits), &self.purchased_by];
        Remembered::new(&self.item_id, id, &content)
    }

    fn decide(&self, stock: Option<Stock>) -> Result<Option<Stock>, Reason> {
        rule::decide(stock, self.quantity.valid()).map(Some)
    }

    fn answer(&self, id: &str, decided: &Decided, into: &mut Vec<u8>) {
        let before = decided.before.unwrap_or(Stock { supplied: 0, booked: 0 });
        PurchaseFinished {
            purchase_id: id,
            item_id: &self.item_id,
            quantity: &self.quantity,
            purchased_by: &self.purchased_by,
            reason: decided.decision.err(),
            item_quantity: before.supplied,
            already_booked: before.booked,
            remaining: decided.after().map_or(0, Stock::remaining),
            decided_at: decided.at,
        }
        .write(into);
    }
}

/// The item that a result speaks of.
fn item_of_answer<'a>(record: &Record<'a>) -> Option<Cow<'a, [u8]>> {
    let result: PurchaseResult<'a> = serde_json::from_slice(record.value?).ok()?;
    Some(bytes(result.item_id))
}
