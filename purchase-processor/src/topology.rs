//! Where the rule and the engine meet.

use std::borrow::Cow;

use bps_events::{
    Purchase, PurchaseFinished, PurchaseResult, Quantity, Reason, Restock, RestockFinished,
    RestockResult, Unreadable,
};
use bps_streams::{
    Context, DeadLetter, Error, Keyed, Ledger, LedgerId, Message, Node, ProcessResult, Processor,
    Record, Sink, SinkId, Source, Store, StoreId, Topology, TopologyError, Wiring,
};

use crate::Settings;
use crate::booking::{self, Stock, Wish};
use crate::memory::{Remembered, from_memo};
use crate::metrics::counters;
use crate::row::{Row, from_topic, to_topic};

const RESTOCKS: &str = "restocks";
const PURCHASES: &str = "purchases";
const STOCK: &str = "stock";
const DECIDED: &str = "decided";
const RESTOCKED: &str = "restocked";
const RESULTS: &str = "results";
const ANSWERS: &str = "restock-answers";
const BOOKING: &str = "booking";

/// The purchase processor's topology.
///
/// # Errors
/// When topic names collide.
pub fn topology(settings: &Settings) -> Result<Topology, TopologyError> {
    let t = &settings.topics;
    let window_ms = settings.memory_window.map(|w| w.as_millis() as i64);
    let restocks = Source::new(RESTOCKS, &t.items_added, read_restock)
        .head_start(settings.clock_skew_max)
        .future_max(settings.future_max);
    let purchases =
        Source::new(PURCHASES, &t.purchase_created, read_purchase).future_max(settings.future_max);
    let decided = Ledger::new(DECIDED, &t.purchase_finished, |_, memo| from_memo(memo));
    let restocked = Ledger::new(RESTOCKED, &t.restock_finished, |_, memo| from_memo(memo));
    let booking = Node::new(BOOKING, move |wiring| Booking::new(wiring, window_ms));
    Topology::named(&settings.application)
        .store(Store::new(STOCK, &t.stock).written_as(to_topic, from_topic))
        .ledger(decided.tells_of(STOCK, item_of_result))
        .ledger(restocked.tells_of(STOCK, item_of_answer))
        .sink(Sink::new(RESULTS, &t.purchase_finished))
        .sink(Sink::new(ANSWERS, &t.restock_finished))
        .processor(booking.reads(restocks).reads(purchases))
        .rekey(&t.rekeyed)
        .dead_letters(&t.dead_letters)
        .build()
}

/// What is asked for, and when.
struct Request<'a> {
    at: i64,
    asked: Asked<'a>,
}

enum Asked<'a> {
    Restock(Restock<'a>),
    Purchase(Purchase<'a>),
}

impl Keyed for Request<'_> {
    fn key(&self) -> &[u8] {
        match &self.asked {
            Asked::Restock(restock) => restock.item_id.as_bytes(),
            Asked::Purchase(purchase) => purchase.item_id.as_bytes(),
        }
    }
}

fn read_purchase<'a>(record: &Record<'a>) -> Result<Request<'a>, DeadLetter> {
    let asked = Asked::Purchase(Purchase::read(record.value).map_err(dead)?);
    Ok(Request { at: record.timestamp, asked })
}

fn read_restock<'a>(record: &Record<'a>) -> Result<Request<'a>, DeadLetter> {
    let asked = Asked::Restock(Restock::read(record.value).map_err(dead)?);
    Ok(Request { at: record.timestamp, asked })
}

fn item_of_result<'a>(record: &Record<'a>) -> Option<Cow<'a, [u8]>> {
    let result: PurchaseResult<'a> = serde_json::from_slice(record.value?).ok()?;
    Some(bytes(result.item_id))
}

fn item_of_answer<'a>(record: &Record<'a>) -> Option<Cow<'a, [u8]>> {
    let answer: RestockResult<'a> = serde_json::from_slice(record.value?).ok()?;
    Some(bytes(answer.item_id))
}

fn bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

fn dead(error: Unreadable) -> DeadLetter {
    DeadLetter::new(error.code(), error.to_string())
}

