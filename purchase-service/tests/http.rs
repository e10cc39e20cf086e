//! The purchase service over HTTP on the embedded log.

#[path = "../../shared/service/tests/running/mod.rs"]
mod running;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bps_streams::partitioner::partition_of;
use running::{Found, Running};
use serde_json::{Value, json};

const LINES: &str = "application/x-ndjson";

async fn start() -> Running {
    Running::start(purchase_service::start, "/purchases", "bps-purchase-created").await
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64
}

#[tokio::test]
async fn a_purchase_is_durable_when_it_is_answered() {
    let service = start().await;
    let body = r#"{"purchaseId":"21","itemId":"2","quantity":1,"purchasedBy":"b \"x\"",
        "timestamp":"2017-01-01T11:53:26Z","more":[1]}"#;
    let answer = service.json(body).await;
    assert_eq!(answer, (202, json!({"purchaseId": "21", "itemId": "2"})));
    let value = r#"{"purchaseId":"21","itemId":"2","quantity":1,"purchasedBy":"b \"x\""}"#;
    let expected = Found {
        partition: partition_of(b"2", 8),
        key: "2".to_owned(),
        value: value.to_owned(),
        timestamp: 1_483_271_606_000,
    };
    assert_eq!(service.records(), [expected]);
}

#[tokio::test]
async fn a_missing_id_is_made_and_a_missing_stamp_is_now() {
    let service = start().await;
    let before = now_ms();
    let (status, answer) = service.json(r#"{"itemId":"i","quantity":1}"#).await;
    let made = answer["purchaseId"].as_str().expect("an id");
    assert_eq!((status, made.len()), (202, 36));
    let record = service.records().pop().expect("a record");
    assert!((before..=now_ms()).contains(&record.timestamp));
    assert!(record.value.contains(made), "{}", record.value);
}

#[tokio::test]
async fn a_bad_quantity_is_passed_on_word_for_word() {
    let service = start().await;
    for raw in ["0", "-3", "\"two\"", "1.0", "1e2", "null", "[1, 2]", "18446744073709551616"] {
        let body = format!(r#"{{"purchaseId":"p","itemId":"i","quantity":{raw}}}"#);
        assert_eq!(service.json(&body).await.0, 202, "{raw}");
        let value =
            format!(r#"{{"purchaseId":"p","itemId":"i","quantity":{raw},"purchasedBy":""}}"#);
        assert_eq!(service.records().pop().expect("a record").value, value);
    }
    assert_eq!(service.json(r#"{"purchaseId":"p","itemId":"i"}"#).await.0, 202);
    let value = r#"{"purchaseId":"p","itemId":"i","purchasedBy":""}"#;
    assert_eq!(service.records().pop().expect("a record").value, value);
}

#[tokio::test]
async fn what_the_rule_would_dead_letter_is_refused_by_field() {
    let service = start().await;
    let item = Some("itemId");
    service.refused(b"", 400, None, "not a JSON object").await;
    service.refused(b"[]", 400, None, "not a JSON object").await;
    service.refused(b"{\"itemId\":\"1\"", 400, None, "EOF").await;
    service.refused(b"{\"itemId\":\"\xff\"}", 400, None, "not UTF-8").await;
    service.refused(b"{}", 400, item, "is missing").await;
    service.refused(b"{\"itemId\":1}", 400, item, "not a string").await;
    service.refused(b"{\"itemId\":\"\"}", 400, item, "is empty").await;
    service.refused(b"{\"itemId\":\"a\\nb\"}", 400, item, "control").await;
    service.refused(b"{\"itemId\":\"1\",\"itemId\":\"1\"}", 400, item, "twice").await;
    service.refused(b"{\"itemId\":\"1\",\"x\":1,\"x\":2}", 400, Some("x"), "twice").await;
    let long_id = format!(r#"{{"itemId":"{}"}}"#, "x".repeat(257));
    service.refused(long_id.as_bytes(), 400, item, "256").await;
    let id = b"{\"itemId\":\"1\",\"purchaseId\":7}";
    service.refused(id, 400, Some("purchaseId"), "not a string").await;
    let long = format!(r#"{{"itemId":"1","x":"{}"}}"#, "x".repeat(64 << 10));
    service.refused(long.as_bytes(), 413, None, "65536 bytes").await;
    // It fits, but not with the id that it would be given.
    let brim = format!(r#"{{"itemId":"1","quantity":"{}"}}"#, "x".repeat((64 << 10) - 32));
    service.refused(brim.as_bytes(), 400, None, "65536 are read").await;
    service.refused(&vec![b' '; (64 << 10) + 1], 413, None, "x-ndjson").await;
}

#[tokio::test]
async fn a_stamp_that_cannot_be_taken_is_refused() {
    let service = start().await;
    let stamp = Some("timestamp");
    let body = |stamp: &str| format!(r#"{{"itemId":"1","timestamp":{stamp}}}"#);
    for raw in ["\"soon\"", "1.5", "true", "\"2017-01-01\"", "-1"] {
        service.refused(body(raw).as_bytes(), 400, stamp, "").await;
    }
    let far = (now_ms() + 60_000).to_string();
    service.refused(body(&far).as_bytes(), 400, stamp, "later than now").await;
    let near = (now_ms() + 5_000).to_string();
    assert_eq!(service.json(&body(&near)).await.0, 202);
    assert_eq!(service.records()[0].timestamp.to_string(), near);
}

#[tokio::test]
async fn other_content_types_paths_and_methods_are_refused() {
    let service = start().await;
    for kind in ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonp"] {
        let (status, kind, text) = service.post(kind, "{}").await;
        assert_eq!((status, kind.as_str()), (415, "application/problem+json"), "{text}");
    }
    let (status, ..) = service.post("Application/JSON; charset=utf-8", r#"{"itemId":"1"}"#).await;
    assert_eq!(status, 202);
}

#[tokio::test]
async fn json_lines_are_answered_line_by_line() {
    let service = start().await;
    let long = format!(r#"{{"itemId":"1","x":"{}"}}"#, "x".repeat(200_000));
    let body = format!(
        "{}\n\nno\n{}\r\n{long}\n{}\n{}",
        r#"{"purchaseId":"a","itemId":"1","quantity":1}"#,
        r#"{"purchaseId":"b","itemId":"1","quantity":"two"}"#,
        r#"{"purchaseId":"c","itemId":7}"#,
        r#"{"purchaseId":"d","itemId":"1","quantity":1}"#,
    );
    let (status, kind, text) = service.post(LINES, body).await;
    assert_eq!((status, kind.as_str()), (200, LINES));
    let answers: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let shown: Vec<_> = answers.iter().map(|a| (a["line"].clone(), a["status"].clone())).collect();
    let expected = [(1, 202), (2, 400), (3, 400), (4, 202), (5, 400), (6, 400), (7, 202)];
    assert_eq!(shown, expected.map(|(line, status)| (json!(line), json!(status))));
    assert_eq!(answers[0], json!({"line":1,"status":202,"purchaseId":"a","itemId":"1"}));
    assert_eq!(answers[5]["field"], "itemId");
    assert_eq!(answers[4]["detail"], "it is 200021 bytes long, 65536 are read");
    let values: Vec<String> = service.records().into_iter().map(|r| r.value).collect();
    assert_eq!(values.len(), 3);
    assert!(values[1].contains("\"two\"") && values[2].contains("\"d\""), "{values:?}");
}

#[tokio::test]
async fn answers_come_while_the_request_is_still_sent() {
    let service = start().await;
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<String, std::io::Error>>(1);
    let body = tokio_stream::wrappers::ReceiverStream::new(receiver);
    sender.send(Ok("{\"itemId\":\"1\"}\n{\"item".to_owned())).await.expect("open");
    let mut response = service.stream(reqwest::Body::wrap_stream(body)).await;
    let first = response.chunk().await.expect("an answer").expect("not the end");
    assert!(first.starts_with(b"{\"line\":1,\"status\":202,"), "{first:?}");
    sender.send(Ok("Id\":\"2\"}\n".to_owned())).await.expect("open");
    let second = response.chunk().await.expect("an answer").expect("not the end");
    assert!(second.starts_with(b"{\"line\":2,\"status\":202,"), "{second:?}");
    // The end of the service is the end of the answers, not a wait for the caller.
    service.shutdown.request();
    assert_eq!(response.chunk().await.expect("an end"), None);
    drop(sender);
}

#[tokio::test]
async fn many_lines_keep_their_order() {
    let service = start().await;
    let lines: String = (0..20_000)
        .map(|n| format!("{{\"purchaseId\":\"{n}\",\"itemId\":\"{}\",\"quantity\":1}}\n", n % 7))
        .collect();
    let (_, _, text) = service.post(LINES, lines).await;
    for (n, line) in text.lines().enumerate() {
        let item = n % 7;
        let expected =
            format!(r#"{{"line":{},"status":202,"purchaseId":"{n}","itemId":"{item}"}}"#, n + 1);
        assert_eq!(line, expected);
    }
    let records = service.records();
    assert_eq!((text.lines().count(), records.len()), (20_000, 20_000));
    for item in 0..7 {
        let of_item = records.iter().filter(|record| record.key == item.to_string());
        let ids: Vec<u32> = of_item
            .map(|record| {
                let value: Value = serde_json::from_str(&record.value).expect("JSON");
                value["purchaseId"].as_str().expect("an id").parse().expect("a number")
            })
            .collect();
        assert!(ids.is_sorted(), "{item}");
    }
}

/// No processor runs here: nothing is ever decided.
#[tokio::test]
async fn a_wait_is_as_long_as_asked_for_and_bounded_in_number() {
    let service = start().await;
    let buy = |id: &'static str, wait: &'static str| {
        let request = service.client.post(&service.url).header("prefer", wait);
        let request = request.header("idempotency-key", id);
        request.json(&json!({"itemId": "a/b", "quantity": 1})).send()
    };
    let begun = Instant::now();
    let answer = buy("p 1", "wait=1").await.expect("an answer");
    assert!((1..5).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    assert_eq!(answer.status().as_u16(), 202);
    assert_eq!(answer.headers()["location"], "/purchases/p%201?itemId=a%2Fb");
    assert_eq!(answer.headers()["preference-applied"], "wait=1");
    assert_eq!(
        answer.json::<Value>().await.expect("JSON"),
        json!({"purchaseId": "p 1", "itemId": "a/b"})
    );
    // Two may wait.
    let (first, second) = (buy("p", "wait=2"), buy("q", "wait=2"));
    let third = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        buy("r", "wait=2").await.expect("an answer")
    };
    let (first, second, third) = tokio::join!(first, second, third);
    for waited in [first, second] {
        assert_eq!(waited.expect("an answer").status().as_u16(), 202);
    }
    assert_eq!(
        (third.status().as_u16(), &third.headers()["retry-after"]),
        (503, &"1".parse().expect("a header"))
    );
    assert!(third.text().await.expect("a text").contains("urn:bps:problem:busy"));
    // The third was not sent; and there is room again.
    assert_eq!(service.records().len(), 3);
    assert_eq!(buy("r", "wait=0").await.expect("an answer").status().as_u16(), 202);
}

/// The end of the service is the end of the wait.
#[tokio::test]
async fn who_waits_is_answered_when_the_service_ends() {
    let service = start().await;
    let request = service.client.post(&service.url).json(&json!({"itemId": "1", "quantity": 1}));
    let wait = tokio::spawn(request.header("prefer", "wait=60").send());
    while service.records().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let begun = Instant::now();
    service.shutdown.request();
    assert_eq!(wait.await.expect("no panic").expect("an answer").status().as_u16(), 202);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn two_names_of_one_request_are_refused() {
    let service = start().await;
    let request = service.client.post(&service.url).header("idempotency-key", "a");
    let request = request.json(&json!({"itemId": "1", "quantity": 1, "purchaseId": "b"}));
    let answer = request.send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 400);
    let problem: Value = answer.json().await.expect("JSON");
    assert_eq!(problem["field"], "Idempotency-Key");
    assert!(service.records().is_empty());
}

#[tokio::test]
async fn the_paths_are_described() {
    let service = start().await;
    let url = service.url.replace("/purchases", "/openapi.json");
    running::openapi::check(&url, env!("CARGO_MANIFEST_DIR")).await;
}
