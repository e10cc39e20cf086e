//! kill -9 of the only processor, with a large state and under load: how soon a purchase sent
//! meanwhile is decided, and how little of the state is read from its topics again.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bps_streams::broker::{Isolation, OffsetSpec, TopicPartition};
use system_tests::installation::PATIENCE;
use system_tests::processes::{Process, Random, Work, is_long, tell};
use system_tests::rigs::{kafka, kafka_address};
use system_tests::{Installation, now_ms};

const PARTITIONS: u32 = 4;
/// Purchases of one round of load, and the pause behind it.
const ROUND: (u64, Duration) = (100, Duration::from_millis(20));

#[test]
fn killed_with_a_large_state() {
    let (Some(broker), Some(address)) = (kafka(), kafka_address()) else {
        return tell("large state: did not run on Kafka (BPS_NO_KAFKA)");
    };
    let (items, kills) = if is_long() { (1_000_000, 5) } else { (100_000, 2) };
    let site =
        Site { installation: Installation::new(broker, "large", PARTITIONS), items, address };
    let work = Work::new("large");
    site.supply();
    let mut running = site.start(&work, 0);
    site.wait_decided();
    let loaded = site.backing();
    let mut worst = 0;
    for kill in 1..=kills {
        let (again, took) = site.under_load(|| {
            Random::new(kill).sleep(500, 1_500);
            running.kill();
            let behind = site.ends(&[&site.installation.settings.topics.purchase_finished]);
            let probe = format!("probe-{kill}");
            site.purchase(&[(probe.clone(), 0)]);
            let again = site.start(&work, kill);
            site.wait_result(&probe, &behind);
            let took = again.age();
            (again, took)
        });
        running = again;
        running.wait_line("purchase-processor ready");
        let restored = running.restored();
        let all: u64 = site.backing().iter().map(|(_, end)| end).sum();
        tell(format_args!(
            "kill -9 with {items} items in state: next result {took:.2?} after the start; \
             {restored} of {all} records restored"
        ));
        worst = worst.max(restored);
    }
    site.wait_decided();
    running.stop();
    site.installation.verify();
    let largest = site.largest_transaction(&loaded);
    tell(format_args!("{worst} restored at most; two transactions have up to {}", 2 * largest));
    assert!(worst <= 2 * largest, "{worst} records restored, two transactions are {}", 2 * largest);
}

type Ends = Vec<(TopicPartition, u64)>;

/// Topics with one restock for each of so many items.
struct Site {
    installation: Installation,
    items: u64,
    address: String,
}

impl Site {
    fn start(&self, work: &Work, run: u64) -> Process {
        let state = work.path("state");
        let prefix = &self.installation.settings.application;
        let prefix = prefix.strip_suffix("-purchase-processor").unwrap_or(prefix);
        let args = ["--kafka", &self.address, "--state", state.to_str().unwrap()];
        let prefixes = ["--input-prefix", prefix, "--output-prefix", prefix];
        let args = [&args[..], &prefixes].concat();
        Process::start(work, &format!("processor-{run}"), "purchase-processor", &args)
    }

    fn append(&self, topic: &str, wishes: impl Iterator<Item = (u64, String)>) {
        let wishes: Vec<_> = wishes.map(|(item, value)| (format!("item-{item}"), value)).collect();
        let now = now_ms();
        let records = wishes.iter().map(|(item, value)| {
            (topic, self.installation.partition(item), item.as_str(), value.as_bytes(), now)
        });
        self.installation.append(&records.collect::<Vec<_>>());
    }

    fn supply(&self) {
        let topic = &self.installation.settings.topics.items_added;
        for from in (0..self.items).step_by(10_000) {
            let restock = |n: u64| {
                (n, format!(r#"{{"restockId":"r{n}","itemId":"item-{n}","quantity":1000}}"#))
            };
            self.append(topic, (from..self.items.min(from + 10_000)).map(restock));
        }
    }

    /// Purchases: (id, item).
    fn purchase(&self, wishes: &[(String, u64)]) {
        let value = |(id, item): &(String, u64)| {
            let ids = format!(r#""purchaseId":"{id}","itemId":"item-{item}""#);
            (*item, format!(r#"{{{ids},"quantity":1,"purchasedBy":"b"}}"#))
        };
        let topic = &self.installation.settings.topics.purchase_created;
        self.append(topic, wishes.iter().map(value));
    }

    /// Runs `story` while purchases come in.
    fn under_load<T>(&self, story: impl FnOnce() -> T) -> T {
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut random = Random::new(self.items);
                while !ended.load(Ordering::Relaxed) {
                    let wish = |_| (bps_events::ids::fresh_id(), random.below(self.items));
                    self.purchase(&(0..ROUND.0).map(wish).collect::<Vec<_>>());
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
        let ends = self.installation.broker.offsets(&at, end).unwrap();
        at.into_iter().zip(ends).collect()
    }

    /// The topics that the store is built from.
    fn backing(&self) -> Ends {
        let t = &self.installation.settings.topics;
        self.ends(&[&t.stock, &t.purchase_finished, &t.restock_finished])
    }

    /// Waits until the group has committed all of the inputs, as long as it moves.
    fn wait_decided(&self) {
        let topics = &self.installation.settings.topics;
        let ends = self.ends(&[&topics.items_added, &topics.purchase_created]);
        let (at, ends): (Vec<_>, Vec<_>) = ends.into_iter().unzip();
        let group = &self.installation.settings.application;
        let (mut sum, mut moved) = (0, Instant::now());
        loop {
            let committed = self.installation.broker.committed(group, &at).unwrap();
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
            self.installation.scan(from, |_, record| found |= record.key == Some(id.as_bytes()));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Records of the largest transaction behind `from`, as large as it may be: the largest run of
    /// each partition. Between two transactions stands a marker, which takes an offset.
    fn largest_transaction(&self, from: &[(TopicPartition, u64)]) -> u64 {
        let mut runs = vec![(0, 0, 0); from.len()];
        self.installation.scan(from, |slot, record| {
            let (next, run, largest) = &mut runs[slot];
            *run = if record.offset == *next { *run + 1 } else { 1 };
            *next = record.offset + 1;
            *largest = (*largest).max(*run);
        });
        runs.iter().map(|(_, _, largest)| largest).sum()
    }
}
