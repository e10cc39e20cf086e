//! `purchase-processor` as processes of their own on a real Kafka, under load: killed with -9 and
//! started again; three of them joining and leaving. Every purchase is answered once, with the
//! restocks seen that were acknowledged before it was sent, and nothing is oversold.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bps_streams::broker::{Isolation, OffsetSpec, TopicPartition};
use bps_streams::record::Batch;
use system_tests::accounting::{Found, Sent};
use system_tests::installation::PATIENCE;
use system_tests::processes::{Process, Random, Work, is_long, tell};
use system_tests::rigs::{kafka, kafka_address};
use system_tests::{Installation, now_ms};

const SEED: u64 = 1_469_307;
const PARTITIONS: u32 = 8;
const ITEMS: u64 = 200;
const READY: &str = "purchase-processor ready";
/// One round of load: restocks, then, when these are acknowledged, purchases.
const ROUND: (u64, u64) = (10, 200);
/// Pause between two rounds.
const PAUSE: Duration = Duration::from_millis(25);

#[test]
fn purchase_processor_killed_under_load() {
    let Some(site) = Site::new("kill-kafka") else { return };
    let kills = if is_long() { 10 } else { 2 };
    let mut random = Random::new(SEED);
    site.under_load(|site| {
        let mut running = site.start("a", 0);
        for kill in 1..=kills {
            running.wait_line(READY);
            random.sleep(300, 2_000);
            let before = site.ledger(Isolation::ReadCommitted).iter().sum::<u64>();
            running.kill();
            running = site.start("a", kill);
            running.wait_line(READY);
            let (restored, took) = (running.restored(), running.age());
            tell(format_args!(
                "kill {kill}, {before} decided: ready after {took:.1?}, {restored} restored"
            ));
            // Far less than there is: the store was not wiped.
            assert!(restored <= 5_000 + before / 10, "{restored} restored of {before} decided");
        }
        vec![running]
    });
}

#[test]
fn three_processors_join_and_leave_under_load() {
    let Some(site) = Site::new("three") else { return };
    site.under_load(|site| {
        let mut a = site.start("a", 0);
        a.wait_line(READY);
        let (mut b, mut c) = (site.start("b", 0), site.start("c", 0));
        b.wait_line(READY);
        c.wait_line(READY);
        site.all_go_on();
        b.stop();
        let mut b = site.start("b", 1);
        b.wait_line(READY);
        site.all_go_on();

        let (had, before) = (partitions(&c), [a.tasks().len(), b.tasks().len()]);
        c.kill();
        let took = site.all_go_on();
        tell(format_args!("takeover after kill -9: {:.1} s ({had:?})", took.as_secs_f64()));
        let survivors = [(&a, before[0]), (&b, before[1])];
        let taken: BTreeSet<u32> = survivors
            .into_iter()
            .flat_map(|(p, before)| p.tasks().into_iter().skip(before).map(|t| t.partition))
            .collect();
        assert!(!had.is_empty() && had.is_subset(&taken), "{had:?} of the dead one, {taken:?}");
        vec![a, b]
    });
}

/// The partitions that a process has had so far.
fn partitions(process: &Process) -> BTreeSet<u32> {
    process.tasks().iter().map(|task| task.partition).collect()
}

/// Topics on the Kafka, and a folder for processes.
struct Site {
    installation: Installation,
    work: Work,
    address: String,
    name: &'static str,
}

impl Site {
    /// Fresh topics; `None` (and said so) where there is no Kafka.
    fn new(name: &'static str) -> Option<Site> {
        let (Some(broker), Some(address)) = (kafka(), kafka_address()) else {
            tell(format_args!("{name}: did not run on Kafka (BPS_NO_KAFKA)"));
            return None;
        };
        let installation = Installation::new(broker, name, PARTITIONS);
        Some(Site { installation, work: Work::new(name), address, name })
    }

    /// Starts a processor: `member` is who it is (its state folder), `run` which start this is.
    fn start(&self, member: &str, run: u32) -> Process {
        let state = self.work.path(&format!("state-{member}"));
        let topic = &self.installation.settings.topics.items_added;
        let prefix = topic.strip_suffix("-items-added").unwrap();
        let args = [
            "--kafka",
            &self.address,
            "--state",
            state.to_str().unwrap(),
            "--input-prefix",
            prefix,
            "--output-prefix",
            prefix,
        ];
        Process::start(&self.work, &format!("{member}-{run}"), "purchase-processor", &args)
    }

