//! The simplest application: counts the records of each key, with no broker.
#![allow(clippy::print_stdout)] // an example speaks

use bps_streams::topology::record_key;
use bps_streams::{Context, Message, ProcessResult, Processor, Record, TestDriver, Topology};

struct Count;

impl Processor for Count {
    fn process(&mut self, record: &Record<'_>, context: &mut Context<'_>) -> ProcessResult {
        let key = record.key.unwrap_or_default();
        let count = context.get("counts", key)?.map_or(0, |row| row.sequence) + 1;
        let value = &*count.to_string().into_bytes();
        let (sequence, memo) = (context.put("counts", key, value)?, &[][..]);
        context.send("out", Message { key, value, sequence, memo })?;
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let topology = Topology::named("counter")
        .source("clicks", "clicks", record_key)
        .plain_store("counts", "click-counts")
        .processor("count", || Count, ["clicks"], ["counts"])
        .sink("out", "clicks-so-far", "count")
        .dead_letters("click-dead-letters")
        .build()?;
    let mut driver = TestDriver::new(topology);
    for page in ["home", "shop", "home"] {
        driver.send("clicks", page.as_bytes(), b"", 0)?;
    }
    for count in driver.read("clicks-so-far") {
        println!("partition {}: {}", count.partition, count.text());
    }
    Ok(())
}
