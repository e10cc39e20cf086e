//! kill -9 of the only processor, with a large state and under load: how soon a purchase sent
//! meanwhile is decided, and how little of the state is read from its topics again.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bps_streams::broker::{Isolation, OffsetSpec, TopicPartition};
use system_tests::backends::kafka_address;
use system_tests::budget::is_ample;
use system_tests::installation::PATIENCE;
use system_tests::kafka_installation::{KafkaInstallation, PARTITIONS, READY};
use system_tests::now_ms;
use system_tests::processes::{Random, tell};

/// Purchases of one round of load, and the pause behind it.
const ROUND: (u64, Duration) = (100, Duration::from_millis(20));

#[test]
fn killed_with_a_large_state() {
    let Some(address) = kafka_address() else {
        return tell("large state: did not run on Kafka (BPS_NO_KAFKA)");
    };
    let (items, kills) = if is_ample() { (1_000_000, 5) } else { (100_000, 2) };
    let workload = Workload { kafka: KafkaInstallation::new("large", &address), items };
    workload.supply();
    let mut running = workload.kafka.processor("a", 0, &address);
    workload.wait_decided();
    let loaded = workload.backing();
    let mut worst = 0;
    for kill in 1..=kills {
        let (again, took) = workload.under_load(|| {
            Random::new(kill.into()).sleep(500, 1_500);
            running.kill();
            let behind =
                workload.ends(&[&workload.kafka.installation.settings.topics.purchase_finished]);
            let probe = format!("probe-{kill}");
            workload.purchase(&[(probe.clone(), 0)]);
            let again = workload.kafka.processor("a", kill, &address);
            workload.wait_result(&probe, &behind);
            let took = again.age();
            (again, took)
        });
        running = again;
        running.wait_line(READY);
        let restored = running.restored();
        let all: u64 = workload.backing().iter().map(|(_, end)| end).sum();
        tell(format_args!(
            "kill -9 with {items} items in state: next result {took:.2?} after the start; \
             {restored} of {all} records restored"
        ));
        worst = worst.max(restored);
    }
    workload.wait_decided();
    running.stop();
    workload.kafka.installation.verify();
    let largest = workload.largest_transaction(&loaded);
    tell(format_args!("{worst} restored at most; two transactions have up to {}", 2 * largest));
    assert!(worst <= 2 * largest, "{worst} records restored, two transactions are {}", 2 * largest);
}

type Ends = Vec<(TopicPartition, u64)>;

/// One restock for each of so many items.
struct Workload {
    kafka: KafkaInstallation,
    items: u64,
}

impl Workload {
    fn append(&self, topic: &str, requests: impl Iterator<Item = (u64, String)>) {
        let requests: Vec<_> =
            requests.map(|(item, value)| (format!("item-{item}"), value)).collect();
        let now = now_ms();
        let records = requests.iter().map(|(item, value)| {
            (topic, self.kafka.installation.partition(item), item.as_str(), value.as_bytes(), now)
        });
        self.kafka.installation.append(&records.collect::<Vec<_>>());
    }

    fn supply(&self) {
        let topic = &self.kafka.installation.settings.topics.items_added;
        for from in (0..self.items).step_by(10_000) {
            let restock = |n: u64| {
                (n, format!(r#"{{"restockId":"r{n}","itemId":"item-{n}","quantity":1000}}"#))
            };
            self.append(topic, (from..self.items.min(from + 10_000)).map(restock));
        }
    }

    /// Purchases: (id, item).
    fn purchase(&self, requests: &[(String, u64)]) {
        let value = |(id, item): &(String, u64)| {
            let ids = format!(r#""purchaseId":"{id}","itemId":"item-{item}""#);
            (*item, format!(r#"{{{ids},"quantity":1,"purchasedBy":"b"}}"#))
        };
        let topic = &self.kafka.installation.settings.topics.purchase_created;
        self.append(topic, requests.iter().map(value));
    }

    /// Runs `story` while purchases come in.
    fn under_load<T>(&self, story: impl FnOnce() -> T) -> T {
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut random = Random::new(self.items);
                while !ended.load(Ordering::Relaxed) {
                    let request = |_| (bps_events::ids::fresh_id(), random.below(self.items));
                    self.purchase(&(0..ROUND.0).map(request).collect::<Vec<_>>());
                    std::thread::sleep(ROUND.1);
                }
            });
            let told = story();
            ended.store(true, Ordering::Relaxed);
            told
        })
    }

    fn ends(&self, topics: &[&String]) -> Ends {
        let of = |topic: &&String| {
            let topic = (*topic).clone();
            (0..PARTITIONS).map(move |p| TopicPartition::new(&topic, p))
        };
        let at: Vec<_> = topics.iter().flat_map(of).collect();
        let end = OffsetSpec::End(Isolation::ReadCommitted);
        let ends = self.kafka.installation.broker.offsets(&at, end).unwrap();
        at.into_iter().zip(ends).collect()
    }

    /// The topics that the store is built from.
    fn backing(&self) -> Ends {
        let t = &self.kafka.installation.settings.topics;
        self.ends(&[&t.stock, &t.purchase_finished, &t.restock_finished])
    }

    /// Waits until the group has committed all of the inputs, as long as it moves.
    fn wait_decided(&self) {
        let topics = &self.kafka.installation.settings.topics;
        let ends = self.ends(&[&topics.items_added, &topics.purchase_created]);
        let (at, ends): (Vec<_>, Vec<_>) = ends.into_iter().unzip();
        let group = &self.kafka.installation.settings.application;
        let (mut sum, mut moved) = (0, Instant::now());
        loop {
            let committed = self.kafka.installation.broker.committed(group, &at).unwrap();
            let committed: Vec<_> =
                committed.iter().map(|c| c.as_ref().map_or(0, |c| c.offset)).collect();
            if committed == ends {
                return;
            }
            let now = committed.iter().sum();
            if now > sum {
                (sum, moved) = (now, Instant::now());
            }
            assert!(moved.elapsed() < PATIENCE, "stands still: {committed:?} of {ends:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for the result of a purchase, which stands behind `from`.
    fn wait_result(&self, id: &str, from: &[(TopicPartition, u64)]) {
        let deadline = Instant::now() + PATIENCE;
        let mut found = false;
        while !found {
            assert!(Instant::now() < deadline, "no result of {id}");
            self.kafka
                .installation
                .scan(from, |_, record| found |= record.key == Some(id.as_bytes()));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Records of the largest transaction behind `from`, as large as it may be: the largest run of
    /// each partition. Between two transactions stands a marker, which takes an offset.
    fn largest_transaction(&self, from: &[(TopicPartition, u64)]) -> u64 {
        let mut runs = vec![(0, 0, 0); from.len()];
        self.kafka.installation.scan(from, |slot, record| {
            let (next, run, largest) = &mut runs[slot];
            *run = if record.offset == *next { *run + 1 } else { 1 };
            *next = record.offset + 1;
            *largest = (*largest).max(*run);
        });
        runs.iter().map(|(_, _, largest)| largest).sum()
    }
}
