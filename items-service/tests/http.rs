//! The items service over HTTP on the embedded log. What both services share is tested with the
//! purchase service.

#[path = "../../shared/service/tests/running/mod.rs"]
mod running;

use bps_streams::partitioner::partition_of;
use running::{Found, Running};
use serde_json::json;

async fn start() -> Running {
    Running::start(items_service::start, "/items", "bps-items-added").await
}

#[tokio::test]
async fn a_restock_is_durable_when_it_is_answered() {
    let service = start().await;
    let body = r#"{"restockId":"r","itemId":"é","description":"a","quantity":5,"timestamp":7}"#;
    assert_eq!(service.json(body).await, (202, json!({"restockId": "r"})));
    let value = r#"{"restockId":"r","itemId":"é","description":"a","quantity":5}"#;
    let expected = Found {
        partition: partition_of("é".as_bytes(), 8),
        key: "é".to_owned(),
        value: value.to_owned(),
        timestamp: 7,
    };
    assert_eq!(service.records(), [expected]);
    let (status, answer) = service.json(r#"{"itemId":"1","quantity":"two"}"#).await;
    let made = answer["restockId"].as_str().expect("an id");
    assert_eq!((status, made.len()), (202, 36));
    assert!(service.records().iter().any(|r| r.value.ends_with(r#","quantity":"two"}"#)));
}

#[tokio::test]
async fn what_the_rule_would_dead_letter_is_refused_by_field() {
    let service = start().await;
    service.refused(b"{\"itemId\":7}", 400, Some("itemId"), "not a string").await;
    let id = b"{\"itemId\":\"1\",\"restockId\":7}";
    service.refused(id, 400, Some("restockId"), "not a string").await;
    let stamp = b"{\"itemId\":\"1\",\"timestamp\":99999999999999}";
    service.refused(stamp, 400, Some("timestamp"), "later than now").await;
    let lines = "{\"restockId\":\"a\",\"itemId\":\"1\",\"quantity\":1}\n{}\n";
    let (status, _, text) = service.post("application/x-ndjson", lines).await;
    let mut answers = text.lines();
    assert_eq!(status, 200);
    assert_eq!(answers.next(), Some(r#"{"line":1,"status":202,"restockId":"a"}"#));
    assert!(answers.next().is_some_and(|a| a.contains(r#""line":2"#) && a.contains("itemId")));
    assert_eq!(answers.next(), None);
}

#[tokio::test]
async fn the_paths_are_described() {
    let service = start().await;
    let url = service.url.replace("/items", "/openapi.json");
    running::openapi::check(&url, env!("CARGO_MANIFEST_DIR")).await;
}
