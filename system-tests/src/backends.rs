//! The three ways the same topology runs: the test driver, the embedded log, a real Kafka. A test
//! written against [`Backend`] runs on all of them.

use std::sync::{Arc, OnceLock};

use bps_events::Topics;
use bps_streams::broker::Broker;
use bps_streams::broker::embedded::EmbeddedBroker;
use bps_streams::broker::kafka::{KafkaBroker, KafkaConfig};
use bps_streams::partitioner::partition_of;
use bps_streams::{Outgoing, TestDriver};
use purchase_processor::{Settings, topology};

use crate::{Installation, Written};

/// Something that decides purchases.
pub trait Backend {
    /// Its topics.
    fn topics(&self) -> Topics;
    /// Partitions of its topics.
    fn partitions(&self) -> u32;
    /// Appends a record to a partition; it is acknowledged when this returns.
    fn append_to(&mut self, topic: &str, partition: u32, key: &str, value: &[u8], at: i64);
    /// Appends records at once; all are acknowledged when this returns. (The test driver knows no
    /// headers: there they are left out.)
    fn append_batch(&mut self, records: &[Outgoing<'_>]);
    /// Waits for at least `count` records on a topic, and returns all of it.
    fn wait_for(&mut self, topic: &str, count: usize) -> Vec<Written>;

    /// Appends a record to the partition of its key.
    fn append(&mut self, topic: &str, key: &str, value: &str, at: i64) {
        let partition = partition_of(key.as_bytes(), self.partitions());
        self.append_to(topic, partition, key, value.as_bytes(), at);
    }

    /// Restocks an item.
    fn restock(&mut self, id: &str, item: &str, quantity: &str, at: i64) {
        let value = format!(r#"{{"restockId":"{id}","itemId":"{item}","quantity":{quantity}}}"#);
        let topic = self.topics().items_added;
        self.append(&topic, item, &value, at);
    }

    /// Requests to buy.
    fn purchase(&mut self, id: &str, item: &str, quantity: &str, at: i64) {
        let value = format!(
            r#"{{"purchaseId":"{id}","itemId":"{item}","quantity":{quantity},"purchasedBy":"b"}}"#
        );
        let topic = self.topics().purchase_created;
        self.append(&topic, item, &value, at);
    }

    /// Waits for `count` results, of all partitions.
    fn results(&mut self, count: usize) -> Vec<Written> {
        let topic = self.topics().purchase_finished;
        self.wait_for(&topic, count)
    }
}

impl Backend for Installation {
    fn topics(&self) -> Topics {
        self.settings.topics.clone()
    }

    fn partitions(&self) -> u32 {
        self.partitions
    }

    fn append_to(&mut self, topic: &str, partition: u32, key: &str, value: &[u8], at: i64) {
        Installation::append(self, &[(topic, partition, key, value, at)]);
    }

    fn append_batch(&mut self, records: &[Outgoing<'_>]) {
        self.append_all(records);
    }

    fn wait_for(&mut self, topic: &str, count: usize) -> Vec<Written> {
        Installation::wait_for(self, topic, count)
    }
}

/// The test driver as a backend: what was written stays readable.
struct Driven {
    driver: TestDriver,
    partitions: u32,
    read: std::collections::BTreeMap<String, Vec<Written>>,
}

impl Backend for Driven {
    fn topics(&self) -> Topics {
        Topics::default()
    }

    fn partitions(&self) -> u32 {
        self.partitions
    }

    fn append_to(&mut self, topic: &str, partition: u32, key: &str, value: &[u8], at: i64) {
        self.driver.send_to(topic, partition, Some(key.as_bytes()), Some(value), at).unwrap();
    }

    fn append_batch(&mut self, records: &[Outgoing<'_>]) {
        for r in records {
            self.driver.append(r.topic, r.partition, r.key, r.value, r.timestamp).unwrap();
        }
        self.driver.run().unwrap();
    }

    fn wait_for(&mut self, topic: &str, count: usize) -> Vec<Written> {
        let text = |b: &Option<Vec<u8>>| {
            String::from_utf8_lossy(b.as_deref().unwrap_or_default()).into_owned()
        };
        let read = self.driver.read(topic).into_iter().map(|r| Written {
            partition: r.partition,
            offset: r.offset,
            timestamp: r.timestamp,
            key: text(&r.key),
            value: text(&r.value),
            raw: r.value,
            headers: r.headers.iter().map(|(n, v)| (n.clone(), text(v))).collect(),
        });
        let all = self.read.entry(topic.to_owned()).or_default();
        all.extend(read);
        all.sort_by_key(|r| (r.partition, r.offset));
        assert!(all.len() >= count, "{topic}: {} of {count}", all.len());
        all.clone()
    }
}

/// The address of the Kafka to test on; `None` where the run says that there is none.
///
/// # Panics
/// When neither `BPS_KAFKA` nor `BPS_NO_KAFKA` says how it is: a test of Kafka never passes
/// silently without one.
pub fn kafka_address() -> Option<String> {
    if std::env::var_os("BPS_NO_KAFKA").is_some() {
        return None;
    }
    let address = std::env::var("BPS_KAFKA");
    Some(address.expect("set BPS_KAFKA=HOST:PORT (scripts/kafka up), or BPS_NO_KAFKA=1"))
}

/// The Kafka to test on, one client for all tests of a process.
pub fn kafka() -> Option<Arc<dyn Broker>> {
    static BROKER: OnceLock<Option<KafkaBroker>> = OnceLock::new();
    let make = || kafka_address().map(|address| KafkaBroker::new(KafkaConfig::new(address)));
    BROKER.get_or_init(make).clone().map(|broker| Arc::new(broker) as Arc<dyn Broker>)
}

/// An embedded log in a folder of its own.
pub fn embedded(folder: &std::path::Path) -> Arc<dyn Broker> {
    Arc::new(EmbeddedBroker::open(folder).unwrap())
}

/// Runs a test on every backend, with a running processor; says so where one is not there.
pub fn on_every_backend(name: &str, test: impl Fn(&mut dyn Backend)) {
    on_every_backend_made(name, &Installation::new, test);
}

/// Makes an installation on a broker: name and partitions.
pub type Make<'a> = &'a dyn Fn(Arc<dyn Broker>, &str, u32) -> Installation;

const PARTITIONS: u32 = 4;

/// The test driver as a backend, with the clock of now.
fn driven() -> Driven {
    let topology = topology(&Settings::default()).unwrap();
    let mut driver = TestDriver::with_partitions(topology, PARTITIONS);
    driver.set_clock(now_ms());
    Driven { driver, partitions: PARTITIONS, read: Default::default() }
}

/// As [`on_every_backend`], with installations as `make` makes them.
pub fn on_every_backend_made(name: &str, make: Make<'_>, test: impl Fn(&mut dyn Backend)) {
    test(&mut driven());
    on_both_brokers(name, |broker| {
        let mut installation = make(broker, name, PARTITIONS);
        installation.start();
        test(&mut installation);
        installation.stop();
    });
}

/// Runs a test on every backend whose processor finds unread what `write` has appended in one batch.
/// Inputs take records from the future.
pub fn on_every_backend_unread(
    name: &str,
    write: impl Fn(&mut dyn Backend),
    test: impl Fn(&mut dyn Backend),
) {
    let mut driven = driven();
    write(&mut driven);
    test(&mut driven);
    on_both_brokers(name, |broker| {
        let mut installation = Installation::without_door(broker, name, PARTITIONS);
        write(&mut installation);
        installation.start();
        test(&mut installation);
        installation.stop();
    });
}

/// Runs a test on the embedded log and on Kafka; says so where that is not there.
pub fn on_both_brokers(name: &str, test: impl Fn(Arc<dyn Broker>)) {
    let folder = tempfile::tempdir().unwrap();
    test(embedded(folder.path()));
    match kafka() {
        Some(broker) => test(broker),
        None => eprintln_skipped(name),
    }
}

/// The clock (ms since 1970).
pub fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

#[allow(clippy::print_stderr)] // the test's own word to the one who runs it
fn eprintln_skipped(name: &str) {
    eprintln!("{name}: did not run on Kafka (BPS_NO_KAFKA)");
}
