//! Those who write into the input topics: sellers and buyers, some of them careless. What is not
//! acknowledged is sent again. Some restocks are stamped ahead of the clock.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::channel;

use bps_events::Topics;
use bps_streams::Outgoing;
use bps_streams::broker::{Broker, BrokerError};
use bps_streams::partitioner::partition_of;
use bps_verifier::{Acknowledged, Receipt};

use super::Inputs;
use super::cluster_run::ClusterRun;
use super::random::Random;

/// A record to be sent.
#[derive(Clone, Debug)]
struct Letter {
    topic: String,
    partition: u32,
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    /// What it says, if it can be read and has an id.
    event: Option<Acknowledged>,
    /// Whether it must be answered.
    is_due: bool,
    /// Whether it lies in a partition that is not its item's.
    is_astray: bool,
}

/// Sellers and buyers.
pub struct Workload {
    broker: Arc<dyn Broker>,
    topics: Topics,
    partitions: u32,
    items: u64,
    /// Ids are drawn from so many, so that some come twice.
    ids: u64,
    unacknowledged: Vec<Letter>,
    acknowledged: Vec<Receipt>,
    /// Counts what was sent and acknowledged: the time by which it can be compared.
    moment: i64,
    /// When each event was first sent.
    first_sent: HashMap<String, i64>,
}

impl Workload {
    /// One that writes through this broker.
    pub fn new(broker: Arc<dyn Broker>, topics: Topics, partitions: u32, seed: u64) -> Workload {
        let mut random = Random::new(seed);
        Workload {
            broker,
            topics,
            partitions,
            items: 1 + random.below(5),
            ids: 10 + random.below(60),
            unacknowledged: Vec::new(),
            acknowledged: Vec::new(),
            moment: 0,
            first_sent: HashMap::new(),
        }
    }

    fn send(&mut self, letter: Letter) {
        self.moment += 1;
        let name = format!("{:?}", letter.event);
        let sent_at = *self.first_sent.entry(name).or_insert(self.moment);
        let (sender, receiver) = channel();
        let record = Outgoing {
            topic: &letter.topic,
            partition: letter.partition,
            timestamp: letter.timestamp,
            key: letter.key.as_deref(),
            value: letter.value.as_deref(),
            headers: &[],
        };
        let ack = Box::new(move |outcome| drop(sender.send(outcome)));
        let taken = self.broker.appender().unwrap().append(record, ack);
        match taken.and_then(|()| receiver.recv().unwrap()) {
            Ok(_) => {
                self.moment += 1;
                // What lies astray is not where it is decided yet.
                let acknowledged_at = (!letter.is_astray).then_some(self.moment);
                let event = letter.event.filter(|_| letter.is_due);
                let receipt = event.map(|e| e.with_times(Some(sent_at), acknowledged_at));
                self.acknowledged.extend(receipt);
            }
            // Stamped ahead of the clock: for its sender to correct, and it does not.
            Err(BrokerError::Refused { .. }) => {}
            Err(_) => self.unacknowledged.push(letter),
        }
    }

    fn letter(&self, random: &mut Random, wall_ms: i64) -> Letter {
        let item = format!("item-{}", random.below(self.items));
        let home = partition_of(item.as_bytes(), self.partitions);
        let partition = match random.chance(1, 12) {
            true => random.below(u64::from(self.partitions)) as u32,
            false => home,
        };
        let mut timestamp = wall_ms - random.below(4_000) as i64 + 1_000;
        let id = random.below(self.ids);
        let restocks = random.chance(1, 3);
        // So far that a processor may bury it; or another one, with another clock.
        let ahead = random.chance(1, if restocks { 4 } else { 60 });
        if ahead {
            timestamp += 5_000 + random.below(8_000) as i64;
        }
        let quantity = match random.below(20) {
            0 => "0".to_owned(),
            1 => "-3".to_owned(),
            2 => "\"two\"".to_owned(),
            3 => "9007199254740992".to_owned(),
            _ => (1 + random.below(6)).to_string(),
        };
        let quantity = match quantity.as_str() {
            "9007199254740992" if random.chance(9, 10) => "1".to_owned(),
            _ => quantity,
        };
        let (topic, value, event) = match restocks {
            true => {
                let (id, event) = match random.chance(1, 5) {
                    true => (String::new(), None),
                    false => {
                        let event =
                            Acknowledged::Restock { item: item.clone(), id: format!("r-{id}") };
                        (format!(r#""restockId":"r-{id}","#), Some(event))
                    }
                };
                let value = format!(r#"{{{id}"itemId":"{item}","quantity":{quantity}}}"#);
                (self.topics.items_added.clone(), value, event)
            }
            false => {
                let value = format!(
                    r#"{{"purchaseId":"p-{id}","itemId":"{item}","quantity":{quantity},"purchasedBy":"b"}}"#
                );
                let event =
                    Acknowledged::Purchase { item: Some(item.clone()), id: format!("p-{id}") };
                (self.topics.purchase_created.clone(), value, Some(event))
            }
        };
        let (value, event) = match random.below(40) {
            0 => (Some(value.as_bytes()[1..].to_vec()), None),
            1 => (None, None),
            2 => (Some(vec![0xff, 0xfe]), None),
            _ => (Some(value.into_bytes()), event),
        };
        let key = (!random.chance(1, 20)).then(|| item.into_bytes());
        let (is_due, is_astray) = (!ahead, partition != home);
        Letter { topic, partition, timestamp, key, value, event, is_due, is_astray }
    }
}

impl Inputs for Workload {
    fn reconnect(&mut self, broker: Arc<dyn Broker>) {
        self.broker = broker;
    }

    fn act(&mut self, random: &mut Random, wall_ms: i64) {
        let again = !self.unacknowledged.is_empty() && random.chance(1, 2);
        let letter = match again {
            true => self
                .unacknowledged
                .swap_remove(random.below(u64::MAX) as usize % self.unacknowledged.len()),
            false => self.letter(random, wall_ms),
        };
        self.send(letter);
    }

    fn settle(&mut self) -> bool {
        for letter in std::mem::take(&mut self.unacknowledged) {
            self.send(letter);
        }
        self.unacknowledged.is_empty()
    }

    fn judge(&self, cluster_run: &mut ClusterRun, broker: &dyn Broker) -> Result<(), String> {
        cluster_run.audit(broker, &self.acknowledged)
    }
}