    /// Runs `story` while purchases come in; then all of them must be answered by the processes
    /// that it leaves, which end well; and the account must balance.
    fn under_load(&self, story: impl FnOnce(&Site) -> Vec<Process>) {
        let ended = AtomicBool::new(false);
        let (sent, processes) = std::thread::scope(|scope| {
            let load = scope.spawn(|| load(&self.installation, &ended));
            // The load ends also when the story fails.
            let end = End(&ended);
            let processes = story(self);
            drop(end);
            (load.join().unwrap(), processes)
        });
        self.wait_decided(sent.purchases() as u64, processes);
        let installation = &self.installation;
        let topics = &installation.settings.topics;
        let found = Found::read(topics, PARTITIONS, |topic| installation.read(topic));
        tell(format_args!("{}: {}", self.name, found.settle(&sent)));
    }

    fn wait_decided(&self, count: u64, mut processes: Vec<Process>) {
        let deadline = Instant::now() + PATIENCE;
        let topic = &self.installation.settings.topics.purchase_finished;
        // Markers of transactions take offsets too: so many are needed at least.
        let enough = || self.ledger(Isolation::ReadCommitted).iter().sum::<u64>() >= count;
        while !(enough() && self.installation.read(topic).len() as u64 >= count) {
            processes.iter_mut().for_each(Process::must_run);
            let found = self.ledger(Isolation::ReadCommitted);
            assert!(Instant::now() < deadline, "{found:?}: not all of {count} are decided");
            std::thread::sleep(Duration::from_millis(200));
        }
        processes.into_iter().for_each(Process::stop);
    }

    /// The ends of the ledger.
    fn ledger(&self, isolation: Isolation) -> Vec<u64> {
        let topic = &self.installation.settings.topics.purchase_finished;
        let at: Vec<_> = (0..PARTITIONS).map(|p| TopicPartition::new(topic, p)).collect();
        self.installation.broker.offsets(&at, OffsetSpec::End(isolation)).unwrap()
    }

    /// Waits until results were committed in each partition that are not there now, not even in
    /// open transactions (markers do not count); returns how long that took.
    fn all_go_on(&self) -> Duration {
        let (begin, now) = (Instant::now(), self.ledger(Isolation::ReadUncommitted));
        let topic = &self.installation.settings.topics.purchase_finished;
        let from: Vec<_> =
            (0..).zip(now).map(|(p, now)| (TopicPartition::new(topic, p), now)).collect();
        let broker = &self.installation.broker;
        let mut reader = broker.reader(&from, Isolation::ReadCommitted).unwrap();
        let mut silent: BTreeSet<usize> = (0..from.len()).collect();
        while !silent.is_empty() {
            assert!(begin.elapsed() < PATIENCE, "no results in {silent:?}, from {from:?}");
            reader.wait(Duration::from_millis(20)).unwrap();
            for slot in 0..from.len() {
                let mut batch = Batch::default();
                reader.fetch(slot, 64 << 10, &mut batch).unwrap();
                if !batch.is_empty() {
                    silent.remove(&slot);
                }
            }
        }
        begin.elapsed()
    }
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Restocks and purchases, round by round, until the end.
fn load(installation: &Installation, ended: &AtomicBool) -> Sent {
    let topics = &installation.settings.topics;
    let (mut sent, mut random) = (Sent::default(), Random::new(SEED + 1));
    let mut round = 0;
    while !ended.load(Ordering::Relaxed) {
        let restocks: Vec<_> = (0..ROUND.0)
            .map(|n| {
                let (item, id) = (format!("item-{}", random.below(ITEMS)), format!("r{round}-{n}"));
                let quantity = random.below(60) as i64;
                sent.restock(&item, &id, quantity);
                let value =
                    format!(r#"{{"restockId":"{id}","itemId":"{item}","quantity":{quantity}}}"#);
                (item, value)
            })
            .collect();
        append(installation, &topics.items_added, &restocks);
        let purchases: Vec<_> = (0..ROUND.1)
            .map(|n| {
                let (item, id) = (format!("item-{}", random.below(ITEMS)), format!("p{round}-{n}"));
                let quantity = random.below(4) as i64;
                sent.purchase(&item, &id, quantity);
                let ids = format!(r#""purchaseId":"{id}","itemId":"{item}""#);
                let value = format!(r#"{{{ids},"quantity":{quantity},"purchasedBy":"b"}}"#);
                (item, value)
            })
            .collect();
        append(installation, &topics.purchase_created, &purchases);
        round += 1;
        std::thread::sleep(PAUSE);
    }
    sent
}

/// Appends (item, value), stamped now, and waits for the acknowledgements.
fn append(installation: &Installation, topic: &str, records: &[(String, String)]) {
    let now = now_ms();
    let records: Vec<_> = records
        .iter()
        .map(|(item, value)| {
            (topic, installation.partition(item), item.as_str(), value.as_bytes(), now)
        })
        .collect();
    installation.append(&records);
}
