//! Two inputs that must be seen in order, records in wrong partitions, and records that cannot be
//! read: prices go before orders of the same time, strays are moved home, rubbish is set aside.
#![allow(clippy::print_stdout)] // an example speaks

use std::time::Duration;

use bps_streams::{
    Context, DeadLetter, Keyed, Message, Node, ProcessResult, Processor, Record, Sink, SinkId,
    Source, Store, StoreId, TestDriver, Topology,
};

/// What lies on the topics, once it is read.
enum Event<'a> {
    Price { product: &'a [u8], price: &'a [u8] },
    Order { product: &'a [u8], count: &'a [u8] },
}

impl Keyed for Event<'_> {
    /// The product is what it belongs to, whatever the key of its record says.
    fn key(&self) -> &[u8] {
        match self {
            Event::Price { product, .. } | Event::Order { product, .. } => product,
        }
    }
}

fn read_price<'a>(record: &Record<'a>) -> Result<Event<'a>, DeadLetter> {
    pair(record).map(|(product, price)| Event::Price { product, price })
}

fn read_order<'a>(record: &Record<'a>) -> Result<Event<'a>, DeadLetter> {
    pair(record).map(|(product, count)| Event::Order { product, count })
}

/// A value is `product=number`.
fn pair<'a>(record: &Record<'a>) -> Result<(&'a [u8], &'a [u8]), DeadLetter> {
    let parts = record.value.map(|v| v.split(|b| *b == b'='));
    match parts.and_then(|mut parts| Some((parts.next()?, parts.next()?))) {
        Some(pair) => Ok(pair),
        None => Err(DeadLetter::new("NOT_A_PAIR", "it is not of the form product=number")),
    }
}

struct Invoice {
    prices: StoreId,
    invoices: SinkId,
}

impl Processor for Invoice {
    type Input<'a> = Event<'a>;

    fn process(&mut self, event: Event<'_>, context: &mut Context<'_>) -> ProcessResult {
        match event {
            Event::Price { product, price } => drop(context.put(self.prices, product, price)?),
            Event::Order { product, count } => {
                let price = context.get(self.prices, product)?.map(|row| row.value.to_vec());
                let line = [count, b" x ", &price.unwrap_or_default()].concat();
                context.send(self.invoices, Message::new(product, &line))?;
            }
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let invoice = Node::new("invoice", |wiring| Invoice {
        prices: wiring.store("prices"),
        invoices: wiring.sink("invoices"),
    });
    let prices = Source::new("prices", "prices", read_price).head_start(Duration::from_secs(5));
    let orders = Source::new("orders", "orders", read_order);
    let topology = Topology::named("invoices")
        .store(Store::new("prices", "price-table"))
        .sink(Sink::new("invoices", "invoices"))
        .processor(invoice.reads(prices).reads(orders))
        .rekey("moved")
        .dead_letters("rubbish")
        .build()?;
    println!("{topology}");
    let mut driver = TestDriver::new(topology);
    // All of it is there before anything is decided. The price is stamped later than the order,
    // within its head start; the order lies in every partition but its own.
    for partition in 0..4 {
        driver.append("orders", partition, None, Some(b"apple=3"), 1_000)?;
    }
    let home = bps_streams::partitioner::partition_of(b"apple", 4);
    driver.append("prices", home, None, Some(b"apple=20"), 4_000)?;
    driver.append("prices", home, None, Some(b"apple"), 4_000)?;
    driver.run()?;
    for invoice in driver.read("invoices") {
        println!("apple: {}", invoice.text());
    }
    for letter in driver.read("rubbish") {
        let why = String::from_utf8_lossy(letter.header("error").unwrap_or_default()).into_owned();
        println!("set aside: {:?}: {why}", letter.text());
    }
    Ok(())
}
