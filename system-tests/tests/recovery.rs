//! What a restart, a lost store and lost offsets do to decisions: nothing.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bps_streams::broker::{Broker, BrokerError, TopicPartition};
use bps_streams::{Application, Error};
use purchase_processor::topology;
use system_tests::backends::embedded;
use system_tests::installation::PATIENCE;
use system_tests::{Installation, on_both_brokers};

const T0: i64 = 1_700_000_000_000;
const PARTITIONS: u32 = 4;
const ITEMS: usize = 40;
const PURCHASES: usize = 800;
/// Of each item.
const SUPPLY: usize = 15;
/// More than this is no plain restart (the load leaves some 1,700 records behind).
const TAIL: u64 = 20;

/// Sends records about items, one partition each, by (is a purchase, id, item, quantity).
fn send(installation: &Installation, requests: &[(bool, String, String, usize)]) {
    let topics = &installation.settings.topics;
    let values = requests.iter().map(|(purchase, id, item, quantity)| {
        let own = if *purchase { "purchaseId" } else { "restockId" };
        format!(r#"{{"{own}":"{id}","itemId":"{item}","quantity":{quantity}}}"#)
    });
    let values: Vec<String> = values.collect();
    let records = requests.iter().zip(&values).map(|((purchase, _, item, _), value)| {
        let topic = if *purchase { &topics.purchase_created } else { &topics.items_added };
        (topic.as_str(), installation.partition(item), item.as_str(), value.as_bytes(), T0)
    });
    let records: Vec<_> = records.collect();
    installation.append(&records);
}

/// A load and what has come of it so far.
struct Load {
    installation: Installation,
    /// Ids of probes sent so far.
    probes: usize,
    results: usize,
    answers: usize,
}

impl Load {
    /// Restocks and purchases, all decided; about every fourth purchase is refused.
    fn new(broker: Arc<dyn Broker>, name: &str) -> Load {
        let mut installation = Installation::new(broker, name, PARTITIONS);
        installation.start();
        let mut load = Load { installation, probes: 0, results: 0, answers: 0 };
        load.send();
        (load.results, load.answers) = (PURCHASES, ITEMS);
        load.check();
        load
    }

    /// The same records each time.
    fn send(&self) {
        let item = |n: usize| format!("item-{}", n % ITEMS);
        let restocks = (0..ITEMS).map(|n| (false, format!("r-{n}"), item(n), SUPPLY));
        send(&self.installation, &restocks.collect::<Vec<_>>());
        let purchases = (0..PURCHASES).map(|n| (true, format!("p-{n}"), item(n), 1));
        send(&self.installation, &purchases.collect::<Vec<_>>());
    }

    fn read(&self) -> (usize, usize) {
        let topics = &self.installation.settings.topics;
        let results = self.installation.wait_for(&topics.purchase_finished, self.results).len();
        (results, self.installation.wait_for(&topics.restock_finished, self.answers).len())
    }

    /// No more answers than there must be, and no fewer.
    fn check(&self) {
        assert_eq!(self.read(), (self.results, self.answers));
    }

    /// One purchase and one restock of an item of its own in each partition: when they are
    /// answered, so is all before them.
    fn probe(&mut self) {
        self.probes += 1;
        let mut probes = Vec::new();
        for partition in 0..PARTITIONS {
            let mut items = (0..).map(|n| format!("probe-{n}"));
            let home = |item: &String| self.installation.partition(item) == partition;
            let item = items.find(home).unwrap();
            let id = format!("probe-{}-{partition}", self.probes);
            probes.push((false, id.clone(), item.clone(), 1));
            probes.push((true, id, item, 1));
        }
        send(&self.installation, &probes);
        self.results += PARTITIONS as usize;
        self.answers += PARTITIONS as usize;
        self.check();
    }

    /// The last row of each item, by item.
    fn rows(&self) -> BTreeMap<String, serde_json::Value> {
        let rows = self.installation.read(&self.installation.settings.topics.stock);
        rows.into_iter().map(|row| (row.key.clone(), row.json())).collect()
    }

    fn forget_store(&self) {
        std::fs::remove_dir_all(self.installation.config.state_folder.join("store")).unwrap();
    }

    fn restart(&mut self) -> u64 {
        self.installation.start();
        self.installation.wait_running()
    }

    /// Records that are in the topics which the store is built from.
    fn backing(&self) -> u64 {
        let t = &self.installation.settings.topics;
        let topics = [&t.stock, &t.purchase_finished, &t.restock_finished];
        topics.map(|topic| self.installation.read(topic).len() as u64).iter().sum()
    }

    fn processed(&self) -> (u64, u64) {
        let statuses = self.installation.application().status().workers;
        let resends = statuses.values().filter_map(|s| s.counters.get("restock RESEND"));
        (statuses.values().map(|s| s.processed).sum(), resends.sum())
    }

    /// Restocks each item by one: the answers say what the store knows of it.
    fn check_stock(&mut self, before: &BTreeMap<String, serde_json::Value>) {
        let request = |n| (false, format!("more-{}-{n}", self.probes), format!("item-{n}"), 1);
        send(&self.installation, &(0..ITEMS).map(request).collect::<Vec<_>>());
        self.answers += ITEMS;
        self.probe();
        let after = self.rows();
        for n in 0..ITEMS {
            let item = format!("item-{n}");
            let number = |rows: &BTreeMap<String, serde_json::Value>, field: &str| {
                rows[&item][field].as_u64().unwrap()
            };
            assert_eq!(number(&after, "supplied"), number(before, "supplied") + 1);
            assert_eq!(number(&after, "booked"), number(before, "booked"));
        }
    }
}

#[test]
fn what_is_resent_gets_no_second_answer() {
    on_both_brokers("resent", |broker| {
        let mut load = Load::new(broker, "resent");
        load.send();
        load.probe();
        load.installation.stop();
        // Resent while it is down, and again when it is up.
        load.send();
        load.restart();
        load.send();
        load.probe();
        load.installation.stop();
        load.forget_store();
        load.send();
        load.restart();
        load.send();
        load.probe();
        load.installation.stop();
    });
}

#[test]
fn a_lost_store_is_rebuilt_and_a_kept_one_is_not() {
    on_both_brokers("store", |broker| {
        let mut load = Load::new(broker, "store");
        load.probe();
        load.installation.stop();
        let rows = load.rows();
        assert!((0..ITEMS).all(|n| rows[&format!("item-{n}")]["remaining"] == 0), "{rows:?}");

        let restored = load.restart();
        assert!(restored <= TAIL, "{restored} records restored in a plain restart");
        load.check_stock(&rows);
        load.installation.stop();

        let (rows, backing) = (load.rows(), load.backing());
        assert!(backing > 10 * TAIL);
        load.forget_store();
        assert_eq!(load.restart(), backing, "all of the topics is restored");
        assert_eq!(load.rows(), rows, "the table is the same");
        load.check_stock(&rows);
        load.installation.stop();

        let restored = load.restart();
        assert!(restored <= TAIL, "{restored} records restored after a rebuild");
        load.probe();
        load.installation.stop();
    });
}

/// Every partition of the inputs.
fn inputs(installation: &Installation) -> Vec<TopicPartition> {
    let topics = &installation.settings.topics;
    [&topics.items_added, &topics.purchase_created, &topics.rekeyed]
        .into_iter()
        .flat_map(|topic| (0..PARTITIONS).map(move |p| TopicPartition::new(topic, p)))
        .collect()
}

/// Deletes the group as soon as the cluster has seen that its members have left.
fn delete_group(installation: &Installation) {
    let (broker, group) = (&installation.broker, &installation.settings.application);
    let at = inputs(installation);
    let committed = || broker.committed(group, &at).unwrap();
    assert!(committed().iter().any(Option::is_some));
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = broker.delete_group(group) {
        assert!(matches!(error, BrokerError::Fatal { .. }), "{error}");
        assert!(Instant::now() < deadline, "{error}");
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(committed().iter().all(Option::is_none));
}

#[test]
fn without_committed_offsets_it_goes_on_from_its_store() {
    on_both_brokers("offsets", |broker| {
        let mut load = Load::new(broker, "offsets");
        load.probe();
        load.installation.leave();
        delete_group(&load.installation);
        let restored = load.restart();
        assert!(restored <= TAIL, "{restored} records restored");
        // Also where nothing comes.
        let (broker, group) = (&load.installation.broker, &load.installation.settings.application);
        let at = inputs(&load.installation);
        let deadline = Instant::now() + PATIENCE;
        while broker.committed(group, &at).unwrap().iter().any(Option::is_none) {
            assert!(Instant::now() < deadline, "positions that nobody commits");
            std::thread::sleep(Duration::from_millis(5));
        }
        load.probe();
        let probes = u64::from(PARTITIONS) * 2;
        // What was decided before is not even looked at again.
        let deadline = Instant::now() + PATIENCE;
        while load.processed().0 < probes {
            assert!(Instant::now() < deadline, "{:?}", load.processed());
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(load.processed(), (probes, 0));
        load.installation.leave();
        // Neither offsets nor store: the rows themselves say how far it was.
        delete_group(&load.installation);
        load.forget_store();
        assert_eq!(load.restart(), load.backing());
        load.probe();
        load.send();
        load.probe();
        load.installation.stop();
    });
}

#[test]
fn a_state_folder_has_one_owner() {
    on_both_brokers("owner", |broker| {
        let mut installation = Installation::new(broker.clone(), "owner", PARTITIONS);
        installation.start();
        let start = || {
            let topology = topology(&installation.settings).unwrap();
            Application::start(broker.clone(), topology, installation.config.clone())
        };
        let error = start().err().unwrap().to_string();
        assert!(error.contains(&format!("process {}:", std::process::id())), "{error}");
        let folder = installation.config.state_folder.display().to_string();
        assert!(error.contains(&folder), "{error}");
        // The first one does not mind.
        installation.wait_running();
        installation.stop();
    });
}

/// Starts a processor that must end by itself; returns what the state was for, and is wanted for.
fn wrong_state(installation: &Installation) -> (String, String) {
    let topology = topology(&installation.settings).unwrap();
    let config = installation.config.clone();
    let started = Application::start(installation.broker.clone(), topology, config).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while !started.is_finished() {
        assert!(Instant::now() < deadline, "it runs on a foreign state");
        std::thread::sleep(Duration::from_millis(5));
    }
    match started.stop() {
        Err(Error::WrongState { found, expected, .. }) => (found, expected),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_state_folder_is_for_one_cluster_and_one_number_of_partitions() {
    on_both_brokers("foreign", |broker| {
        let mut first = Installation::new(broker.clone(), "foreign", PARTITIONS);
        first.start();
        first.wait_running();
        first.stop();

        let folder = tempfile::tempdir().unwrap();
        let mut second = Installation::new(embedded(folder.path()), "foreign", PARTITIONS);
        second.settings.application = first.settings.application.clone();
        second.config = first.config.clone();
        let (found, expected) = wrong_state(&second);
        assert!(found.contains(&first.broker.cluster_id().unwrap()), "{found}");
        assert!(expected.contains(&second.broker.cluster_id().unwrap()), "{expected}");

        let mut wider = Installation::new(broker.clone(), "foreign", PARTITIONS * 2);
        wider.settings.application = first.settings.application.clone();
        wider.config = first.config.clone();
        let (found, expected) = wrong_state(&wider);
        assert!(found.ends_with("4 partitions"), "{found}");
        assert!(expected.ends_with("8 partitions"), "{expected}");

        // The refusals have harmed nothing.
        first.start();
        first.wait_running();
        first.stop();
    });
}
