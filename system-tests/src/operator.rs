//! What an operator does to a Kafka behind the back of the programs that run on it: topics made with
//! other settings than ours, deleted, or made wider.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bps_streams::broker::kafka::{KafkaBroker, KafkaConfig};
use bps_streams::broker::{Broker, TopicDescription};
use rdkafka::ClientConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigSource, NewPartitions, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::DefaultClientContext;

use crate::installation::PATIENCE;
use crate::processes::tell;
use crate::rigs::kafka_address;

/// See the module.
pub struct Operator {
    admin: AdminClient<DefaultClientContext>,
    options: AdminOptions,
}

impl Operator {
    /// Of the Kafka of the run, and a client of its own of it; says so where the run has none.
    pub fn on_kafka(test: &str) -> Option<(Operator, Arc<dyn Broker>)> {
        let Some(address) = kafka_address() else {
            tell(format_args!("{test}: did not run on Kafka (BPS_NO_KAFKA)"));
            return None;
        };
        let admin = ClientConfig::new().set("bootstrap.servers", &address).create().unwrap();
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
        let broker = KafkaBroker::new(KafkaConfig::new(address));
        Some((Operator { admin, options }, Arc::new(broker)))
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
        let TopicDescription { partitions, .. } = description;
        self.create(topic, partitions, &[("retention.ms", "-1")]);
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
}
