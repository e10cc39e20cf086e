//! Two inputs that must be seen in order, records in wrong partitions, and records that cannot be
//! read: prices go before orders of the same time, strays are moved home, rubbish is set aside.
#![allow(clippy::print_stdout)] // an example speaks

use std::borrow::Cow;
use std::time::Duration;

use bps_streams::{
    Context, DeadLetter, Message, ProcessResult, Processor, Record, TestDriver, Topology,
};

/// A value is `product=number`; the product is what it belongs to, whatever its key says.
fn product<'a>(record: &Record<'a>) -> Result<Cow<'a, [u8]>, DeadLetter> {
    let parts = record.value.map(|v| v.split(|b| *b == b'='));
    match parts.and_then(|mut parts| Some((parts.next()?, parts.next()?))) {
        Some((product, _)) => Ok(Cow::Borrowed(product)),
        None => Err(DeadLetter::new("NOT_A_PAIR", "it is not of the form product=number")),
    }
}

struct Invoice;

impl Processor for Invoice {
    fn process(&mut self, record: &Record<'_>, context: &mut Context<'_>) -> ProcessResult {
        let key = product(record)?;
        let number = &record.value.unwrap_or_default()[key.len() + 1..];
        if context.source() == "prices" {
            context.put("prices", &key, number)?;
            return Ok(());
        }
        let price = context.get("prices", &key)?.map_or(Vec::new(), |row| row.value.to_vec());
        let line = [number, b" x ", &price].concat();
        context.send("invoices", Message { key: &key, value: &line, ..Message::default() })?;
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let topology = Topology::named("invoices")
        .source("prices", "prices", product)
        .head_start(Duration::from_secs(5))
        .source("orders", "orders", product)
        .plain_store("prices", "price-table")
        .rekey("moved")
        .processor("invoice", || Invoice, ["prices", "orders"], ["prices"])
        .sink("invoices", "invoices", "invoice")
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
