//! The vectors of the product's semantics, on the test driver, the embedded log and Kafka.
#![allow(missing_docs, clippy::unwrap_used)]

use serde_json::json;
use system_tests::{Backend, on_every_backend};

const T0: i64 = 1_700_000_000_000;

fn messages(backend: &mut dyn Backend, count: usize) -> Vec<String> {
    let mut results = backend.results(count);
    assert_eq!(results.len(), count);
    results.sort_by_key(|r| r.json()["decidedAt"].as_i64());
    results.iter().map(|r| r.message()).collect()
}

#[test]
fn the_demonstration() {
    on_every_backend("demo", |backend| {
        for n in ["1", "2", "3"] {
            backend.restock(n, n, n, T0);
        }
        let purchases = [("1", "1", "1"), ("21", "2", "1"), ("22", "2", "2"), ("3", "3", "1")];
        for (count, (id, item, quantity)) in (1..).zip(purchases) {
            backend.purchase(id, item, quantity, T0 + count);
            backend.results(count as usize);
        }
        assert_eq!(
            messages(backend, 4),
            [
                "1 - 1 SUCCESS quantity: 1 alreadyBooked: 0 purchaseQuantity: 1 remaining: 0",
                "21 - 2 SUCCESS quantity: 2 alreadyBooked: 0 purchaseQuantity: 1 remaining: 1",
                "22 - 2 FAILED quantity: 2 alreadyBooked: 1 purchaseQuantity: 2 remaining: 1",
                "3 - 3 SUCCESS quantity: 3 alreadyBooked: 0 purchaseQuantity: 1 remaining: 2",
            ]
        );
    });
}

#[test]
fn every_row_of_the_rule() {
    on_every_backend("rule", |backend| {
        // Two restocks add up; a resent one does not.
        backend.restock("a", "1", "5", T0);
        backend.restock("b", "1", "5", T0);
        backend.restock("b", "1", "5", T0);
        backend.restock("c", "1", "1", T0);
        backend.restock("max", "9", "9007199254740992", T0);
        let requests = [
            ("p1", "1", "12", "INSUFFICIENT_STOCK", 11, 0, 11),
            ("p2", "1", "9", "", 11, 0, 2),
            ("p3", "1", "3", "INSUFFICIENT_STOCK", 11, 9, 2),
            ("p4", "1", "0", "INVALID_QUANTITY", 11, 9, 2),
            ("p5", "1", "-3", "INVALID_QUANTITY", 11, 9, 2),
            ("p6", "1", "\"two\"", "INVALID_QUANTITY", 11, 9, 2),
            ("p7", "1", "1.0", "INVALID_QUANTITY", 11, 9, 2),
            ("p8", "1", "9007199254740993", "INVALID_QUANTITY", 11, 9, 2),
            ("p9", "nix", "1", "UNKNOWN_ITEM", 0, 0, 0),
            ("p10", "1", "2", "", 11, 9, 0),
            ("p11", "9", "9007199254740992", "", 9_007_199_254_740_992_u64, 0, 0),
        ];
        for (at, (id, item, quantity, ..)) in (T0 + 1..).zip(requests) {
            backend.purchase(id, item, quantity, at);
        }
        // Resent: no second result.
        backend.purchase("p2", "1", "9", T0 + 50);
        backend.purchase("p2", "1", "7", T0 + 51);
        backend.purchase("last", "1", "1", T0 + 52);
        let results = backend.results(requests.len() + 1);
        assert_eq!(results.len(), requests.len() + 1);
        for (id, item, quantity, reason, supplied, booked, remaining) in requests {
            let result = results.iter().find(|r| r.key == id).unwrap().json();
            let status = if reason.is_empty() { "SUCCESS" } else { "FAILED" };
            let reason = if reason.is_empty() { json!(null) } else { json!(reason) };
            let found = (&result["itemId"], &result["status"], &result["reason"]);
            assert_eq!(found, (&json!(item), &json!(status), &reason), "{id}");
            let numbers = json!([supplied, booked, remaining]);
            let found =
                json!([result["itemQuantity"], result["alreadyBooked"], result["remaining"]]);
            assert_eq!(found, numbers, "{id}");
            let integer = quantity.parse::<i64>().map_or(json!(null), |n| json!(n));
            assert_eq!(result["quantity"], integer, "{id}");
        }
        let answers = backend.topics().restock_finished;
        let answers = backend.wait_for(&answers, 4);
        assert_eq!(answers.len(), 4, "the resent restock is answered once");
    });
}

