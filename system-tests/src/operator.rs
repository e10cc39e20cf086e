//! What people do to a Kafka behind the back of the programs that run on it: topics made with other
//! settings than ours, deleted, or made wider; groups deleted, or moved; a consumer of their own in a
//! group that is not theirs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bps_streams::broker::kafka::{KafkaBroker, KafkaConfig};
use bps_streams::broker::{Broker, CleanupPolicy, TopicDescription, TopicPartition};
use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigSource, NewPartitions, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::backends::kafka_address;
use crate::installation::PATIENCE;
use crate::processes::tell;

/// See the module.
pub struct Operator {
    admin: AdminClient<DefaultClientContext>,
    options: AdminOptions,
    address: String,
}

impl Operator {
    /// Of the Kafka of the run, and a client of its own of it; says so where the run has none.
    pub fn on_kafka(test: &str) -> Option<(Operator, Arc<dyn Broker>)> {
        let Some(address) = kafka_address() else {
            tell(format_args!("{test}: did not run on Kafka (BPS_NO_KAFKA)"));
            return None;
        };
        let broker = KafkaBroker::new(KafkaConfig::new(&address));
        Some((Operator::at(&address), Arc::new(broker)))
    }

    /// Of the Kafka at `address`.
    pub fn at(address: &str) -> Operator {
        let admin = ClientConfig::new().set("bootstrap.servers", address).create().unwrap();
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
        Operator { admin, options, address: address.to_owned() }
    }

    /// Makes a topic with these settings, and all others as the cluster has them.
    pub fn create(&self, topic: &str, partitions: u32, settings: &[(&str, &str)]) {
        let replication = TopicReplication::Fixed(1);
        let new = NewTopic::new(topic, partitions as i32, replication);
        let new = settings.iter().fold(new, |new, (key, value)| new.set(key, value));
        let deadline = Instant::now() + PATIENCE;
        loop {
            // One that was just deleted may still be there for a moment.
            let made = pollster::block_on(self.admin.create_topics([&new], &self.options));
            match made.unwrap().pop().unwrap() {
                Ok(_) => return,
                Err((_, code)) => assert!(Instant::now() < deadline, "{topic}: {code}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Deletes a topic.
    pub fn delete(&self, topic: &str) {
        let deleted = pollster::block_on(self.admin.delete_topics(&[topic], &self.options));
        deleted.unwrap().pop().unwrap().unwrap();
    }

    /// Deletes a topic and makes it anew, as `broker` describes it.
    pub fn recreate(&self, broker: &dyn Broker, topic: &str) {
        let description = broker.describe_topics(&[topic]).unwrap().pop().flatten().unwrap();
        self.delete(topic);
        let TopicDescription { partitions, cleanup, .. } = description;
        let setting = match cleanup {
            CleanupPolicy::Delete { .. } => ("retention.ms", "-1"),
            _ => ("cleanup.policy", "compact"),
        };
        self.create(topic, partitions, &[setting]);
    }

    /// Gives a topic more partitions.
    pub fn widen(&self, topic: &str, partitions: u32) {
        let new = NewPartitions::new(topic, partitions as usize);
        let widened = pollster::block_on(self.admin.create_partitions([&new], &self.options));
        widened.unwrap().pop().unwrap().unwrap();
    }

    /// The settings that a topic has of its own, whatever the cluster's are.
    pub fn settings(&self, topic: &str) -> BTreeMap<String, String> {
        let asked = [ResourceSpecifier::Topic(topic)];
        let told = pollster::block_on(self.admin.describe_configs(&asked, &self.options));
        let entries = told.unwrap().pop().unwrap().unwrap().entries.into_iter();
        let own = entries.filter(|entry| matches!(entry.source, ConfigSource::DynamicTopic));
        own.map(|entry| (entry.name, entry.value.unwrap_or_default())).collect()
    }

    /// Deletes a group; whether it could. It has members for as long as their sessions last.
    pub fn delete_group(&self, group: &str) -> bool {
        let deleted = pollster::block_on(self.admin.delete_groups(&[group], &self.options));
        deleted.unwrap().pop().unwrap().is_ok()
    }

    /// Sets offsets of a group, as `kafka-consumer-groups --reset-offsets` does; whether it could. It
    /// has members for as long as their sessions last.
    pub fn set_offsets(&self, group: &str, offsets: &[(TopicPartition, u64)]) -> bool {
        let mut list = TopicPartitionList::new();
        for (at, offset) in offsets {
            let offset = Offset::Offset(*offset as i64);
            list.add_partition_offset(&at.topic, at.partition as i32, offset).unwrap();
        }
        let consumer: BaseConsumer = config(&self.address, group).create().unwrap();
        consumer.commit(&list, CommitMode::Sync).is_ok()
    }
}

fn config(address: &str, group: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address).set("group.id", group);
    config
}

/// A consumer under a group id that is not its own, until it is dropped: it commits what it has read,
/// as Kafka's console consumer does.
pub struct Stranger(Arc<AtomicBool>);

impl Stranger {
    /// Joins.
    pub fn join(address: &str, group: &str, topics: &[&str]) -> Stranger {
        let mut config = config(address, group);
        config.set("partition.assignment.strategy", "range").set("session.timeout.ms", "6000");
        config.set("auto.commit.interval.ms", "500");
        // One whose end hangs, as the broker is away, goes on telling that it lives: each rebalance would
        // wait for it as long as this.
        config.set("max.poll.interval.ms", "10000");
        let consumer: BaseConsumer = config.create().unwrap();
        consumer.subscribe(topics).unwrap();
        let has_left = Arc::<AtomicBool>::default();
        let ended = has_left.clone();
        let read = move || {
            while !ended.load(Ordering::Relaxed) {
                drop(consumer.poll(Duration::from_millis(50)));
            }
        };
        // Nobody waits for its end: it takes its time where the broker is away.
        std::thread::Builder::new().name("stranger".to_owned()).spawn(read).unwrap();
        Stranger(has_left)
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
