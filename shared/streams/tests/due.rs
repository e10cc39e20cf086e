//! Rows that fall due: in their order, before the record that has moved the clock.
#![allow(missing_docs, clippy::unwrap_used)]

use std::time::Duration;

use bps_streams::topology::as_it_is;
use bps_streams::{
    Clocks, Context, Due, DueRow, Ledger, Message, Node, ProcessResult, Processor, Record, STAMP,
    Sink, SinkId, Source, Stamp, Store, StoreId, TestDriver, Topology,
};

/// A row: when it falls due, and what becomes of it then.
fn due(value: &[u8]) -> Option<Due> {
    std::str::from_utf8(value).ok()?.split_once(' ')?.0.parse().ok().map(Due::At)
}

struct Alarm {
    first: StoreId,
    second: StoreId,
    told: SinkId,
}

impl Processor for Alarm {
    type Input<'a> = Record<'a>;

    fn process(&mut self, record: Record<'_>, context: &mut Context<'_>) -> ProcessResult {
        let (key, value) = (record.key.unwrap_or_default(), record.value.unwrap_or_default());
        let store = if key.starts_with(b"2") { self.second } else { self.first };
        context.put(store, key, value)?;
        context.send(self.told, Message::new(key, value))?;
        Ok(())
    }

    fn due(&mut self, fallen: DueRow<'_>, context: &mut Context<'_>) -> ProcessResult {
        let DueRow { store, key, row, due } = fallen;
        let (Due::At(at) | Due::Running(at)) = due;
        let what = std::str::from_utf8(row.value).unwrap().split_once(' ').unwrap().1;
        let later = |by: u64| format!("{} end", at + by);
        match what {
            "delete" => return Ok(context.delete(store, key)?),
            "keep" => _ = context.put(store, key, b"no due")?,
            "again" => _ = context.put(store, key, later(5).as_bytes())?,
            "stay" => _ = context.put(store, key, row.value)?,
            "untold" => {
                context.put(store, key, later(1).as_bytes())?;
                return Ok(());
            }
            _ => context.delete(store, key)?,
        }
        let number = if store == self.first { 1 } else { 2 };
        let text = format!("{number} fell due at {at}: {what}");
        Ok(context.send(self.told, Message::new(key, text.as_bytes()))?)
    }
}

fn topology() -> Topology {
    let alarm = Node::new("alarm", |wiring| {
        wiring.ledger("told");
        Alarm {
            first: wiring.store("first"),
            second: wiring.store("second"),
            told: wiring.sink("told"),
        }
    });
    let source = Source::new("alarms", "alarms", as_it_is).head_start(Duration::from_millis(10));
    Topology::named("alarms")
        .store(Store::new("first", "first-changelog").due(1, due))
        .store(Store::new("second", "second-changelog").due(1, due))
        .ledger(Ledger::new("told", "told", |_, _| None))
        .sink(Sink::new("told", "told"))
        .ticks("ticks")
        .processor(alarm.reads(source).reads(Source::new("more", "more", as_it_is)))
        .dead_letters("dead")
        .build()
        .unwrap()
}

/// One partition, so that all is in one order.
fn driver() -> TestDriver {
    TestDriver::with_partitions(topology(), 1)
}

fn told(driver: &mut TestDriver) -> Vec<String> {
    let text = |read: &bps_streams::Read| {
        format!("{} {}", String::from_utf8_lossy(read.key.as_deref().unwrap()), read.text())
    };
    driver.read("told").iter().map(text).collect()
}

#[test]
fn rows_fall_due_in_their_order_before_the_record_that_moves_the_clock() {
    let mut driver = driver();
    for (key, value) in [("2a", "50 end"), ("b", "50 end"), ("c", "40 end"), ("a", "50 end")] {
        driver.send("more", key.as_bytes(), value.as_bytes(), 10).unwrap();
    }
    driver.send("more", b"z", b"90 end", 39).unwrap();
    told(&mut driver);
    driver.send("more", b"z", b"91 end", 50).unwrap();
    let expected = [
        "c 1 fell due at 40: end",
        "a 1 fell due at 50: end",
        "b 1 fell due at 50: end",
        "2a 2 fell due at 50: end",
        "z 91 end",
    ];
    assert_eq!(told(&mut driver), expected);
    assert_eq!(driver.row("first", b"b").unwrap(), None);
    // That of 90 was set to another time.
    driver.send("more", b"y", b"99 end", 90).unwrap();
    assert_eq!(told(&mut driver), ["y 99 end"]);
    driver.send("more", b"y", b"100 end", 95).unwrap();
    assert_eq!(told(&mut driver), ["z 1 fell due at 91: end", "y 100 end"]);
}

#[test]
fn what_falls_due_is_stamped_with_the_clock_and_no_record() {
    let mut driver = driver();
    driver.send("more", b"a", b"50 end", 10).unwrap();
    driver.send("more", b"b", b"99 end", 70).unwrap();
    let records = driver.read("told");
    let stamps: Vec<_> =
        records.iter().map(|read| Stamp::decode(read.header(STAMP).unwrap()).unwrap()).collect();
    let of = |stamp: &Stamp| (stamp.source, stamp.positions.clone(), stamp.clocks.due_ms);
    assert_eq!(of(&stamps[0]), (Some((1, 0)), vec![0, 1, 0], 10));
    assert_eq!(of(&stamps[1]), (None, vec![0, 1, 0], 70), "the record behind it is not in it");
    assert_eq!(of(&stamps[2]), (Some((1, 1)), vec![0, 2, 0], 70));
    let times: Vec<i64> = records.iter().map(|read| read.timestamp).collect();
    assert_eq!(times, [10, 50, 70], "its time is its due");
}

