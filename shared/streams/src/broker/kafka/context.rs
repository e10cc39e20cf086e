//! What librdkafka calls back: logs, errors, and rebalances, which are only noted here.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rdkafka::ClientContext;
use rdkafka::TopicPartitionList;
use rdkafka::bindings::rd_kafka_resp_err_t as RespErr;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::producer::{DeliveryResult, ProducerContext};

use super::lock;
use crate::broker::{GroupEvent, TopicPartition};

/// How librdkafka begins to say that a broker does not let it in.
const REFUSALS: [&str; 6] = [
    "SASL authentication error",
    "mechanism handshake failed",
    "SSL handshake failed",
    "Failed to verify broker certificate",
    "did not provide a certificate",
    "security.protocol",
];

/// The context of every client.
#[derive(Default)]
pub(super) struct Context {
    /// What the group has told and the worker has not heard yet.
    pub(super) events: Mutex<VecDeque<GroupEvent>>,
    /// An error after which the client is of no use.
    pub(super) fatal: Mutex<Option<KafkaError>>,
    /// The client is being closed: nobody will answer a rebalance any more.
    pub(super) closing: AtomicBool,
    /// A connection was lost since this was last looked at.
    pub(super) disconnected: AtomicBool,
    /// A record could not be delivered, and where to.
    pub(super) delivery_failed: Mutex<Option<(KafkaError, TopicPartition)>>,
    /// Why brokers do not let it in, as it was last logged.
    refused: Mutex<String>,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // What librdkafka logs of a connection that is no more, whatever closed it. It tells no
        // error of one that the other side has just closed.
        if facility == "FAIL" {
            self.disconnected.store(true, Ordering::Relaxed);
            // It would look like a broker that is away; and trying again will not mend it. (An
            // error is told only to clients that poll, a log line to all.)
            let sign = REFUSALS.iter().find_map(|sign| message.find(sign));
            // librdkafka says itself that this is mostly no fault of TLS.
            if let Some(at) = sign.filter(|_| !message.contains("failed: Disconnected")) {
                self.tell_refused(&message[at..]);
            }
        }
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(target: "librdkafka", facility, "{message}");
            }
            // librdkafka calls each refused connection an error; the engine says itself, once,
            // what it waits for.
            RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => {
                tracing::debug!(target: "librdkafka", facility, "{message}");
            }
            _ => tracing::trace!(target: "librdkafka", facility, "{message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::Fatal) => {
                tracing::error!(target: "librdkafka", %error, reason, "fatal");
                *lock(&self.fatal) = Some(error);
            }
            _ => {
                self.disconnected.store(true, Ordering::Relaxed);
                tracing::debug!(target: "librdkafka", %error, reason);
            }
        }
    }
}

impl Context {
    /// Logs, once, why brokers do not let the client in.
    fn tell_refused(&self, why: &str) {
        // How long that took changes each time.
        let why = why.split(" (after ").next().unwrap_or(why);
        let mut refused = lock(&self.refused);
        if *refused != why {
            tracing::warn!("the broker does not let this program in: {why}");
            why.clone_into(&mut refused);
        }
    }
}

impl ConsumerContext for Context {
    /// Notes the event and leaves the assignment as it is: the worker answers with `assign` or
    /// `release`, after it has committed what was open. librdkafka waits for that.
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        error: RespErr,
        partitions: &mut TopicPartitionList,
    ) {
        if self.closing.load(Ordering::Relaxed) {
            // Without this answer the close would wait for ever.
            if let Err(error) = consumer.unassign() {
                tracing::debug!(%error, "close");
            }
            return;
        }
        let event = match error {
            RespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                let elements = partitions.elements();
                let at =
                    elements.iter().map(|e| TopicPartition::new(e.topic(), e.partition() as u32));
                GroupEvent::Assigned(at.collect())
            }
            _ if consumer.assignment_lost() => GroupEvent::Lost,
            _ => GroupEvent::Revoking,
        };
        lock(&self.events).push_back(event);
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    /// Only failures are reported (`delivery.report.only.error`).
    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, message)) = result {
            let at = || TopicPartition::new(message.topic(), message.partition() as u32);
            lock(&self.delivery_failed).get_or_insert_with(|| (error.clone(), at()));
        }
    }
}
