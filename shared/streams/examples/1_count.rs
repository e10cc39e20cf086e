//! Kafka Streams' Processor API for Rust (no DSL, joins or windows yet): counts the clicks on each
//! page. Here the topology runs in a test driver; `2_embedded` runs one for real.
#![allow(clippy::print_stdout)] // an example speaks

use bps_streams::topology::as_it_is;
use bps_streams::{
    Context, Message, Node, ProcessResult, Processor, Record, Sink, SinkId, Source, Store, StoreId,
    TestDriver, Topology,
};

/// What it needs, it gets when it is made: a place to remember counts, and a topic to tell them on.
struct Count {
    counts: StoreId,
    totals: SinkId,
}

impl Processor for Count {
    /// It takes records as they are.
    type Input<'a> = Record<'a>;

    /// Called for one record after another. What it writes takes effect together with the record's
    /// position, once, whatever crashes.
    fn process(&mut self, click: Record<'_>, context: &mut Context<'_>) -> ProcessResult {
        let page = click.key.unwrap_or_default();
        let before = context.get(self.counts, page)?.map_or(0, |row| number(row.value));
        let count = (before + 1).to_string();
        context.put(self.counts, page, count.as_bytes())?;
        context.send(self.totals, Message::new(page, count.as_bytes()))?;
        Ok(())
    }
}

fn number(digits: &[u8]) -> u64 {
    std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count = Node::new("count", |wiring| Count {
        counts: wiring.store("counts"),
        totals: wiring.sink("totals"),
    });
    let topology = Topology::named("counter")
        .store(Store::new("counts", "click-counts"))
        .sink(Sink::new("totals", "clicks-so-far"))
        .processor(count.reads(Source::new("clicks", "clicks", as_it_is)))
        .dead_letters("click-dead-letters")
        .build()?;
    let mut driver = TestDriver::new(topology);
    for page in ["home", "shop", "home"] {
        driver.send("clicks", page.as_bytes(), b"", 0)?;
    }
    for total in driver.read("clicks-so-far") {
        let page = String::from_utf8_lossy(total.key.as_deref().unwrap_or_default()).into_owned();
        println!("{page}: {}", total.text());
    }
    Ok(())
}
