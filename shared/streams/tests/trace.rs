//! The trace that a record belongs to goes on to what comes of it.
#![allow(missing_docs)]

use bps_streams::partitioner::partition_of;
use bps_streams::topology::as_it_is;
use bps_streams::{
    Context, Message, Node, ProcessResult, Processor, Record, Sink, SinkId, Source, TRACE,
    TestDriver, Topology,
};

struct Echo(SinkId);

impl Processor for Echo {
    type Input<'a> = Record<'a>;

    fn process(&mut self, record: Record<'_>, context: &mut Context<'_>) -> ProcessResult {
        let (key, value) = (record.key.unwrap_or_default(), record.value.unwrap_or_default());
        Ok(context.send(self.0, Message::new(key, value))?)
    }
}

#[test]
fn a_trace_goes_on_to_what_comes_of_a_record_wherever_it_lies() {
    let echo = Node::new("echo", |wiring| Echo(wiring.sink("out")));
    let topology = Topology::named("echo")
        .sink(Sink::new("out", "answered"))
        .processor(echo.reads(Source::new("in", "asked", as_it_is)))
        .rekey("moved")
        .dead_letters("dead")
        .build()
        .expect("well wired");
    let mut driver = TestDriver::new(topology);
    let home = partition_of(b"k", 4);
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let long = "x".repeat(257);
    for (partition, text) in [(home, trace), ((home + 1) % 4, trace), (home, &long)] {
        let headers = [("other", Some(&b"1"[..])), (TRACE, Some(text.as_bytes()))];
        let (key, value) = (Some(&b"k"[..]), Some(&b"v"[..]));
        driver
            .append_with_headers("asked", partition, key, value, &headers, 1)
            .and_then(|()| driver.run())
            .expect("decided");
    }
    let answers = driver.read("answered");
    let found: Vec<_> = answers.iter().map(|answer| answer.header(TRACE)).collect();
    // One that is no trace, by its length, is left out.
    assert_eq!(found, [Some(trace.as_bytes()), Some(trace.as_bytes()), None]);
    assert!(answers.iter().all(|answer| answer.header("other").is_none()));
    assert_eq!(driver.read("moved")[0].header(TRACE), Some(trace.as_bytes()));
}
