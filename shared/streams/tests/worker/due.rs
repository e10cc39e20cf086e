//! Rows that fall due where nothing comes, where a disk is lost, and where a store falls due by another
//! function than before.

use std::sync::Arc;
use std::time::Duration;

use bps_streams::broker::{
    CommitStatus, ConsumerOptions, Isolation, OffsetSpec, ProducerMode, TopicPartition,
};
use bps_streams::due::DueOf;
use bps_streams::replay::Replay;
use bps_streams::store::memory::MemoryStore;
use bps_streams::topology::as_it_is;
use bps_streams::{
    Context, Due, DueRow, Ledger, Message, Node, Outgoing, ProcessResult, Processor, Record, Sink,
    SinkId, Source, Store, StoreId, Topology,
};

use super::rig::{CHANGELOG, INPUT, LEDGER, ROWS, Rig};

const TICKS: &str = "ticks";

/// Puts rows, tells of each, and of each that falls due with an exclamation mark. The value is a time
/// from now on (ms), by the due clock, or after `+` by the running clock.
struct Alarm {
    rows: StoreId,
    told: SinkId,
}

impl Processor for Alarm {
    type Input<'a> = Record<'a>;

    fn process(&mut self, record: Record<'_>, context: &mut Context<'_>) -> ProcessResult {
        let (key, value) = (record.key.unwrap_or_default(), record.value.unwrap_or_default());
        let text = std::str::from_utf8(value).unwrap();
        let row = match text.strip_prefix('+') {
            Some(span) => match context.after(Duration::from_millis(span.parse().unwrap())) {
                Due::Running(running) => format!("+{running}"),
                Due::At(_) => unreachable!(),
            },
            None => (record.timestamp + text.parse::<i64>().unwrap()).to_string(),
        };
        context.put(self.rows, key, row.as_bytes())?;
        context.send(self.told, Message::new(key, row.as_bytes()))?;
        Ok(())
    }

    fn due(&mut self, fallen: DueRow<'_>, context: &mut Context<'_>) -> ProcessResult {
        context.delete(self.rows, fallen.key)?;
        let key = [fallen.key, b"!"].concat();
        Ok(context.send(self.told, Message::new(&key, b""))?)
    }
}

fn due(value: &[u8]) -> Option<Due> {
    let text = std::str::from_utf8(value).ok()?;
    match text.strip_prefix('+') {
        Some(running) => running.parse().ok().map(Due::Running),
        None => text.parse().ok().map(Due::At),
    }
}

/// A minute later than it was.
fn later(value: &[u8]) -> Option<Due> {
    due(value).map(|due| match due {
        Due::At(at) => Due::At(at + 60_000),
        running => running,
    })
}

fn topology(due: Option<(u32, DueOf)>) -> Topology {
    let alarm = Node::new("alarm", |wiring| {
        wiring.ledger("told");
        Alarm { rows: wiring.store(ROWS), told: wiring.sink("told") }
    });
    let store = Store::new(ROWS, CHANGELOG);
    let topology = Topology::named("register")
        .ledger(Ledger::new("told", LEDGER, |_, _| None))
        .sink(Sink::new("told", LEDGER))
        .processor(alarm.reads(Source::new(INPUT, INPUT, as_it_is)));
    match due {
        Some((version, of)) => topology.store(store.due(version, of)).ticks(TICKS),
        None => topology.store(store),
    }
    .build()
    .unwrap()
}

fn rig() -> Rig {
    let mut rig = Rig::new(topology(Some((1, due))));
    rig.boot();
    rig
}

/// Lets time go on, in steps of 10 ms.
fn pass(rig: &mut Rig, ms: u64) {
    for _ in 0..ms / 10 {
        rig.step(10).unwrap();
    }
}

fn ticks(rig: &Rig) -> u64 {
    let end = OffsetSpec::End(Isolation::ReadCommitted);
    rig.outside.offsets(&[TopicPartition::new(TICKS, 0)], end).unwrap()[0]
}

