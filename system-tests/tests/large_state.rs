//! kill -9 of the only processor, with a large state and under load: how soon a purchase sent
//! meanwhile is decided, and how little of the state is read from its topics again.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bps_streams::broker::{Isolation, OffsetSpec, TopicPartition};
use system_tests::budget::is_ample;
use system_tests::installation::PATIENCE;
use system_tests::now_ms;
use system_tests::processes::{Random, tell};
use system_tests::rigs::kafka_address;
use system_tests::site::{PARTITIONS, READY, Site};

/// Purchases of one round of load, and the pause behind it.
const ROUND: (u64, Duration) = (100, Duration::from_millis(20));

#[test]
fn killed_with_a_large_state() {
    let Some(address) = kafka_address() else {
        return tell("large state: did not run on Kafka (BPS_NO_KAFKA)");
    };
    let (items, kills) = if is_ample() { (1_000_000, 5) } else { (100_000, 2) };
    let market = Market { site: Site::new("large", &address), items };
    market.supply();
    let mut running = market.site.processor("a", 0, &address);
    market.wait_decided();
    let loaded = market.backing();
    let mut worst = 0;
    for kill in 1..=kills {
        let (again, took) = market.under_load(|| {
            Random::new(kill.into()).sleep(500, 1_500);
            running.kill();
            let behind =
                market.ends(&[&market.site.installation.settings.topics.purchase_finished]);
            let probe = format!("probe-{kill}");
            market.purchase(&[(probe.clone(), 0)]);
            let again = market.site.processor("a", kill, &address);
            market.wait_result(&probe, &behind);
            let took = again.age();
            (again, took)
        });
        running = again;
        running.wait_line(READY);
        let restored = running.restored();
        let all: u64 = market.backing().iter().map(|(_, end)| end).sum();
        tell(format_args!(
            "kill -9 with {items} items in state: next result {took:.2?} after the start; \
             {restored} of {all} records restored"
        ));
        worst = worst.max(restored);
    }
    market.wait_decided();
    running.stop();
    market.site.installation.verify();
    let largest = market.largest_transaction(&loaded);
    tell(format_args!("{worst} restored at most; two transactions have up to {}", 2 * largest));
    assert!(worst <= 2 * largest, "{worst} records restored, two transactions are {}", 2 * largest);
}

type Ends = Vec<(TopicPartition, u64)>;

/// One restock for each of so many items.
struct Market {
    site: Site,
    items: u64,
}

impl Market {
    fn append(&self, topic: &str, wishes: impl Iterator<Item = (u64, String)>) {
        let wishes: Vec<_> = wishes.map(|(item, value)| (format!("item-{item}"), value)).collect();
        let now = now_ms();
        let records = wishes.iter().map(|(item, value)| {
            (topic, self.site.installation.partition(item), item.as_str(), value.as_bytes(), now)
        });
        self.site.installation.append(&records.collect::<Vec<_>>());
    }

    fn supply(&self) {
        let topic = &self.site.installation.settings.topics.items_added;
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
        let topic = &self.site.installation.settings.topics.purchase_created;
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
        let ends = self.site.installation.broker.offsets(&at, end).unwrap();
        at.into_iter().zip(ends).collect()
    }

    /// The topics that the store is built from.
    fn backing(&self) -> Ends {
        let t = &self.site.installation.settings.topics;
        self.ends(&[&t.stock, &t.purchase_finished, &t.restock_finished])
    }

    /// Waits until the group has committed all of the inputs, as long as it moves.
    fn wait_decided(&self) {
        let topics = &self.site.installation.settings.topics;
        let ends = self.ends(&[&topics.items_added, &topics.purchase_created]);
        let (at, ends): (Vec<_>, Vec<_>) = ends.into_iter().unzip();
        let group = &self.site.installation.settings.application;
        let (mut sum, mut moved) = (0, Instant::now());
        loop {
            let committed = self.site.installation.broker.committed(group, &at).unwrap();
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
            self.site
                .installation
                .scan(from, |_, record| found |= record.key == Some(id.as_bytes()));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Records of the largest transaction behind `from`, as large as it may be: the largest run of
    /// each partition. Between two transactions stands a marker, which takes an offset.
    fn largest_transaction(&self, from: &[(TopicPartition, u64)]) -> u64 {
        let mut runs = vec![(0, 0, 0); from.len()];
        self.site.installation.scan(from, |slot, record| {
            let (next, run, largest) = &mut runs[slot];
            *run = if record.offset == *next { *run + 1 } else { 1 };
            *next = record.offset + 1;
            *largest = (*largest).max(*run);
        });
        runs.iter().map(|(_, _, largest)| largest).sum()
    }
}
