//! Inputs that were deleted before they were read: the processor stops and names the gap, every
//! time, until the operator says to go on. And an input whose cluster has lost its tail.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bps_streams::broker::{Broker, CleanupPolicy, Now, TopicPartition};
use bps_streams::simulation::{Cluster, Faultless};
use bps_streams::worker::{Worker, WorkerConfig};
use bps_streams::{Error, Layout, Outgoing, SKIP_GAP, Topology, prepare_topics};
use purchase_processor::{Settings, topology};
use system_tests::backends::embedded;
use system_tests::installation::PATIENCE;
use system_tests::{Backend, Installation, now_ms};

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

const OUTSIDE: u32 = 1_000;
/// Restocks of one unit each that wait, beside a purchase of the same item.
const RESTOCKS: u64 = 8;

/// A worker in virtual time that fetches little at once.
struct Small {
    cluster: Cluster,
    outside: Arc<dyn Broker>,
    settings: Settings,
    topology: Arc<Topology>,
    worker: Worker,
    now: Now,
}

impl Small {
    fn begin() -> Small {
        let (cluster, settings) = (Cluster::new(Faultless), Settings::default());
        let topology = Arc::new(topology(&settings).unwrap());
        let (outside, _) = cluster.boot(OUTSIDE);
        let now = Now { monotonic_ms: 0, wall_ms: now_ms() };
        cluster.set_time(now);
        prepare_topics(&*outside, &topology, 1).unwrap();
        let worker = Small::boot(&cluster, &topology);
        Small { cluster, outside, settings, topology, worker, now }
    }

    /// The process starts.
    fn boot(cluster: &Cluster, topology: &Arc<Topology>) -> Worker {
        let topics = Layout { partitions: 1, dead_letter_partitions: 1 };
        let mut config = WorkerConfig::new("worker");
        config.queue_bytes_max = 600 * topology.inputs().len();
        let (broker, store) = cluster.boot(0);
        Worker::on(broker, topology.clone(), store, topics, config).unwrap()
    }

    fn append(&self, topic: &str, value: &str) {
        let (key, value) = (Some(&b"a"[..]), Some(value.as_bytes()));
        let timestamp = self.now.wall_ms;
        let record = Outgoing { topic, partition: 0, timestamp, key, value, headers: &[] };
        let written = |outcome: Result<u64, _>| assert!(outcome.is_ok());
        self.outside.appender().unwrap().append(record, Box::new(written)).unwrap();
    }

    fn restock(&self, id: u64) {
        let value = format!(r#"{{"restockId":"{id}","itemId":"a","quantity":1}}"#);
        self.append(&self.settings.topics.items_added, &value);
    }

    fn step(&mut self) -> bps_streams::Result<()> {
        self.now.monotonic_ms += 100;
        self.now.wall_ms += 100;
        self.cluster.set_time(self.now);
        self.worker.step(self.now, Duration::ZERO).map(drop)
    }

    fn restocks(&self) -> TopicPartition {
        TopicPartition::new(&self.settings.topics.items_added, 0)
    }

    /// Restocks that are decided.
    fn restocked(&self) -> u64 {
        self.worker.status().positions.get(&self.restocks()).copied().unwrap_or(0)
    }

    /// Steps until the worker has been told of all restocks and has decided some of them, then the
    /// rest of them is lost; how many are left.
    fn lose_tail(&mut self) -> u64 {
        (0..RESTOCKS).for_each(|id| self.restock(id));
        let purchase = r#"{"purchaseId":"p","itemId":"a","quantity":1}"#;
        self.append(&self.settings.topics.purchase_created, purchase);
        while self.restocked() == 0 {
            self.step().unwrap();
        }
        let left = self.restocked();
        assert!(left < RESTOCKS, "all are decided already");
        self.cluster.lose_tail(&self.restocks(), left).unwrap();
        left
    }

    fn purchases(&self) -> u64 {
        let at = TopicPartition::new(&self.settings.topics.purchase_created, 0);
        self.worker.status().positions.get(&at).copied().unwrap_or(0)
    }
}

/// More steps than it takes to believe it: a minute.
const STEPS_MAX: usize = 600;

#[test]
fn a_lost_tail_is_named_and_does_not_hold_up_for_ever() {
    let mut small = Small::begin();
    let left = small.lose_tail();
    let stopped = (0..STEPS_MAX).find_map(|_| small.step().err());
    let words = stopped.expect("it waits for what is gone").to_string();
    let (topic, told) = (&small.settings.topics.items_added, RESTOCKS);
    let named = format!("{topic}-0: the log ended at offset {told}, and now it ends at {left}: ");
    assert!(words.starts_with(&named), "{words}");
    assert_eq!(small.purchases(), 0, "nothing was decided on the way");
}

#[test]
fn the_next_start_goes_on_behind_a_lost_tail() {
    let mut small = Small::begin();
    let left = small.lose_tail();
    assert!((0..STEPS_MAX).any(|_| small.step().is_err()), "it waits for what is gone");
    small.cluster.kill(0);
    small.worker = Small::boot(&small.cluster, &small.topology);
    let steps = (0..STEPS_MAX).find(|_| {
        small.step().unwrap();
        small.purchases() == 1
    });
    assert!(steps.is_some(), "it does not go on");
    small.restock(RESTOCKS);
    (0..10).for_each(|_| small.step().unwrap());
    assert_eq!(small.restocked(), left + 1, "what comes in its place is read");
}

#[test]
fn a_log_that_is_shorter_for_a_moment_is_waited_for() {
    let mut small = Small::begin();
    let left = small.lose_tail();
    // Nine seconds.
    (0..90).for_each(|_| small.step().unwrap());
    (left..RESTOCKS).for_each(|id| small.restock(id));
    (0..300).for_each(|_| small.step().unwrap());
    assert_eq!((small.restocked(), small.purchases()), (RESTOCKS, 1));
}
