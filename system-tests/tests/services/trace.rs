//! A caller's trace goes through: to the span that a collector gets, to the event, to the result.

use std::sync::{Arc, Mutex};

use bps_streams::TRACE;
use bps_streams::broker::embedded::EmbeddedBroker;
use bps_streams::broker::{Broker, Isolation, OffsetSpec, TopicPartition};
use bps_streams::record::Batch;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::run;
use crate::shop::Shop;

const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";

type Bodies = Arc<Mutex<Vec<Vec<u8>>>>;

/// Takes what is sent to it, as a collector does, and keeps the bodies.
async fn collect(listener: TcpListener, bodies: Bodies) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(take(stream, bodies.clone()));
    }
}

async fn take(mut stream: TcpStream, bodies: Bodies) {
    let mut bytes = Vec::new();
    while stream.read_buf(&mut bytes).await.unwrap_or(0) > 0 {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        assert!(head.starts_with("post /v1/traces"), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.unwrap().parse().unwrap();
        if bytes.len() < end + 4 + length {
            continue;
        }
        bodies.lock().unwrap().push(bytes[end + 4..end + 4 + length].to_vec());
        bytes.drain(..end + 4 + length);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    }
}

/// The `traceparent` of each record of a topic.
fn traces(broker: &dyn Broker, topic: &str) -> Vec<String> {
    let at: Vec<_> = (0..8).map(|partition| TopicPartition::new(topic, partition)).collect();
    let ends = broker.offsets(&at, OffsetSpec::End(Isolation::ReadCommitted)).unwrap();
    let from: Vec<_> = at.into_iter().map(|at| (at, 0)).collect();
    let mut reader = broker.reader(&from, Isolation::ReadCommitted).unwrap();
    let mut found = Vec::new();
    for (slot, end) in ends.into_iter().enumerate() {
        let mut batch = Batch::default();
        while reader.fetch(slot, 64 << 10, &mut batch).unwrap() < end {}
        let trace = |index| {
            let trace = batch.get(index, topic, slot as u32).headers.get(TRACE)?;
            Some(String::from_utf8(trace.to_vec()).unwrap())
        };
        found.extend((0..batch.len()).filter_map(trace));
    }
    found
}

#[test]
fn a_callers_trace_goes_through_to_the_result() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let bodies = Bodies::default();
        tokio::spawn(collect(listener, bodies.clone()));
        let mut shop = Shop::open_with("trace", |_| {
            ["--otlp-endpoint", &endpoint, "--log-format", "json"].map(str::to_owned).into()
        })
        .await;
        let parent = format!("00-{TRACE_ID}-b7ad6b7169203331-01");
        let headers = [("traceparent", parent.as_str())];
        let answer = shop.buy(&headers, json!({"itemId": "1", "quantity": 1})).await;
        assert_eq!(answer.status, 404);
        // The last spans are sent at the end.
        tokio::task::block_in_place(|| shop.stop());
        let id: Vec<u8> = (0..TRACE_ID.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&TRACE_ID[at..at + 2], 16).unwrap())
            .collect();
        let is_told = |text: &[u8]| {
            bodies.lock().unwrap().iter().any(|body| body.windows(text.len()).any(|w| w == text))
        };
        assert!(is_told(&id) && is_told(b"POST /purchases"), "no span of the request came");

        let broker = EmbeddedBroker::open(&shop.data()).unwrap();
        for topic in ["bps-purchase-created", "bps-purchase-finished"] {
            let found = traces(&broker, topic);
            assert!(found.len() == 1 && found[0].contains(TRACE_ID), "{topic}: {found:?}");
            // It is the child of the caller's span.
            assert_ne!(found[0], parent);
        }
        let log = shop.log();
        assert!(!log.is_empty());
        for line in log.lines() {
            let json: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            assert!(json["level"].is_string() && json["timestamp"].is_string(), "{line}");
        }
    });
}
