//! A purchase sent after its restock was acknowledged is decided with that restock seen: live, and
//! when both are still unread; also behind restocks that are stamped ahead. And what else goes
//! first of records that wait together.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeSet;

use bps_events::Topics;
use bps_streams::Outgoing;
use bps_streams::partitioner::partition_of;
use system_tests::backends::on_every_backend_unread;
use system_tests::{Backend, Installation, now_ms, on_both_brokers};

const ROUNDS: i64 = 1_000;
const T0: i64 = 1_700_000_000_000;
const SKEWED: i64 = 4_000;
/// Within what is allowed, and beyond the head start.
const AHEAD: i64 = 9_000;

/// When the restock of a round is stamped: sometimes much later than the one before, sometimes
/// earlier.
fn restocked_at(round: i64) -> i64 {
    T0 + round * 1_000 + (round * 7_919 % 23) * 500
}

/// The restock is acknowledged when this returns.
fn restock(installation: &mut Installation, round: i64) {
    let item = format!("item-{round}");
    installation.restock(&format!("r-{round}"), &item, "1", restocked_at(round));
}

/// A restock of something else in the same partition, stamped ahead.
fn restock_ahead(installation: &mut Installation, round: i64) {
    let home = installation.partition(&format!("item-{round}"));
    let names = (0..).map(|n| format!("ahead-{round}-{n}"));
    let item = { names }.find(|name| installation.partition(name) == home).unwrap();
    installation.restock(&format!("a-{round}"), &item, "1", restocked_at(round) + AHEAD);
}

/// The purchase is acknowledged when this returns.
fn purchase(installation: &mut Installation, round: i64, earlier: i64) {
    let (item, at) = (format!("item-{round}"), restocked_at(round) - earlier);
    installation.purchase(&format!("p-{round}"), &item, "1", at);
}

fn check(installation: &mut Installation) {
    let results = installation.results(ROUNDS as usize);
    assert_eq!(results.len(), ROUNDS as usize);
    let ids: BTreeSet<_> = results.iter().map(|r| r.key.as_str()).collect();
    assert_eq!(ids.len(), ROUNDS as usize);
    let bad: Vec<_> =
        results.iter().filter(|r| r.json()["status"] != "SUCCESS").map(|r| r.message()).collect();
    assert!(bad.is_empty(), "{} not seen: {bad:?}", bad.len());
}

/// What each round sends, one after the other.
type Round = fn(&mut Installation, i64);

fn same(installation: &mut Installation, round: i64) {
    restock(installation, round);
    purchase(installation, round, 0);
}

fn earlier(installation: &mut Installation, round: i64) {
    restock(installation, round);
    purchase(installation, round, SKEWED);
}

fn behind_one_ahead(installation: &mut Installation, round: i64) {
    restock_ahead(installation, round);
    earlier(installation, round);
}

fn live(name: &str, send: Round) {
    on_both_brokers(name, |broker| {
        let mut installation = Installation::new(broker, name, 4);
        installation.start();
        installation.wait_running();
        (0..ROUNDS).for_each(|round| send(&mut installation, round));
        check(&mut installation);
        installation.stop();
    });
}

fn unread(name: &str, send: Round) {
    on_both_brokers(name, |broker| {
        let mut installation = Installation::new(broker, name, 4);
        (0..ROUNDS).for_each(|round| send(&mut installation, round));
        installation.start();
        check(&mut installation);
        installation.stop();
    });
}

#[test]
fn live_at_the_same_millisecond() {
    live("live-same", same);
}

#[test]
fn live_with_purchases_stamped_earlier() {
    live("live-earlier", earlier);
}

#[test]
fn unread_at_the_same_millisecond() {
    unread("unread-same", same);
}

#[test]
fn unread_with_purchases_stamped_earlier() {
    unread("unread-earlier", earlier);
}

#[test]
fn live_behind_restocks_stamped_ahead() {
    live("live-ahead", behind_one_ahead);
}

#[test]
fn unread_behind_restocks_stamped_ahead() {
    unread("unread-ahead", behind_one_ahead);
}

const ITEM: &str = "the one";
const HOUR: i64 = 3_600_000;