#[test]
fn a_row_falls_due_where_nothing_comes_and_not_early() {
    let mut rig = rig();
    rig.send(INPUT, "a", Some("5000"));
    rig.settle();
    pass(&mut rig, 4_900);
    assert_eq!((rig.keys(LEDGER), ticks(&rig)), (vec!["a".to_owned()], 0), "nothing waits for one");
    pass(&mut rig, 400);
    assert_eq!(rig.keys(LEDGER), ["a", "a!"]);
    assert_eq!(rig.row("a"), None);
    let ticks_then = ticks(&rig);
    // A tick and the marker behind it.
    assert_eq!(ticks_then, 2);
    pass(&mut rig, 5_000);
    assert_eq!(ticks(&rig), ticks_then, "nothing waits any more");
}

#[test]
fn a_poll_that_waits_makes_no_tick_late() {
    let mut rig = rig();
    let due = rig.now.wall_ms + 5_005;
    rig.send(INPUT, "a", Some("5005"));
    rig.settle();
    while ticks(&rig) == 0 {
        let late = rig.now.wall_ms - due;
        assert!(late <= 10, "{late} ms late");
        rig.step_and_wait(Duration::from_millis(50)).unwrap();
    }
}

#[test]
fn the_running_clock_is_never_early_and_stands_still_while_nobody_runs() {
    let mut rig = rig();
    rig.send(INPUT, "a", Some("+4000"));
    rig.settle();
    pass(&mut rig, 2_000);
    rig.kill(0);
    rig.pass(3_600_000);
    rig.boot();
    rig.settle();
    pass(&mut rig, 1_900);
    assert_eq!(rig.keys(LEDGER), ["a"], "it has not run for so long");
    pass(&mut rig, 4_000);
    assert_eq!(rig.keys(LEDGER), ["a", "a!"]);
}

#[test]
fn without_ticks_records_alone_let_rows_fall_due() {
    let mut rig = Rig::new(topology(Some((1, due))));
    rig.configure = |config| config.ticks = false;
    rig.boot();
    rig.send(INPUT, "a", Some("500"));
    rig.settle();
    pass(&mut rig, 5_000);
    assert_eq!((rig.keys(LEDGER), ticks(&rig)), (vec!["a".to_owned()], 0));
    rig.send(INPUT, "b", Some("500"));
    rig.settle();
    assert_eq!(rig.keys(LEDGER), ["a", "a!", "b"]);
}

#[test]
fn who_takes_over_without_a_store_lets_rows_fall_due() {
    let mut rig = rig();
    rig.send(INPUT, "a", Some("5000"));
    rig.send(INPUT, "b", Some("9000"));
    rig.settle();
    rig.move_on();
    rig.settle();
    pass(&mut rig, 5_500);
    assert_eq!(rig.keys(LEDGER), ["a", "b", "a!"]);
    rig.move_on();
    rig.settle();
    pass(&mut rig, 5_500);
    assert_eq!(rig.keys(LEDGER), ["a", "b", "a!", "b!"]);
}

#[test]
fn rows_of_a_store_that_begins_to_fall_due_do() {
    let mut rig = Rig::new(topology(None));
    rig.boot();
    rig.send(INPUT, "a", Some("1000"));
    rig.settle();
    rig.kill(0);
    rig.change_to(topology(Some((1, due))));
    rig.boot();
    rig.settle();
    pass(&mut rig, 2_000);
    assert_eq!(rig.keys(LEDGER), ["a", "a!"]);
    assert_eq!(rig.quarantined(), Vec::<String>::new());
}

#[test]
fn another_function_of_when_makes_the_index_anew() {
    let mut rig = rig();
    rig.send(INPUT, "a", Some("1000"));
    rig.settle();
    rig.kill(0);
    rig.change_to(topology(Some((2, later))));
    rig.boot();
    rig.settle();
    pass(&mut rig, 50_000);
    assert_eq!(rig.keys(LEDGER), ["a"]);
    pass(&mut rig, 12_000);
    assert_eq!(rig.keys(LEDGER), ["a", "a!"]);
}

