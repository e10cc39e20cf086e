//! The same values as bodies of requests.

use std::collections::BTreeMap;

use system_tests::installation::PATIENCE;
use system_tests::processes::{Process, Random, Work, free_address, tell};

use crate::SEED;
use crate::kinds::{Dead, poison};

/// Each is answered, 400 with the reason or 202, and the
/// service lives.
#[test]
fn the_services_answer_every_bad_body() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(bodies());
}

async fn bodies() {
    let work = Work::new("bodies");
    let addresses = [free_address(), free_address()].map(|a| a.to_string());
    let mut up = Process::start_up(&work, "up", &work.path("data"), &addresses, &[]);
    up.wait_line("bps up: ready");
    let client = reqwest::Client::new();
    let urls =
        [format!("http://{}/items", addresses[0]), format!("http://{}/purchases", addresses[1])];
    let mut random = Random::new(SEED + 1);
    let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
    for n in 0..2_000 {
        let purchase = n % 2 == 1;
        let (value, fate, _) = poison(&mut random, n, purchase);
        let body = value.unwrap_or_default();
        let request = client.post(&urls[usize::from(purchase)]);
        let request =
            request.header("content-type", "application/json").header("prefer", "respond-async");
        let request = request.body(body.clone());
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
        let text = response.text().await.unwrap();
        let shown = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
        *statuses.entry(status).or_default() += 1;
        let Dead(code) = fate else {
            assert_eq!(status, 202, "{shown}: {text}");
            continue;
        };
        let refused = if code == "TOO_LONG" { 413 } else { 400 };
        let expected = (refused, "application/problem+json");
        assert_eq!((status, kind.as_str()), expected, "{shown}: {text}");
        let problem: serde_json::Value = serde_json::from_str(&text).unwrap();
        let names_a_field = matches!(code, "FIELD_TWICE" | "UNREADABLE_ID");
        assert_eq!(problem["field"].is_string(), names_a_field, "{shown}: {text}");
        assert!(!problem["detail"].as_str().unwrap().is_empty());
    }
    // All of them as lines of one request: one answer for each.
    let mut random = Random::new(SEED + 2);
    let mut lines = Vec::new();
    let mut sent = 0;
    for n in 10_000..14_000 {
        let (value, ..) = poison(&mut random, n, true);
        let value = value.unwrap_or_default();
        if !value.contains(&b'\n') {
            lines.extend_from_slice(&value);
            lines.push(b'\n');
            sent += 1;
        }
    }
    let request = client.post(&urls[1]).header("content-type", "application/x-ndjson").body(lines);
    let text = request.send().await.unwrap().text().await.unwrap();
    let answers: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), sent);
    for (n, answer) in answers.iter().enumerate() {
        assert_eq!(answer["line"], n + 1);
        assert!([202, 400].contains(&answer["status"].as_u64().unwrap()), "{answer}");
    }
    // And a good one still goes through.
    let good = r#"{"purchaseId":"good","itemId":"plenty","quantity":1}"#;
    let request = client.post(&urls[1]).header("content-type", "application/json").body(good);
    let request = request.header("prefer", "respond-async");
    assert_eq!(request.send().await.unwrap().status().as_u16(), 202);
    assert!(up.age() < PATIENCE, "it took {:?}", up.age());
    up.stop();
    tell(format_args!("2000 bad bodies: {statuses:?}, and {sent} lines in one request"));
}
