//! A purchase sent after its restock was acknowledged is decided with that restock seen: live,
//! and when both are still unread.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeSet;

use system_tests::{Installation, Rig, on_both_brokers};

const ROUNDS: i64 = 1_000;
const T0: i64 = 1_700_000_000_000;
const SKEWED: i64 = 4_000;

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

fn live(name: &str, earlier: i64) {
    on_both_brokers(name, |broker| {
        let mut installation = Installation::new(broker, name, 4);
        installation.start();
        installation.wait_running();
        for round in 0..ROUNDS {
            restock(&mut installation, round);
            purchase(&mut installation, round, earlier);
        }
        check(&mut installation);
        installation.stop();
    });
}

fn unread(name: &str, earlier: i64) {
    on_both_brokers(name, |broker| {
        let mut installation = Installation::new(broker, name, 4);
        for round in 0..ROUNDS {
            restock(&mut installation, round);
            purchase(&mut installation, round, earlier);
        }
        installation.start();
        check(&mut installation);
        installation.stop();
    });
}

#[test]
fn live_at_the_same_millisecond() {
    live("live-same", 0);
}

#[test]
fn live_with_purchases_stamped_earlier() {
    live("live-earlier", SKEWED);
}

#[test]
fn unread_at_the_same_millisecond() {
    unread("unread-same", 0);
}

#[test]
fn unread_with_purchases_stamped_earlier() {
    unread("unread-earlier", SKEWED);
}