/// Applies the rule to one record after another. It remembers nothing itself: its fields are
/// buffers, and where things are.
struct Booking {
    stock: StoreId,
    decided: LedgerId,
    restocked: LedgerId,
    results: SinkId,
    answers: SinkId,
    window_ms: Option<i64>,
    value: Vec<u8>,
    row: Vec<u8>,
    description: String,
}

impl Processor for Booking {
    type Input<'a> = Request<'a>;

    fn process(&mut self, request: Request<'_>, context: &mut Context<'_>) -> ProcessResult {
        match request.asked {
            Asked::Restock(restock) => self.restock(&restock, request.at, context)?,
            Asked::Purchase(purchase) => self.purchase(&purchase, request.at, context)?,
        }
        Ok(())
    }
}

/// An item's row as it was before the record.
struct Before {
    stock: Option<Stock>,
    sequence: u64,
}

impl Booking {
    fn new(wiring: &Wiring<'_>, window_ms: Option<i64>) -> Self {
        Self {
            stock: wiring.store(STOCK),
            decided: wiring.ledger(DECIDED),
            restocked: wiring.ledger(RESTOCKED),
            results: wiring.sink(RESULTS),
            answers: wiring.sink(ANSWERS),
            window_ms,
            value: Vec::new(),
            row: Vec::new(),
            description: String::new(),
        }
    }

    fn purchase(
        &mut self,
        p: &Purchase<'_>,
        at: i64,
        context: &mut Context<'_>,
    ) -> Result<(), Error> {
        let mut digits = itoa::Buffer::new();
        let content = [p.quantity.text(&mut digits), &p.purchased_by];
        let memory = Remembered::new(&p.item_id, &p.purchase_id, &content);
        if let Some(same) = self.resend(self.decided, &memory, context)? {
            let names = ["purchase CONFLICTING_RESEND", "purchase RESEND"];
            context.count(names[usize::from(same)]);
            return Ok(());
        }
        let before = self.look_up(&p.item_id, context)?;
        let wish = self.wish(&p.quantity, at, context);
        let decision = booking::purchase(before.stock, wish);
        context.count(counters(decision.err())[0]);
        let sequence = self.keep(&p.item_id, decision, &before, at, context)?;
        let Stock { supplied, booked } = before.stock.unwrap_or(Stock { supplied: 0, booked: 0 });
        let after = decision.ok().or(before.stock);
        self.value.clear();
        PurchaseFinished {
            purchase_id: &p.purchase_id,
            item_id: &p.item_id,
            quantity: &p.quantity,
            purchased_by: &p.purchased_by,
            reason: decision.err(),
            item_quantity: supplied,
            already_booked: booked,
            remaining: after.map_or(0, Stock::remaining),
            decided_at: at,
        }
        .write(&mut self.value);
        let (key, value) = (p.purchase_id.as_bytes(), self.value.as_slice());
        let message = Message::new(key, value).sequence(sequence).memo(memory.memo());
        context.send(self.results, message)
    }

    fn restock(
        &mut self,
        r: &Restock<'_>,
        at: i64,
        context: &mut Context<'_>,
    ) -> Result<(), Error> {
        let origin = context.origin();
        let place = || format!("{}-{}-{}", origin.topic, origin.partition, origin.offset);
        let id = r.restock_id.clone().unwrap_or_else(|| place().into());
        let mut digits = itoa::Buffer::new();
        let content = [r.quantity.text(&mut digits), &r.description];
        let memory = Remembered::new(&r.item_id, &id, &content);
        if let Some(same) = self.resend(self.restocked, &memory, context)? {
            let names = ["restock CONFLICTING_RESEND", "restock RESEND"];
            context.count(names[usize::from(same)]);
            return Ok(());
        }
        let before = self.look_up(&r.item_id, context)?;
        let decision = booking::restock(before.stock, self.wish(&r.quantity, at, context));
        context.count(counters(decision.err())[1]);
        if decision.is_ok() && !r.description.is_empty() {
            self.description.clear();
            self.description.push_str(&r.description);
        }
        let sequence = self.keep(&r.item_id, decision, &before, at, context)?;
        self.value.clear();
        RestockFinished {
            restock_id: &id,
            item_id: &r.item_id,
            quantity: &r.quantity,
            reason: decision.err(),
            supplied: decision.ok().or(before.stock).map_or(0, |s| s.supplied),
        }
        .write(&mut self.value);
        let (key, value) = (id.as_bytes(), self.value.as_slice());
        let message = Message::new(key, value).sequence(sequence).memo(memory.memo());
        context.send(self.answers, message)
    }

