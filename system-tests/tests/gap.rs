//! Inputs that were deleted before they were read: the processor stops and names the gap, every
//! time, until the operator says to go on.
#![allow(missing_docs, clippy::unwrap_used)]

use std::time::{Duration, Instant};

use bps_streams::broker::{CleanupPolicy, Now};
use bps_streams::{Error, SKIP_GAP};
use system_tests::installation::PATIENCE;
use system_tests::rigs::embedded;
use system_tests::{Installation, Rig, now_ms};

const MINUTE: i64 = 60_000;

/// Starts a processor that must stop by itself at a gap; returns its words.
fn stops_at_a_gap(installation: &mut Installation) -> String {
    installation.start();
    let deadline = Instant::now() + PATIENCE;
    while !installation.application().is_finished() {
        assert!(Instant::now() < deadline, "it runs over a gap");
        std::thread::sleep(Duration::from_millis(5));
    }
    match installation.end() {
        Err(error @ Error::Gap { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_gap_is_named_and_passed_over_only_when_told() {
    let folder = tempfile::tempdir().unwrap();
    let broker = embedded(folder.path());
    let mut installation = Installation::bare(broker.clone(), "gap", 1);
    let short = CleanupPolicy::Delete { retention_ms: Some(MINUTE as u64) };
    let topics = installation.settings.topics.clone();
    installation.create(&topics.purchase_created, short);
    installation.prepare();
    installation.start();
    installation.restock("r", "a", "10", now_ms());
    installation.purchase("seen", "a", "1", now_ms());
    installation.results(1);
    installation.stop();

    for id in ["lost-1", "lost-2"] {
        installation.purchase(id, "a", "1", now_ms());
    }
    let later = Now { monotonic_ms: 0, wall_ms: now_ms() + 2 * MINUTE };
    broker.maintain(later).unwrap();
    for _ in 0..2 {
        let words = stops_at_a_gap(&mut installation);
        let gap = format!("{}-0: records from offset 1 on are wanted", topics.purchase_created);
        assert!(words.starts_with(&gap) && words.contains("holds 3..3"), "{words}");
        assert!(words.contains("--skip-gap"), "{words}");
    }

    std::fs::write(installation.config.state_folder.join(SKIP_GAP), "").unwrap();
    installation.start();
    installation.purchase("after", "a", "10", now_ms());
    let results = installation.results(2);
    // What was lost is not booked, and the state of before is there.
    assert_eq!(
        results[1].message(),
        "after - a FAILED quantity: 10 alreadyBooked: 1 \
        purchaseQuantity: 10 remaining: 9"
    );
    installation.end().unwrap();
    // The word counted once; there is no gap any more.
    installation.start();
    installation.wait_running();
    installation.end().unwrap();
}
