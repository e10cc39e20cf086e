//! Logs that are right, and logs that are damaged in one place: each damage is found and named.
#![allow(missing_docs, clippy::expect_used)]

mod clean;
mod decisions;
mod log;
mod surroundings;
mod turns;

use std::ops::ControlFlow;
use std::time::Duration;

use bps_verifier::{Acknowledged, Finding, Report, Rule, Verifier};
use purchase_processor::Settings;

use crate::clean::{Run, everything, item};
use crate::log::{Log, Rec};

fn verify(log: &Log, at_rest: bool, records_per_pass: u64) -> Report {
    let verifier = Verifier::new(log, log.names.clone(), "bps-purchase-processor")
        .at_rest(at_rest)
        .transaction_wait(Duration::ZERO)
        .records_per_pass(records_per_pass);
    verifier.run(&|_| ControlFlow::Continue(())).expect("readable")
}

fn lines(report: &Report) -> String {
    report.findings.iter().map(Finding::to_string).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn is_clean(log: &Log) -> Report {
    let report = verify(log, true, u64::MAX);
    assert!(report.is_clean(), "{}", lines(&report));
    let sliced = verify(log, true, 3);
    assert_eq!((&sliced.counts, lines(&sliced)), (&report.counts, String::new()));
    report
}

/// Where a damage must be found; topics by the end of their names.
type Where = (Rule, &'static str, u32, u64);

/// Damages a copy of a log of everything; it must be found there.
#[track_caller]
fn check(damage: &str, inflict: impl Fn(&mut Log) -> Where) {
    let mut log = everything();
    let (rule, topic, partition, offset) = inflict(&mut log);
    let topic = format!("bps-{topic}");
    for records_per_pass in [u64::MAX, 3] {
        let report = verify(&log, true, records_per_pass);
        let is_it = |f: &Finding| {
            (f.rule, &f.topic, f.partition, f.offset)
                == (rule, &topic, Some(partition), Some(offset))
        };
        assert!(
            report.findings.iter().any(is_it),
            "{damage}: no {rule} {topic}-{partition}@{offset} in\n{}",
            lines(&report)
        );
        assert!(report.findings.len() <= 8, "{damage}: too many words\n{}", lines(&report));
    }
}

const LEDGER: &str = "purchase-finished";
const ANSWERS: &str = "restock-finished";
const PURCHASES: &str = "purchase-created";
const RESTOCKS: &str = "items-added";
const STOCK: &str = "stock";
const MOVED: &str = "rekeyed";
const LETTERS: &str = "dead-letters";

fn id(id: &str) -> String {
    format!("Id\":\"{id}\"")
}

#[test]
fn a_log_of_everything_is_clean() {
    let report = is_clean(&everything());
    let counts = report.counts;
    let tally = |of: &std::collections::BTreeMap<String, u64>| {
        of.iter().map(|(k, v)| format!("{k} {v}")).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(
        tally(&counts.results),
        "INSUFFICIENT_STOCK 2, INVALID_QUANTITY 3, SUCCESS 6, UNKNOWN_ITEM 1"
    );
    assert_eq!(tally(&counts.restocks), "INVALID_QUANTITY 1, SUCCESS 5");
    assert_eq!((counts.purchases, counts.resends, counts.moved), (12, 4, 2));
    assert_eq!((counts.dead_letters, counts.undecided, counts.foreign), (5, 0, 1));
    assert_eq!((counts.items, counts.units_sold), (3, 1 + 2 + 3 + 2 + 7 + 1));
}

#[test]
fn an_overflow_is_clean() {
    let mut run = Run::new(&Settings::default());
    let a = item(0, 0);
    for n in 0..2_048 {
        run.restock(0, &a, &format!(r#""restockId":"{n}","quantity":9007199254740992"#));
    }
    run.purchase(0, &a, "p", "9007199254740992");
    let report = is_clean(&run.log());
    assert_eq!((report.counts.restocks["OVERFLOW"], report.counts.restocks["SUCCESS"]), (1, 2_047));
}

#[test]
fn a_bounded_memory_is_clean() {
    let window = Some(Duration::from_millis(100));
    let settings = Settings { memory_window: window, ..Settings::default() };
    let mut run = Run::new(&settings);
    let a = item(0, 0);
    run.restock(0, &a, r#""restockId":"r","quantity":9"#);
    run.purchase(0, &a, "p", "1");
    run.purchase(0, &a, "p", "1");
    run.now += 1_000;
    run.purchase(0, &a, "p", "1");
    run.now -= 500;
    run.purchase(0, &a, "old", "1");
    run.restock(0, &a, r#""restockId":"old","quantity":9"#);
    let log = run.log();
    let verifier = Verifier::new(&log, log.names.clone(), "g").at_rest(true);
    let verifier = verifier.memory_window_ms(Some(100));
    let report = verifier.run(&|_| ControlFlow::Continue(())).expect("readable");
    assert!(report.is_clean(), "{}", lines(&report));
    assert_eq!((report.counts.results["TOO_OLD"], report.counts.resends), (1, 1));
    assert!(!verify(&log, true, u64::MAX).is_clean(), "without the window it is wrong");
}

/// A purchase that nobody has decided.
fn undecided(log: &mut Log) -> u64 {
    let value = format!(r#"{{"itemId":"{}","purchaseId":"new","quantity":1}}"#, item(0, 0));
    let value = Some(value.into_bytes());
    log.part("bps-purchase-created", 0).push(Rec { timestamp: 1, value, ..Rec::default() })
}

#[test]
fn what_is_not_decided_yet_is_no_finding_on_a_live_system() {
    let mut log = everything();
    undecided(&mut log);
    log.part("bps-purchase-finished", 1).open = 2;
    let report = verify(&log, false, u64::MAX);
    assert!(report.is_clean(), "{}", lines(&report));
    assert_eq!(report.counts.undecided, 1);
}

#[test]
fn a_row_that_is_compacted_while_it_is_read_is_found_behind_the_end() {
    let compact = |keep: bool| {
        let mut log = everything();
        let part = log.part("bps-stock", 0);
        let later = part.records.iter().rposition(|r| r.text().contains(&item(0, 1)));
        let mut row = part.records.remove(later.expect("a row"));
        part.records.retain(|r| !r.text().contains(&item(0, 1)));
        row.offset = part.end() + 3;
        let mut stamp = row.stamp();
        stamp.positions = part.records.last().expect("a row").stamp().positions;
        row.set_stamp(&stamp);
        part.later.extend(Some(row).filter(|_| keep));
        verify(&log, false, u64::MAX)
    };
    let report = compact(true);
    assert!(report.is_clean(), "{}", lines(&report));
    assert_eq!(compact(false).by_rule.into_iter().collect::<Vec<_>>(), [(Rule::C5, 1)]);
}

#[test]
fn what_was_acknowledged_is_there() {
    let mut log = everything();
    undecided(&mut log);
    let purchase = |item: Option<String>, id: &str| Acknowledged::Purchase { item, id: id.into() };
    let (a, c) = (item(0, 0), item(1, 0));
    let check = |events: Vec<Acknowledged>, at_rest: bool| {
        let verifier = Verifier::new(&log, log.names.clone(), "g");
        let report = verifier.at_rest(at_rest).acknowledged(events);
        let report = report.run(&|_| ControlFlow::Continue(())).expect("readable");
        let found = report.findings.into_iter().filter(|f| f.rule == Rule::C10);
        found.map(|f| (f.topic, f.partition, f.expected)).collect::<Vec<_>>()
    };
    let there = vec![
        purchase(Some(a.clone()), "p1"),
        purchase(None, "moved"),
        purchase(None, "q3"),
        Acknowledged::Restock { item: c.clone(), id: "bps-items-added-0-6".into() },
        Acknowledged::Restock { item: a.clone(), id: "bad".into() },
        purchase(Some(a.clone()), "new"),
    ];
    assert_eq!(check(there.clone(), false), []);
    let expected = |n| format!("acknowledged event number {n}, and its result");
    let missing = ("bps-purchase-created".to_owned(), Some(0), expected(6));
    assert_eq!(check(there, true), [missing]);
    let gone = vec![purchase(None, "gone"), Acknowledged::Restock { item: c, id: "gone".into() }];
    let topics = ["bps-purchase-created", "bps-items-added"];
    let missing =
        [(topics[0].to_owned(), None, expected(1)), (topics[1].to_owned(), Some(1), expected(2))];
    assert_eq!(check(gone, false), missing);
}

#[test]
fn a_caller_can_end_it_and_missing_topics_are_named() {
    let log = everything();
    let verifier = Verifier::new(&log, log.names.clone(), "g");
    assert!(verifier.run(&|_| ControlFlow::Break(())).is_err());
    let other = bps_events::Topics::new("bps", "other");
    let error = Verifier::new(&log, other, "g").run(&|_| ControlFlow::Continue(()));
    let error = error.expect_err("no topic").to_string();
    assert!(error.starts_with("topic other-"), "{error}");
}
