//! A cluster that holds only three topics, as the Kotlin program that this one follows makes
//! them, with its results in the last.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;

use bps_streams::broker::CleanupPolicy;
use system_tests::{Backend, Installation, Written, now_ms, on_both_brokers};

/// Ten minutes.
const SHORT: CleanupPolicy = CleanupPolicy::Delete { retention_ms: Some(600_000) };
/// What the Kotlin program has decided: one of its purchases has the id of one of ours.
const FOREIGN: [(&str, &str); 3] = [
    ("1", r#"{"purchaseId":"1","itemId":"1","quantity":7,"resultMessage":"1 - 1 SUCCESS"}"#),
    ("99", r#"{"purchaseId":"99","itemId":"1","status":"FAILED"}"#),
    ("x", "no JSON at all"),
];

fn three_topics(installation: &Installation) -> [String; 3] {
    let topics = installation.settings.topics.clone();
    let three = [topics.items_added, topics.purchase_created, topics.purchase_finished];
    for topic in &three {
        installation.create(topic, SHORT);
    }
    for (key, value) in FOREIGN {
        installation.append(&[(&three[2], 0, key, value.as_bytes(), now_ms())]);
    }
    three
}

fn check_topics(installation: &Installation, three: &[String; 3]) {
    let t = &installation.settings.topics;
    let names = [
        &t.items_added,
        &t.purchase_created,
        &t.purchase_finished,
        &t.stock,
        &t.restock_finished,
        &t.rekeyed,
        &t.dead_letters,
    ];
    let found = installation.broker.describe_topics(&names.map(String::as_str)).unwrap();
    for (name, found) in names.into_iter().zip(found) {
        let found = found.unwrap();
        assert_eq!(found.partitions, 1, "{name}");
        let kept = CleanupPolicy::Delete { retention_ms: None };
        let expected = match name {
            name if three.contains(name) => SHORT,
            name if *name == t.stock => CleanupPolicy::Compact,
            _ => kept,
        };
        assert_eq!(found.cleanup, expected, "{name}");
    }
}

/// The foreign rows are as they were, and behind them are results, by purchase.
fn ours(results: &[Written]) -> BTreeMap<String, String> {
    let (foreign, ours) = results.split_at(FOREIGN.len());
    for (row, (key, value)) in foreign.iter().zip(FOREIGN) {
        assert_eq!((row.key.as_str(), row.value.as_str()), (key, value));
    }
    ours.iter().map(|r| (r.key.clone(), r.message())).collect()
}

#[test]
fn three_topics_of_another_program_are_enough() {
    on_both_brokers("three", |broker| {
        let mut installation = Installation::bare(broker, "three", 1);
        let three = three_topics(&installation);
        installation.config.partitions = 8;
        installation.start();
        installation.wait_running();
        check_topics(&installation, &three);

        installation.restock("r", "1", "2", now_ms());
        installation.purchase("1", "1", "1", now_ms());
        installation.purchase("99", "1", "2", now_ms());
        installation.purchase("2", "2", "1", now_ms());
        let before = installation.results(FOREIGN.len() + 3);
        let expected = BTreeMap::from([
            ("1", "1 - 1 SUCCESS quantity: 2 alreadyBooked: 0 purchaseQuantity: 1 remaining: 1"),
            ("2", "2 - 2 FAILED quantity: 0 alreadyBooked: 0 purchaseQuantity: 1 remaining: 0"),
            ("99", "99 - 1 FAILED quantity: 2 alreadyBooked: 1 purchaseQuantity: 2 remaining: 1"),
        ]);
        let found = ours(&before);
        let found = found.iter().map(|(id, text)| (id.as_str(), text.as_str()));
        assert_eq!(found.collect::<BTreeMap<_, _>>(), expected);

        // A store that is rebuilt reads past the foreign rows, too.
        installation.stop();
        std::fs::remove_dir_all(installation.config.state_folder.join("store")).unwrap();
        installation.start();
        // Three results, one answer, and the rows.
        let rows = installation.read(&installation.settings.topics.stock).len() as u64;
        assert_eq!(installation.wait_running(), 3 + 1 + rows);
        installation.purchase("1", "1", "1", now_ms());
        installation.purchase("3", "1", "1", now_ms());
        let after = installation.results(FOREIGN.len() + 4);
        assert_eq!(after.len(), FOREIGN.len() + 4);
        let last = "3 - 1 SUCCESS quantity: 2 alreadyBooked: 1 purchaseQuantity: 1 remaining: 0";
        assert_eq!(ours(&after)["3"], last);
        installation.stop();
    });
}
