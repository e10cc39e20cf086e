//! Restocks and purchases that keep coming while a story is told: what was not acknowledged is
//! sent again until it is, as every client must.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use bps_streams::Outgoing;
use bps_streams::broker::Appender;
use bps_streams::broker::Broker;
use bps_streams::broker::kafka::{KafkaBroker, KafkaConfig};

use crate::accounting::Sent;
use crate::kafka_installation::KafkaInstallation;
use crate::now_ms;
use crate::processes::Random;

/// Longest time in which an event is not acknowledged: more than the longest fault.
const PATIENCE: Duration = Duration::from_secs(300);

/// How much comes.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Of what.
    pub seed: u64,
    /// Different items.
    pub items: u64,
    /// Restocks of a round, all acknowledged before its first purchase is sent.
    pub restocks: u64,
    /// Purchases of a round.
    pub purchases: u64,
    /// Pause between two rounds.
    pub pause: Duration,
}

impl Pace {
    /// About two thousand purchases a second.
    pub fn brisk(seed: u64) -> Pace {
        let pause = Duration::from_millis(25);
        Pace { seed, items: 200, restocks: 4, purchases: 60, pause }
    }
}

/// What a load has done so far.
#[derive(Debug, Default)]
pub struct Progress {
    /// Purchases acknowledged.
    pub purchases: AtomicU64,
    /// Events that had to be sent again.
    pub again: AtomicU64,
}

/// Tells a story while events come in by each of `addresses` in turn; returns what was sent, and
/// what the story says.
pub fn under_load<T>(
    kafka: &KafkaInstallation,
    addresses: &[&str],
    pace: Pace,
    progress: &Progress,
    story: impl FnOnce() -> T,
) -> (Sent, T) {
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| Load::new(kafka, addresses, pace, progress).run(&ended));
        // The load ends also when the story fails.
        let end = End(&ended);
        let told = story();
        drop(end);
        (load.join().unwrap(), told)
    })
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// An event: item, value.
type Event = (String, String);

struct Load<'a> {
    kafka: &'a KafkaInstallation,
    /// Two services would write restocks and purchases: so many clients each.
    appenders: Vec<Box<dyn Appender>>,
    pace: Pace,
    progress: &'a Progress,
    random: Random,
    sent: Sent,
}

impl<'a> Load<'a> {
    fn new(
        kafka: &'a KafkaInstallation,
        addresses: &[&str],
        pace: Pace,
        progress: &'a Progress,
    ) -> Load<'a> {
        let appender = |address: &&str| {
            let broker: Arc<dyn Broker> = Arc::new(KafkaBroker::new(KafkaConfig::new(*address)));
            broker.appender().unwrap()
        };
        let appenders = addresses.iter().map(appender).collect();
        let random = Random::new(pace.seed);
        Load { kafka, appenders, pace, progress, random, sent: Sent::default() }
    }

    fn run(mut self, ended: &AtomicBool) -> Sent {
        let (purchases, restocks) = self.topics();
        let mut round = 0;
        while !ended.load(Ordering::Relaxed) {
            let events: Vec<_> = (0..self.pace.restocks).map(|n| self.restock(round, n)).collect();
            self.append(round, &restocks, &events);
            let events: Vec<_> =
                (0..self.pace.purchases).map(|n| self.purchase(round, n)).collect();
            self.append(round + 1, &purchases, &events);
            self.progress.purchases.fetch_add(self.pace.purchases, Ordering::Relaxed);
            round += 1;
            std::thread::sleep(self.pace.pause);
        }
        self.sent
    }

    fn topics(&self) -> (String, String) {
        let topics = &self.kafka.installation.settings.topics;
        (topics.purchase_created.clone(), topics.items_added.clone())
    }

    fn restock(&mut self, round: u64, n: u64) -> Event {
        let (item, id) = (self.item(), format!("r{round}-{n}"));
        let quantity = self.random.below(60) as i64;
        self.sent.restock(&item, &id, quantity);
        let value = format!(r#"{{"restockId":"{id}","itemId":"{item}","quantity":{quantity}}}"#);
        (item, value)
    }

    fn purchase(&mut self, round: u64, n: u64) -> Event {
        let (item, id) = (self.item(), format!("p{round}-{n}"));
        let quantity = self.random.below(4) as i64;
        self.sent.purchase(&item, &id, quantity);
        let ids = format!(r#""purchaseId":"{id}","itemId":"{item}""#);
        (item, format!(r#"{{{ids},"quantity":{quantity},"purchasedBy":"b"}}"#))
    }

    fn item(&mut self) -> String {
        format!("item-{}", self.random.below(self.pace.items))
    }

    /// Appends events, stamped now; those that were not acknowledged once more, until all are.
    fn append(&mut self, turn: u64, topic: &str, events: &[Event]) {
        let deadline = Instant::now() + PATIENCE;
        let appender = &self.appenders[turn as usize % self.appenders.len()];
        let mut open: Vec<usize> = (0..events.len()).collect();
        loop {
            let (sender, acks) = mpsc::channel();
            for index in &open {
                let (item, value) = &events[*index];
                let record = Outgoing {
                    topic,
                    partition: self.kafka.installation.partition(item),
                    timestamp: now_ms(),
                    key: Some(item.as_bytes()),
                    value: Some(value.as_bytes()),
                    headers: &[],
                };
                let (sender, index) = (sender.clone(), *index);
                // Refused at once, or the test has gone: no ack comes then.
                let ack = move |acked: Result<u64, _>| {
                    sender.send((index, acked.is_ok())).unwrap_or_default()
                };
                drop(appender.append(record, Box::new(ack)));
            }
            drop(sender);
            let good: std::collections::HashSet<usize> =
                acks.iter().filter(|(_, is_good)| *is_good).map(|(index, _)| index).collect();
            open.retain(|index| !good.contains(index));
            if open.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "{topic}: {} not acknowledged", open.len());
            self.progress.again.fetch_add(open.len() as u64, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}
