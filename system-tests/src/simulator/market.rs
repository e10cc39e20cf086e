//! Those who write into the input topics: sellers and buyers, some of them careless. What is not
//! acknowledged is sent again.

use std::sync::Arc;
use std::sync::mpsc::channel;

use bps_events::Topics;
use bps_streams::Outgoing;
use bps_streams::broker::{Broker, BrokerError};
use bps_streams::partitioner::partition_of;
use bps_verifier::Acknowledged;

use super::Inputs;
use super::random::Random;
use super::town::Town;

/// A record to be sent.
#[derive(Clone, Debug)]
struct Letter {
    topic: String,
    partition: u32,
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    /// What must be answered, if anything.
    event: Option<Acknowledged>,
}

/// Sellers and buyers.
pub struct Market {
    broker: Arc<dyn Broker>,
    topics: Topics,
    partitions: u32,
    items: u64,
    /// Ids are drawn from so many, so that some come twice.
    ids: u64,
    unacknowledged: Vec<Letter>,
    /// Every event that was acknowledged and has an id.
    acknowledged: Vec<Acknowledged>,
}

impl Market {
    /// One that writes through this broker.
    pub fn new(broker: Arc<dyn Broker>, topics: Topics, partitions: u32, seed: u64) -> Market {
        let mut random = Random::new(seed);
        Market {
            broker,
            topics,
            partitions,
            items: 1 + random.below(5),
            ids: 10 + random.below(60),
            unacknowledged: Vec::new(),
            acknowledged: Vec::new(),
        }
    }

    fn send(&mut self, letter: Letter) {
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
            Ok(_) => self.acknowledged.extend(letter.event),
            // Stamped ahead of the clock: for its sender to correct, and it does not.
            Err(BrokerError::Refused { .. }) => {}
            Err(_) => self.unacknowledged.push(letter),
        }
    }

    fn letter(&self, random: &mut Random, wall_ms: i64) -> Letter {
        let item = format!("item-{}", random.below(self.items));
        let partition = match random.chance(1, 12) {
            true => random.below(u64::from(self.partitions)) as u32,
            false => partition_of(item.as_bytes(), self.partitions),
        };
        let mut timestamp = wall_ms - random.below(4_000) as i64 + 1_000;
        // Some lie so far ahead that a processor may bury them.
        let ahead = random.chance(1, 60);
        if ahead {
            timestamp += 100_000 + random.below(300_000) as i64;
        }
        let id = random.below(self.ids);
        let restocks = random.chance(1, 3);
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
            _ => (Some(value.into_bytes()), event.filter(|_| !ahead)),
        };
        let key = (!random.chance(1, 20)).then(|| item.into_bytes());
        Letter { topic, partition, timestamp, key, value, event }
    }
}

impl Inputs for Market {
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

    fn judge(&self, town: &mut Town, broker: &dyn Broker) -> Result<(), String> {
        town.audit(broker, &self.acknowledged)
    }
}