/// A record that waits: whether it is a restock, of what, and when it is stamped, after now.
#[derive(Clone, Copy)]
struct Waiting {
    is_restock: bool,
    of: Of,
    at: i64,
}

#[derive(Clone, Copy)]
enum Of {
    /// One unit of the item.
    It,
    /// Something else in its partition.
    Another,
    /// Nothing that can be read.
    Nothing,
}

fn restocked(of: Of, at: i64) -> Waiting {
    Waiting { is_restock: true, of, at }
}

fn wanted(of: Of, at: i64) -> Waiting {
    Waiting { is_restock: false, of, at }
}

impl Waiting {
    fn topic<'a>(&self, topics: &'a Topics) -> &'a str {
        if self.is_restock { &topics.items_added } else { &topics.purchase_created }
    }

    fn value(&self, number: usize, another: &str) -> String {
        let item = match self.of {
            Of::It => ITEM,
            Of::Another => another,
            Of::Nothing => return "nothing".to_owned(),
        };
        let id = if self.is_restock { "restockId" } else { "purchaseId" };
        format!(r#"{{"{id}":"{number}","itemId":"{item}","quantity":1}}"#)
    }
}

/// What comes of the purchases of the item, in the order of their sending.
#[track_caller]
fn together(name: &str, waiting: &[Waiting], expected: &[&str]) {
    let now = now_ms();
    let write = |backend: &mut dyn Backend| {
        let (topics, partitions) = (backend.topics(), backend.partitions());
        let partition = partition_of(ITEM.as_bytes(), partitions);
        let names = (0..).map(|n| format!("another-{n}"));
        let is_near = |name: &String| partition_of(name.as_bytes(), partitions) == partition;
        let another = { names }.find(is_near).unwrap();
        let value = |(number, waiting): (usize, &Waiting)| waiting.value(number, &another);
        let values: Vec<_> = waiting.iter().enumerate().map(value).collect();
        let records = waiting.iter().zip(&values).map(|(waiting, value)| Outgoing {
            topic: waiting.topic(&topics),
            partition,
            timestamp: now + waiting.at,
            key: Some(ITEM.as_bytes()),
            value: Some(value.as_bytes()),
            headers: &[],
        });
        backend.append_batch(&records.collect::<Vec<_>>());
    };
    on_every_backend_unread(name, write, |backend| {
        let mut results = backend.results(expected.len());
        results.sort_by_key(|result| result.key.parse::<u32>().unwrap());
        let found: Vec<_> = results.iter().map(|result| result.json()).collect();
        let found: Vec<_> =
            found.iter().map(|r| r["reason"].as_str().unwrap_or("SUCCESS")).collect();
        assert_eq!(found, expected, "{name}");
    });
}

#[test]
fn of_records_that_wait_together_the_right_one_goes_first() {
    use Of::{Another, It, Nothing};
    let check = together;
    check("later", &[restocked(It, 6_000), wanted(It, 0)], &["UNKNOWN_ITEM"]);
    check("within-skew", &[restocked(It, 4_000), wanted(It, 0)], &["SUCCESS"]);
    let ahead = [restocked(Another, AHEAD), restocked(It, 0), wanted(It, 0)];
    check("behind-one-ahead", &ahead, &["SUCCESS"]);
    let dead = [restocked(Another, HOUR), restocked(It, 0), wanted(It, 0)];
    check("behind-a-dead-letter", &dead, &["SUCCESS"]);
    // An old purchase pulls none of those before it past the restock that they were sent after.
    let old = [restocked(It, 0), wanted(It, 1), wanted(It, -HOUR)];
    check("old-purchase", &old, &["SUCCESS", "INSUFFICIENT_STOCK"]);
    // Dead letters hold no purchase up until a restock of later has come.
    let unreadable = [wanted(Nothing, AHEAD), wanted(It, 0), restocked(It, 7_000)];
    check("unreadable-ahead", &unreadable, &["UNKNOWN_ITEM"]);
    let future = [wanted(Another, HOUR), wanted(It, 0), restocked(It, 7_000)];
    check("future", &future, &["UNKNOWN_ITEM"]);
}
