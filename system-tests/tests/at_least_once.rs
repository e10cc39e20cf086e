//! The weaker guarantee: without a crash it gives the same results.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;

use bps_streams::broker::Broker;
use bps_streams::worker::Guarantee;
use system_tests::rigs::{embedded, kafka};
use system_tests::{Installation, Rig};

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
