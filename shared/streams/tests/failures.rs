//! What becomes of a record that a processor does not process.
#![allow(missing_docs, clippy::unwrap_used)]

use bps_streams::topology::as_it_is;
use bps_streams::{
    Context, DeadLetter, Error, Message, Node, ProcessError, ProcessResult, Processor, Record,
    Sink, SinkId, Source, TestDriver, Topology,
};

/// Does what the value says.
struct Obedient(SinkId);

impl Processor for Obedient {
    type Input<'a> = Record<'a>;

    fn process(&mut self, record: Record<'_>, context: &mut Context<'_>) -> ProcessResult {
        let letter = DeadLetter::new("ASKED_FOR", "as its value says");
        match record.value.unwrap_or_default() {
            b"bury" => Err(letter.into()),
            b"fail" => Err(ProcessError::failed("the printer is on fire")),
            b"break" => Err(context.broken("what must never be").into()),
            b"write and bury" => {
                context.send(self.0, Message::new(b"k", b"half"))?;
                Err(letter.into())
            }
            value => Ok(context.send(self.0, Message::new(b"k", value))?),
        }
    }
}

fn driver() -> TestDriver {
    let node = Node::new("obedient", |wiring| Obedient(wiring.sink("out")));
    let topology = Topology::named("obedient")
        .sink(Sink::new("out", "out"))
        .processor(node.reads(Source::new("in", "in", as_it_is)))
        .dead_letters("dead")
        .build();
    TestDriver::with_partitions(topology.unwrap(), 1)
}

#[test]
fn a_dead_letter_is_put_aside_and_the_partition_goes_on() {
    let mut driver = driver();
    for value in ["1", "bury", "2"] {
        driver.send("in", b"k", value.as_bytes(), 1).unwrap();
    }
    let letters = driver.read("dead");
    assert_eq!((letters.len(), letters[0].text()), (1, "bury"));
    assert_eq!(letters[0].header("code"), Some(&b"ASKED_FOR"[..]));
    let out: Vec<_> = driver.read("out").iter().map(|record| record.text().to_owned()).collect();
    assert_eq!(out, ["1", "2"]);
}

#[test]
fn a_failure_stops_the_task_and_tells_the_records_place() {
    let failed = |value: &str| {
        let mut driver = driver();
        driver.send("in", b"k", b"1", 1).unwrap();
        driver.send("in", b"k", value.as_bytes(), 1).unwrap_err()
    };
    let error = failed("fail");
    assert_eq!(error.to_string(), "in-0, offset 1: the printer is on fire");
    assert!(matches!(error, Error::Processor { offset: 1, .. }), "{error:?}");
    let error = failed("break");
    assert_eq!(error.to_string(), "in-0, offset 1: what must never be");
    assert!(matches!(error, Error::Invariant { .. }), "{error:?}");
    let error = failed("write and bury");
    assert!(error.to_string().contains("wrote something and then called"), "{error}");
}

#[test]
fn a_record_without_a_key_is_a_dead_letter_where_it_is_read_as_it_is() {
    let mut driver = driver();
    driver.send_to("in", 0, None, Some(b"1"), 1).unwrap();
    let letters = driver.read("dead");
    assert_eq!(letters[0].header("code"), Some(&b"NO_KEY"[..]));
}
