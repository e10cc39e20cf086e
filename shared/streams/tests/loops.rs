//! A keyed sink sends to the partition of the key, and a topology may read what it has sent.
#![allow(missing_docs, clippy::unwrap_used)]

use bps_streams::partitioner::partition_of;
use bps_streams::topology::as_it_is;
use bps_streams::{
    Context, Message, Node, ProcessResult, Processor, Record, STAMP, Sink, SinkId, Source, Stamp,
    TestDriver, Topology,
};

const PARTITIONS: u32 = 4;

/// Sends what it gets on to a key with one letter less.
struct Shorten(SinkId);

impl Processor for Shorten {
    type Input<'a> = Record<'a>;

    fn process(&mut self, record: Record<'_>, context: &mut Context<'_>) -> ProcessResult {
        let (key, home) = (record.key.unwrap_or_default(), context.partition().to_string());
        if let Some((_, shorter)) = key.split_last().filter(|(_, shorter)| !shorter.is_empty()) {
            context.send(self.0, Message::new(shorter, home.as_bytes()))?;
        }
        Ok(())
    }
}

#[test]
fn a_message_goes_to_the_partition_of_its_key_and_says_which_task_sent_it() {
    let node = Node::new("shorten", |wiring| Shorten(wiring.sink("on")));
    let node = node.reads(Source::new("words", "words", as_it_is));
    let topology = Topology::named("words")
        .sink(Sink::new("on", "shorter").keyed())
        .processor(node.reads(Source::new("shorter", "shorter", as_it_is)))
        .dead_letters("dead")
        .build()
        .unwrap();
    assert!(topology.to_string().contains("on -> shorter (from shorten, keyed)"), "{topology}");
    let mut driver = TestDriver::with_partitions(topology, PARTITIONS);
    driver.send("words", b"abcdefgh", b"", 5).unwrap();
    let sent = driver.read("shorter");
    let keys: Vec<_> = sent.iter().map(|record| record.key.clone().unwrap()).collect();
    assert_eq!(keys, (1..8).rev().map(|length| b"abcdefgh"[..length].to_vec()).collect::<Vec<_>>());
    let mut home = partition_of(b"abcdefgh", PARTITIONS);
    let mut homes = std::collections::BTreeSet::new();
    for record in sent {
        let stamp = Stamp::decode(record.header(STAMP).unwrap()).unwrap();
        assert_eq!((stamp.writer, record.text()), (Some(home), home.to_string().as_str()));
        assert_eq!(record.timestamp, 5, "the time goes with it");
        home = partition_of(&record.key.unwrap(), PARTITIONS);
        assert_eq!(record.partition, home);
        homes.insert(home);
    }
    assert!(homes.len() > 1, "all keys belong together");
    assert_eq!(driver.read("dead"), []);
}
