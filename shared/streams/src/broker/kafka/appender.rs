//! What services write with on Kafka: idempotent, acks=all, acknowledged one by one.

use std::sync::Mutex;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::{Header as KafkaHeader, Message as _, OwnedHeaders};
use rdkafka::producer::{
    BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer,
};

use super::context::Context;
use super::{KafkaConfig, failed, lock, undelivered};
use crate::broker::{Ack, Appender, Result, TopicPartition, check_time};
use crate::record::Outgoing;

/// A record that is not acknowledged by then fails.
const MESSAGE_TIMEOUT_MS: u64 = 10_000;

/// Calls each record's ack.
#[derive(Default)]
struct Acks {
    context: Context,
}

impl ClientContext for Acks {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.context.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.context.error(error, reason);
    }
}

impl ProducerContext for Acks {
    type DeliveryOpaque = Box<Mutex<Option<Ack>>>;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: Self::DeliveryOpaque) {
        let Some(ack) = lock(&opaque).take() else {
            return;
        };
        ack(match result {
            Ok(message) => Ok(message.offset().max(0) as u64),
            Err((error, message)) => {
                let at = TopicPartition::new(message.topic(), message.partition() as u32);
                Err(undelivered("append", error, at))
            }
        });
    }
}

pub(super) struct KafkaAppender {
    producer: ThreadedProducer<Acks>,
}

impl KafkaAppender {
    pub(super) fn new(config: &KafkaConfig) -> Result<Self> {
        let mut config = config.writer();
        config.set("message.timeout.ms", MESSAGE_TIMEOUT_MS.to_string());
        let producer = config.create_with_context(Acks::default());
        Ok(Self { producer: producer.map_err(|e| failed("appender", &e))? })
    }
}

impl Appender for KafkaAppender {
    fn append(&self, record: Outgoing<'_>, ack: Ack) -> Result<()> {
        check_time(&record)?;
        let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
        for (key, value) in record.headers {
            headers = headers.insert(KafkaHeader { key, value: *value });
        }
        let opaque = Box::new(Mutex::new(Some(ack)));
        let mut message = BaseRecord::<[u8], [u8], _>::with_opaque_to(record.topic, opaque)
            .partition(record.partition as i32)
            .timestamp(record.timestamp)
            .headers(headers);
        message.key = record.key;
        message.payload = record.value;
        let at = TopicPartition::new(record.topic, record.partition);
        self.producer.send(message).map_err(|(error, _)| undelivered("append", &error, at))
    }
}

impl Drop for KafkaAppender {
    fn drop(&mut self) {
        // What was taken is still delivered, as far as the cluster is there.
        if let Err(error) = self.producer.flush(Duration::from_secs(5)) {
            tracing::warn!(%error, "records were not delivered before the end");
        }
    }
}