#[test]
fn restocks_are_answered_once_and_never_overflow() {
    on_every_backend("restocks", |backend| {
        backend.restock("zero", "1", "0", T0);
        backend.restock("text", "1", "\"5\"", T0);
        for n in 0..2_049 {
            backend.restock(&format!("r{n}"), "1", "9007199254740992", T0);
        }
        let topic = backend.topics().restock_finished;
        let answers = backend.wait_for(&topic, 2_051);
        assert_eq!(answers.len(), 2_051);
        let reason = |id: &str| {
            let answer = answers.iter().find(|a| a.key == id).unwrap().json();
            (answer["status"].clone(), answer["reason"].clone(), answer["supplied"].clone())
        };
        let invalid = json!("INVALID_QUANTITY");
        assert_eq!(reason("zero"), (json!("FAILED"), invalid.clone(), json!(0)));
        assert_eq!(reason("text"), (json!("FAILED"), invalid, json!(0)));
        let full = 2_047 * (1_u64 << 53);
        assert_eq!(reason("r2046"), (json!("SUCCESS"), json!(null), json!(full)));
        assert_eq!(reason("r2047"), (json!("FAILED"), json!("OVERFLOW"), json!(full)));
        assert_eq!(reason("r2048"), (json!("FAILED"), json!("OVERFLOW"), json!(full)));
    });
}

#[test]
fn foreign_keys_and_foreign_partitions_are_decided_at_home() {
    on_every_backend("foreign", |backend| {
        let topics = backend.topics();
        for item in ["1", "2", "3", "4", "5", "6"] {
            // Restocks under a foreign key, in whatever partition that gives.
            let restock = format!(r#"{{"itemId":"{item}","quantity":5}}"#);
            backend.append(&topics.items_added, &format!("foreign-{item}"), &restock, T0);
        }
        backend.wait_for(&topics.restock_finished, 6);
        for item in ["1", "2", "3", "4", "5", "6"] {
            for partition in 0..backend.partitions() {
                let id = format!("{item}-{partition}");
                let value = format!(r#"{{"purchaseId":"{id}","itemId":"{item}","quantity":1}}"#);
                let topic = topics.purchase_created.clone();
                backend.append_to(&topic, partition, &id, value.as_bytes(), T0 + 1);
            }
        }
        let results = backend.results(24);
        assert_eq!(results.len(), 24);
        for result in &results {
            let json = result.json();
            assert_eq!(json["status"], "SUCCESS", "{json}");
            let home = bps_streams::partitioner::partition_of(
                json["itemId"].as_str().unwrap().as_bytes(),
                backend.partitions(),
            );
            assert_eq!(result.partition, home);
        }
        let moved = backend.wait_for(&topics.rekeyed, 1);
        let header = |n: &str| moved[0].headers.iter().find(|(name, _)| name == n).is_some();
        assert!(["kind", "topic", "partition", "offset"].iter().all(|n| header(n)));
        // What is wrong even there is never sent on twice.
        let lost = r#"{"purchaseId":"x","itemId":"1","quantity":1}"#;
        let home = bps_streams::partitioner::partition_of(b"1", backend.partitions());
        let away = (home + 1) % backend.partitions();
        backend.append_to(&topics.rekeyed, away, "1", lost.as_bytes(), T0);
        let dead = backend.wait_for(&topics.dead_letters, 1);
        assert!(dead[0].headers.contains(&("code".to_owned(), "MISROUTED".to_owned())));
        assert_eq!(dead[0].value, lost);
    });
}