    /// Where the wish was decided before: whether it was the same. Then nothing is emitted.
    fn resend(
        &self,
        store: LedgerId,
        memory: &Remembered,
        context: &mut Context<'_>,
    ) -> Result<Option<bool>, Error> {
        let oldest = self.window_ms.map(|w| context.stream_time().saturating_sub(w));
        let Some(row) = context.get(store, memory.key())? else {
            return Ok(None);
        };
        if oldest.is_some_and(|oldest| row.timestamp < oldest) {
            return Ok(None);
        }
        Ok(Some(row.value == memory.content()))
    }

    fn wish(&self, quantity: &Quantity<'_>, at: i64, context: &Context<'_>) -> Wish {
        let too_old = |window| at < context.stream_time().saturating_sub(window);
        Wish { quantity: quantity.valid(), too_old: self.window_ms.is_some_and(too_old) }
    }

    fn look_up(&mut self, item: &str, context: &mut Context<'_>) -> Result<Before, Error> {
        self.description.clear();
        let Some(row) = context.get(self.stock, item.as_bytes())? else {
            return Ok(Before { stock: None, sequence: 0 });
        };
        let sequence = row.sequence;
        let Some(row) = Row::decode(row.value) else {
            return Err(context.broken(format!("the stock row of item {item:?} is damaged")));
        };
        self.description.push_str(row.description);
        Ok(Before { stock: Some(row.stock), sequence })
    }

    /// Stores the new stock, if there is one; returns the row's sequence.
    fn keep(
        &mut self,
        item: &str,
        decision: Result<Stock, Reason>,
        before: &Before,
        at: i64,
        context: &mut Context<'_>,
    ) -> Result<u64, Error> {
        let Ok(stock) = decision else {
            return Ok(before.sequence);
        };
        let row = Row { stock, updated_at: at, description: &self.description };
        row.encode(&mut self.row);
        context.put(self.stock, item.as_bytes(), &self.row)
    }
}

#[cfg(test)]
mod tests {
    use bps_streams::topology::RowOf;
    use bps_streams::{Headers, TestDriver};

    use super::*;

    #[test]
    fn results_and_answers_tell_of_the_row_of_their_item() {
        let settings = Settings::default();
        let t = &settings.topics;
        let mut driver = TestDriver::new(topology(&settings).expect("well wired"));
        let restock = br#"{"restockId":"r","itemId":"an item","quantity":5}"#;
        let purchase = br#"{"purchaseId":"p","itemId":"an item","quantity":2}"#;
        driver.send(&t.items_added, b"an item", restock, 1).expect("decided");
        driver.send(&t.purchase_created, b"an item", purchase, 2).expect("decided");
        let tells: [(_, RowOf); 2] =
            [(&t.purchase_finished, item_of_result), (&t.restock_finished, item_of_answer)];
        for (topic, row) in tells {
            let written = driver.read(topic);
            assert_eq!(written.len(), 1);
            let record = Record {
                topic,
                partition: written[0].partition,
                offset: 0,
                timestamp: 0,
                key: written[0].key.as_deref(),
                value: written[0].value.as_deref(),
                headers: Headers::default(),
            };
            assert_eq!(row(&record).as_deref(), Some(&b"an item"[..]));
        }
    }

    #[test]
    fn the_topology_is_printed_for_people() {
        let topology = topology(&Settings::default()).expect("well wired");
        insta::assert_snapshot!(topology.to_string(), @r"
        Topology bps-purchase-processor
          source    restocks <- bps-items-added (head start 5000 ms)
          source    purchases <- bps-purchase-created
          rekey     bps-rekeyed (records of a wrong partition)
          processor booking reads [restocks, purchases] keeps [stock, decided, restocked]
          store     stock (changelog bps-stock)
          store     decided (backed by bps-purchase-finished)
          store     restocked (backed by bps-restock-finished)
          sink      results -> bps-purchase-finished (from booking)
          sink      restock-answers -> bps-restock-finished (from booking)
          dead letters -> bps-dead-letters
        ");
    }
}
