//! The weaker guarantee: without a crash it gives the same results.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use bps_events::Topics;
use bps_streams::broker::{Broker, Isolation, Now, OffsetSpec, TopicPartition};
use bps_streams::simulation::{Cluster, Faultless};
use bps_streams::worker::{Guarantee, Worker, WorkerConfig};
use bps_streams::{Outgoing, prepare_topics};
use purchase_processor::{Settings, topology};
use system_tests::backends::{embedded, kafka};
use system_tests::{Backend, Installation};

fn check(broker: Arc<dyn Broker>) {
    let mut installation = Installation::new(broker, "at-least-once", 2);
    installation.config.worker.guarantee = Guarantee::AtLeastOnce;
    installation.start();
    installation.restock("r", "1", "50", 1);
    for n in 0..60 {
        installation.purchase(&n.to_string(), "1", "1", 2 + n);
    }
    let results = installation.results(60);
    let granted = results.iter().filter(|r| r.json()["status"] == "SUCCESS").count();
    assert_eq!((results.len(), granted), (60, 50));
    installation.stop();
    // What was committed is not read again.
    installation.start();
    installation.purchase("last", "1", "1", 100);
    assert_eq!(installation.results(61).len(), 61);
    installation.stop();
}

#[test]
fn at_least_once_on_the_embedded_log() {
    let folder = tempfile::tempdir().unwrap();
    check(embedded(folder.path()));
}

#[test]
fn at_least_once_on_kafka() {
    if let Some(broker) = kafka() {
        check(broker);
    }
}

/// When it begins (ms since 1970).
const BEGIN_MS: i64 = 1_780_000_000_000;
/// Longer than a session (ms).
const AWAY_MS: u64 = 10_000;

fn step(cluster: &Cluster, worker: &mut Worker, ms: u64) {
    let now = Now { monotonic_ms: ms, wall_ms: BEGIN_MS + ms as i64 };
    cluster.set_time(now);
    worker.step(now, Duration::ZERO).expect("it goes on");
}

fn request(broker: &dyn Broker, topics: &Topics, id: &str) {
    let value = format!(r#"{{"purchaseId":"{id}","itemId":"1","quantity":1,"purchasedBy":"b"}}"#);
    let record = Outgoing {
        topic: &topics.purchase_created,
        partition: 0,
        timestamp: BEGIN_MS,
        key: Some(b"1"),
        value: Some(value.as_bytes()),
        headers: &[],
    };
    let written = Box::new(|outcome: Result<u64, _>| assert!(outcome.is_ok()));
    broker.appender().unwrap().append(record, written).unwrap();
}

/// Its session ends between a transaction and the commit of its offsets. The commit is refused for
/// good: nobody tells it so but a poll.
#[test]
fn who_lost_its_place_in_mid_commit_drops_what_it_did_and_comes_back() {
    let cluster = Cluster::new(Faultless);
    let settings = Settings::default();
    let shipped = Arc::new(topology(&settings).unwrap());
    let (outside, _) = cluster.boot(9);
    let prepared = prepare_topics(&*outside, &shipped, 1).unwrap();
    let [mut one, mut two] = [0, 1].map(|process| {
        let (broker, store) = cluster.boot(process);
        let mut config = WorkerConfig::new(format!("worker-{process}"));
        config.guarantee = Guarantee::AtLeastOnce;
        Worker::on(broker, shipped.clone(), store, prepared, config).unwrap()
    });
    let mut ms = 0;
    cluster.set_time(Now { monotonic_ms: 0, wall_ms: BEGIN_MS });
    request(&*outside, &settings.topics, "p-1");
    while !one.is_in_transaction() {
        ms += 1;
        assert!(ms < 1_000, "it takes nothing up: {:?}", one.status());
        step(&cluster, &mut one, ms);
    }
    // Another one takes its place meanwhile.
    ms += AWAY_MS;
    step(&cluster, &mut two, ms);
    let results = TopicPartition::new(&settings.topics.purchase_finished, 0);
    let end = |at: &TopicPartition| {
        let end = OffsetSpec::End(Isolation::ReadCommitted);
        outside.offsets(std::slice::from_ref(at), end).unwrap()[0]
    };
    request(&*outside, &settings.topics, "p-2");
    let begin_ms = ms;
    while end(&results) < 2 || one.is_in_transaction() || two.is_in_transaction() {
        ms += 1;
        assert!(ms < begin_ms + 1_000, "{:?}, {:?}", one.status(), two.status());
        step(&cluster, &mut one, ms);
        step(&cluster, &mut two, ms);
    }
    // What the first one had written holds: its stamps tell the second one how far it was.
    assert_eq!((one.status().aborts, end(&results)), (1, 2));
    for _ in 0..1_000 {
        ms += 1;
        step(&cluster, &mut one, ms);
        step(&cluster, &mut two, ms);
    }
    assert_eq!((one.status().aborts, end(&results)), (1, 2), "it goes on as a member");
}