#[test]
fn a_head_start_does_not_move_the_clock() {
    let mut driver = driver();
    driver.send("more", b"a", b"50 end", 10).unwrap();
    driver.send("alarms", b"b", b"99 end", 59).unwrap();
    assert_eq!(told(&mut driver), ["a 50 end", "b 99 end"]);
    driver.send("alarms", b"b", b"98 end", 60).unwrap();
    assert_eq!(told(&mut driver), ["a 1 fell due at 50: end", "b 98 end"]);
}

#[test]
fn a_row_may_stay_with_a_later_due_or_none() {
    let mut driver = driver();
    for (key, value) in [("a", "20 again"), ("b", "21 keep"), ("c", "22 delete")] {
        driver.send("more", key.as_bytes(), value.as_bytes(), 10).unwrap();
    }
    told(&mut driver);
    driver.send("more", b"z", b"99 end", 25).unwrap();
    let expected = [
        "a 1 fell due at 20: again",
        "b 1 fell due at 21: keep",
        // It had come by then.
        "a 1 fell due at 25: end",
        "z 99 end",
    ];
    assert_eq!(told(&mut driver), expected);
    let row = |key: &str| driver.row("first", key.as_bytes()).unwrap().map(|(_, row)| row);
    assert_eq!((row("a"), row("b"), row("c")), (None, Some(b"no due".to_vec()), None));
}

#[test]
fn one_that_is_due_when_it_is_set_falls_due_at_once() {
    let mut driver = driver();
    driver.send("more", b"a", b"5 end", 10).unwrap();
    assert_eq!(told(&mut driver), ["a 5 end", "a 1 fell due at 5: end"]);
}

#[test]
fn a_dead_letter_does_not_move_the_clock() {
    let mut driver = driver();
    driver.send("more", b"a", b"50 end", 10).unwrap();
    driver.append("more", 0, None, Some(b"no key"), 99).unwrap();
    driver.run().unwrap();
    assert_eq!(driver.read("dead").len(), 1);
    assert_eq!(told(&mut driver), ["a 50 end"]);
}

#[test]
fn the_clock_goes_on_by_ticks_where_nothing_comes() {
    let mut driver = driver();
    driver.send("more", b"a", b"50 end", 10).unwrap();
    driver.send("more", b"b", b"99 delete", 10).unwrap();
    driver.advance(49).unwrap();
    assert_eq!(told(&mut driver), ["a 50 end", "b 99 delete"]);
    driver.advance(120).unwrap();
    let fired = driver.read("told");
    let stamp = Stamp::decode(fired[0].header(STAMP).unwrap()).unwrap();
    assert_eq!((fired.len(), fired[0].text()), (1, "1 fell due at 50: end"));
    assert_eq!((stamp.source, stamp.clocks.due_ms, fired[0].timestamp), (None, 120, 50));
    assert_eq!(driver.row("first", b"b").unwrap(), None);
    // Whatever is stamped how from then on.
    driver.send("more", b"c", b"110 end", 30).unwrap();
    assert_eq!(told(&mut driver), ["c 110 end", "c 1 fell due at 110: end"]);
}

#[test]
fn what_was_there_before_a_tick_is_decided_before_it() {
    let mut driver = driver();
    driver.send("more", b"a", b"50 end", 10).unwrap();
    driver.append("more", 0, Some(b"a"), Some(b"90 end"), 20).unwrap();
    driver.advance(60).unwrap();
    assert_eq!(told(&mut driver), ["a 50 end", "a 90 end"]);
}

/// What stops the task where a row with this value falls due.
fn refusal(value: &str) -> String {
    let mut driver = driver();
    driver.send("more", b"a", value.as_bytes(), 10).unwrap();
    driver.send("more", b"z", b"99 end", 60).unwrap_err().to_string()
}

#[test]
fn a_processor_that_breaks_a_rule_stops_the_task() {
    let of = "first-changelog-0: row \"a\" of store first, which has fallen due: the processor";
    assert_eq!(refusal("50 stay"), format!("{of} left it with a due that is no later"));
    let untold = "changed something and told it in no topic that backs a ledger";
    assert_eq!(refusal("50 untold"), format!("{of} {untold}"));
}

struct Silent(StoreId);

impl Processor for Silent {
    type Input<'a> = Record<'a>;

    fn process(&mut self, record: Record<'_>, context: &mut Context<'_>) -> ProcessResult {
        context.put(self.0, record.key.unwrap_or_default(), b"1 x")?;
        Ok(())
    }
}

#[test]
fn a_processor_that_knows_no_due_rows_is_told_so() {
    let node = Node::new("silent", |wiring| Silent(wiring.store("rows")));
    let topology = Topology::named("silent")
        .store(Store::new("rows", "changelog").due(1, due))
        .ticks("ticks")
        .processor(node.reads(Source::new("in", "in", as_it_is)))
        .build()
        .unwrap();
    let mut driver = TestDriver::with_partitions(topology, 1);
    let cause = driver.send("in", b"a", b"", 5).unwrap_err().to_string();
    let expected = "changelog-0: row \"a\" of store rows, which has fallen due: the processor does not \
                    say what becomes of a row that falls due";
    assert_eq!(cause, expected);
    assert_eq!(Clocks::default().due_ms, 0);
}