/// Writes an input in a transaction, behind whose record lies a marker.
fn send_in_transaction(rig: &Rig, key: &str, value: &str) {
    let mode = ProducerMode::Transactional { id: "outside".to_owned() };
    let mut producer = rig.outside.producer(mode).unwrap();
    while !producer.poll_ready().unwrap() {}
    let (topic, timestamp) = (INPUT, rig.now.wall_ms);
    let (key, value) = (Some(key.as_bytes()), Some(value.as_bytes()));
    producer.send(Outgoing { topic, partition: 0, timestamp, key, value, headers: &[] }).unwrap();
    let options = ConsumerOptions {
        group: "outside".to_owned(),
        instance: "outside".to_owned(),
        topics: vec![INPUT.to_owned()],
        partitions: 1,
        session_timeout_ms: 6_000,
    };
    let member = rig.outside.consumer(options).unwrap();
    producer.start_commit(&[], &member.membership(), &[]).unwrap();
    while matches!(producer.poll_commit(), CommitStatus::Pending) {}
}

#[test]
fn a_replay_gives_the_same_where_markers_lie_between_records() {
    let mut rig = Rig::new(topology(Some((1, due))));
    rig.configure = |config| config.ticks = false;
    rig.boot();
    for key in ["a", "b", "c"] {
        send_in_transaction(&rig, key, "100");
        rig.settle();
        pass(&mut rig, 500);
    }
    assert_eq!(rig.keys(LEDGER), ["a", "a!", "b", "b!", "c"]);
    let store = Arc::new(MemoryStore::default());
    let replay = Replay::new(&*rig.outside, topology(Some((1, due))), store).unwrap();
    let report = replay.run(&|_, _| true).unwrap();
    assert_eq!((report.outputs, report.differing), (5, 0), "{:?}", report.differences);
}

#[test]
fn an_index_that_was_not_made_to_its_end_is_not_believed() {
    for batches_lost in 0..8 {
        let mut rig = rig();
        rig.send(INPUT, "a", Some("1000"));
        rig.settle();
        // Its store comes to the ends of its topics.
        rig.kill(0);
        rig.boot();
        rig.settle();
        rig.kill(0);
        rig.change_to(topology(Some((2, later))));
        rig.boot();
        rig.settle();
        // Back to the version before.
        rig.kill(batches_lost);
        rig.change_to(topology(Some((1, due))));
        rig.boot();
        rig.settle();
        pass(&mut rig, 8_000);
        assert_eq!(rig.keys(LEDGER), ["a", "a!"], "{batches_lost} batches lost");
    }
}

#[test]
fn a_clock_that_is_ahead_ends_nothing_early_and_stops_nobody() {
    let mut rig = rig();
    rig.send(INPUT, "a", Some("15000"));
    rig.settle();
    rig.ahead_ms = 12_000;
    pass(&mut rig, 8_000);
    assert_eq!((rig.keys(LEDGER), ticks(&rig)), (vec!["a".to_owned()], 0), "they are refused");
    // Others are decided.
    rig.send(INPUT, "b", Some("1"));
    rig.settle();
    assert_eq!(rig.keys(LEDGER), ["a", "b"]);
    rig.ahead_ms = 0;
    pass(&mut rig, 20_000);
    assert_eq!(rig.keys(LEDGER), ["a", "b", "b!", "a!"]);
}

#[test]
fn how_far_ticks_are_ahead_of_records_is_told() {
    let mut rig = rig();
    rig.ahead_ms = 5_000;
    rig.send(INPUT, "a", Some("5000"));
    let ahead = |rig: &Rig| rig.worker().status().ticks_ahead_ms[&0];
    pass(&mut rig, 500);
    assert_eq!(rig.keys(LEDGER), ["a", "a!"]);
    assert_eq!(ahead(&rig), 0, "a quiet partition shows no fast clock");
    rig.send(INPUT, "b", Some("90000"));
    rig.settle();
    assert!((4_000..=5_000).contains(&ahead(&rig)), "{}", ahead(&rig));
}
