//! A service that runs on an embedded log of its own, at a free port; shared by the tests of
//! both services.

pub(crate) mod openapi;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bps_events::Topics;
use bps_service::service::{HttpSettings, Start};
use bps_service::settings::{ListenSettings, Period};
use bps_service::{InboxConfig, Service, ServiceConfig, Shutdown, server};
use bps_streams::broker::embedded::EmbeddedBroker;
use bps_streams::broker::{Broker, Isolation, OffsetSpec, TopicPartition};
use bps_streams::record::Batch;
use serde_json::Value;

/// A running service.
pub(crate) struct Running {
    pub(crate) broker: Arc<EmbeddedBroker>,
    pub(crate) shutdown: Shutdown,
    pub(crate) client: reqwest::Client,
    pub(crate) url: String,
    topic: String,
    _folder: tempfile::TempDir,
}

/// A record as it lies on the topic.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) partition: u32,
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) timestamp: i64,
}

impl Running {
    /// The service, where it takes events, and the topic it writes them to.
    pub(crate) async fn start(start: Start, path: &str, topic: &str) -> Running {
        let folder = tempfile::tempdir().expect("a folder");
        let broker = EmbeddedBroker::open(&folder.path().join("log")).expect("a log");
        let (broker, shutdown) = (Arc::new(broker), Shutdown::default());
        let config = config(&folder.path().join("state"));
        let listener = server::listen("127.0.0.1:0".parse().expect("an address")).await;
        let listener = listener.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let service: Service = start(broker.clone(), &config, &shutdown).expect("a service");
        let ended = shutdown.clone();
        tokio::spawn(async move { service.serve(listener, ended).await });
        let (client, url) = (reqwest::Client::new(), format!("http://{address}{path}"));
        Running { broker, shutdown, client, url, topic: topic.to_owned(), _folder: folder }
    }

    /// Posts a body, and does not wait for a decision; status, content type, and the answer.
    pub(crate) async fn post(
        &self,
        kind: &str,
        body: impl Into<reqwest::Body>,
    ) -> (u16, String, String) {
        let request = self.client.post(&self.url).header("content-type", kind).body(body);
        let request = request.header("prefer", "respond-async");
        let response = request.send().await.expect("an answer");
        let kind = response.headers().get("content-type");
        let kind = kind.map(|v| v.to_str().expect("text").to_owned()).unwrap_or_default();
        (response.status().as_u16(), kind, response.text().await.expect("a text"))
    }

    /// Posts one JSON object.
    pub(crate) async fn json(&self, body: &str) -> (u16, Value) {
        let (status, _, text) = self.post("application/json", body.to_owned()).await;
        (status, serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}")))
    }

    /// A body that the test writes piece by piece, and its answer's stream.
    #[allow(dead_code)] // one of the two tests uses it
    pub(crate) async fn stream(&self, body: reqwest::Body) -> reqwest::Response {
        let request = self.client.post(&self.url).header("content-type", "application/x-ndjson");
        request.body(body).send().await.expect("an answer")
    }

    /// Asserts that a body is refused, with a problem that names the field, and writes nothing.
    pub(crate) async fn refused(&self, body: &[u8], status: u16, field: Option<&str>, told: &str) {
        let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        let before = self.records().len();
        let (found, kind, text) = self.post("application/json", body.to_vec()).await;
        let problem: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((found, kind.as_str()), (status, "application/problem+json"), "{shown}");
        assert_eq!(problem["status"], status, "{shown}");
        assert_eq!(problem.get("field").and_then(Value::as_str), field, "{shown}: {text}");
        assert!(problem["detail"].as_str().expect("a detail").contains(told), "{shown}: {text}");
        for name in ["type", "title"] {
            assert!(problem[name].is_string(), "{name}");
        }
        assert_eq!(self.records().len(), before, "{shown}");
    }

    /// All records of the topic, by partition and offset.
    pub(crate) fn records(&self) -> Vec<Found> {
        let described = self.broker.describe_topics(&[&self.topic]).expect("an answer");
        let count = described[0].as_ref().map_or(0, |topic| topic.partitions);
        let all: Vec<_> = (0..count).map(|p| TopicPartition::new(&self.topic, p)).collect();
        let ends = self.broker.offsets(&all, OffsetSpec::End(Isolation::ReadCommitted));
        let ends = ends.expect("ends");
        let from: Vec<_> = all.iter().map(|at| (at.clone(), 0)).collect();
        let reader = self.broker.reader(&from, Isolation::ReadCommitted);
        let mut reader = reader.expect("a reader");
        let mut found = Vec::new();
        for (slot, end) in ends.into_iter().enumerate() {
            let mut position = 0;
            while position < end {
                let mut batch = Batch::default();
                position = reader.fetch(slot, 1 << 20, &mut batch).expect("records");
                found.extend((0..batch.len()).map(|index| {
                    let record = batch.get(index, &self.topic, slot as u32);
                    let text = |bytes: Option<&[u8]>| {
                        String::from_utf8(bytes.expect("bytes").to_vec()).expect("UTF-8")
                    };
                    Found {
                        partition: record.partition,
                        key: text(record.key),
                        value: text(record.value),
                        timestamp: record.timestamp,
                    }
                }));
            }
        }
        found
    }
}

fn config(state: &Path) -> ServiceConfig {
    let inbox = InboxConfig {
        topics: Topics::default(),
        partitions: 8,
        future_max: Period(Duration::from_secs(10)),
    };
    let listen = ListenSettings { tokens: None, ready_lag_max: 10_000, known: None };
    let http = HttpSettings { waiters_max: 2, listen };
    ServiceConfig {
        inbox,
        state: state.to_owned(),
        http,
        metrics: Arc::default(),
        besides: Arc::new(|| None),
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.request();
    }
}
