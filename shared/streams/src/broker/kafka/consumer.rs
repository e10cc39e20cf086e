//! A group member on Kafka: static, eager `range` assignment, a queue per partition.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{CommitMode, Consumer as _, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, Offset};

use super::fetcher::Client;
use super::ffi::Queue;
use super::{Shared, failed, lock};
use crate::broker::slots::Slots;
use crate::broker::{
    BrokerError, Consumer, ConsumerOptions, GroupEvent, Membership, Now, OffsetCommit, Result,
    TopicPartition,
};
use crate::record::Batch;

/// Messages that a member fetches ahead.
const AHEAD: usize = 80_000;

pub(super) struct KafkaConsumer {
    // Queues are dropped before the client they belong to: fields drop in this order.
    slots: Slots<Client>,
    _common: Queue,
    client: Client,
    options: ConsumerOptions,
    generation: i64,
}

impl KafkaConsumer {
    pub(super) fn new(shared: Arc<Shared>, options: ConsumerOptions) -> Result<Self> {
        let config = member_config(&shared, &options);
        let client = Client::new(shared, &config, "consumer")?;
        let common = client.common_queue()?;
        let topics: Vec<&str> = options.topics.iter().map(String::as_str).collect();
        client.consumer.subscribe(&topics).map_err(|e| failed("subscribe", &e))?;
        Ok(Self { slots: Slots::default(), _common: common, client, options, generation: 0 })
    }

    /// Serves the group once; errors of the connection are librdkafka's to mend.
    fn serve(&self) -> Result<()> {
        while let Some(polled) = self.client.consumer.poll(Duration::ZERO) {
            let Err(error) = polled else { continue };
            match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::FencedInstanceId) => {
                    return Err(failed("group", &error));
                }
                _ if matches!(error, KafkaError::MessageConsumptionFatal(_)) => {
                    let cause = error.to_string();
                    return Err(BrokerError::Fatal { what: "group", cause });
                }
                _ => tracing::debug!(%error, "group"),
            }
        }
        match lock(&self.client.consumer.context().fatal).take() {
            None => Ok(()),
            Some(error) => {
                let cause = self.fatal_cause(&error);
                match cause.contains("group.instance.id") || cause.contains("FENCED") {
                    true => Err(BrokerError::Fenced { what: "group", cause }),
                    false => Err(BrokerError::Fatal { what: "group", cause }),
                }
            }
        }
    }

    fn fatal_cause(&self, error: &KafkaError) -> String {
        match self.client.consumer.client().fatal_error() {
            Some((code, text)) => format!("{code}: {text}"),
            None => error.to_string(),
        }
    }

    fn next_event(&mut self) -> Option<GroupEvent> {
        let event = lock(&self.client.consumer.context().events).pop_front()?;
        if matches!(event, GroupEvent::Assigned(_)) {
            self.generation += 1;
        }
        Some(event)
    }
}

fn member_config(shared: &Shared, options: &ConsumerOptions) -> ClientConfig {
    let partitions = options.topics.len() * options.partitions as usize;
    let mut config = shared.config.fetcher(partitions, AHEAD);
    config
        .set("group.id", &options.group)
        .set("group.instance.id", &options.instance)
        .set("session.timeout.ms", options.session_timeout_ms.to_string())
        // A rebalance is over as soon as every member has heard of it.
        .set("heartbeat.interval.ms", "500")
        .set("partition.assignment.strategy", "range")
        .set("isolation.level", "read_committed");
    // It cannot be shorter than a session.
    let interval_ms = config.get("max.poll.interval.ms").and_then(|ms| ms.parse::<u64>().ok());
    if interval_ms.is_some_and(|ms| ms < options.session_timeout_ms) {
        config.set("max.poll.interval.ms", options.session_timeout_ms.to_string());
    }
    config
}

impl Consumer for KafkaConsumer {
    fn poll(&mut self, _now: Now, wait: Duration) -> Result<GroupEvent> {
        self.serve()?;
        if let Some(event) = self.next_event() {
            return Ok(event);
        }
        if !self.slots.take_more() {
            self.client.wait(wait);
        }
        self.serve()?;
        Ok(self.next_event().unwrap_or(GroupEvent::None))
    }

    fn assign(&mut self, from: &[(TopicPartition, u64)]) -> Result<()> {
        self.slots.assign(&mut self.client, from)
    }

    fn fetch(&mut self, slot: usize, bytes_max: usize, batch: &mut Batch) -> Result<u64> {
        self.slots.fetch(&mut self.client, slot, bytes_max, batch)
    }

    fn release(&mut self) -> Result<()> {
        self.slots.clear();
        self.client.consumer.unassign().map_err(|e| failed("release", &e))
    }

    fn membership(&self) -> Membership {
        // Asked anew for every commit: a cached one goes stale.
        let native = self.client.consumer.group_metadata();
        let native = native.map(|m| Arc::new(m) as Arc<dyn std::any::Any + Send + Sync>);
        Membership {
            // librdkafka does not tell the generation; this member's assignments are counted.
            generation: (self.generation > 0).then_some(self.generation),
            member: self.options.instance.clone(),
            group: self.options.group.clone(),
            native,
        }
    }

    fn commit(&mut self, offsets: &[OffsetCommit]) -> Result<()> {
        let list = offset_list(offsets)?;
        let outcome = self.client.consumer.commit(&list, CommitMode::Sync);
        outcome.map_err(|error| match error.rdkafka_error_code() {
            // Asked again it would be refused again: the member has to hear of it first.
            Some(
                RDKafkaErrorCode::UnknownMemberId
                | RDKafkaErrorCode::IllegalGeneration
                | RDKafkaErrorCode::RebalanceInProgress,
            ) => BrokerError::Fenced { what: "commit offsets", cause: error.to_string() },
            _ => failed("commit offsets", &error),
        })
    }

    fn leave(&mut self, now: Now) -> Result<()> {
        // A static member does not leave by closing: it must unsubscribe, and be heard.
        self.client.consumer.unsubscribe();
        for _ in 0..100 {
            if self.poll(now, Duration::from_millis(20))? == GroupEvent::Revoking {
                break;
            }
        }
        self.release()
    }
}

impl Drop for KafkaConsumer {
    fn drop(&mut self) {
        self.client.consumer.context().closing.store(true, Ordering::Relaxed);
    }
}

/// The group's own view of this member, as the transaction needs it.
pub(super) fn native(membership: &Membership) -> Option<&ConsumerGroupMetadata> {
    membership.generation?;
    membership.native.as_ref()?.downcast_ref()
}

pub(super) fn offset_list(offsets: &[OffsetCommit]) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::with_capacity(offsets.len());
    for OffsetCommit { partition: at, committed } in offsets {
        let mut element = list.add_partition(&at.topic, at.partition as i32);
        element.set_metadata(committed.metadata.as_str());
        let set = element.set_offset(Offset::Offset(committed.offset as i64));
        set.map_err(|e| failed("commit offsets", &e))?;
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use rdkafka::bindings::rd_kafka_resp_err_t::{
        RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION, RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS,
        RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID,
    };
    use rdkafka::mocking::MockCluster;
    use rdkafka::types::RDKafkaApiKey;

    use super::*;
    use crate::broker::kafka::{KafkaBroker, KafkaConfig};
    use crate::broker::{Broker as _, CommittedOffset};

    fn options(session_timeout_ms: u64) -> ConsumerOptions {
        ConsumerOptions {
            group: "g".to_owned(),
            instance: "one".to_owned(),
            topics: vec!["t".to_owned()],
            partitions: 1,
            session_timeout_ms,
        }
    }

    #[test]
    fn a_session_may_be_longer_than_the_time_between_polls() {
        // Nobody is there; settings that cannot be are refused all the same.
        let broker = KafkaBroker::new(KafkaConfig::new("127.0.0.1:1"));
        broker.consumer(options(1_800_000)).expect("a member");
    }

    #[test]
    fn a_commit_of_offsets_by_who_is_no_member_any_more_is_told_as_such() {
        let cluster = MockCluster::new(1).expect("cluster");
        cluster.create_topic("t", 1, 1).expect("topic");
        let broker = KafkaBroker::new(KafkaConfig::new(cluster.bootstrap_servers()));
        let mut member = broker.consumer(options(6_000)).expect("a member");
        let partition = TopicPartition::new("t", 0);
        let step = Duration::from_millis(20);
        let assigned = GroupEvent::Assigned(vec![partition.clone()]);
        let polled = (0..1_000).map(|_| member.poll(Now::default(), step).expect("a poll"));
        assert!({ polled }.any(|event| event == assigned), "it is never assigned");
        member.assign(&[(partition.clone(), 0)]).expect("assigned");
        let committed = CommittedOffset { offset: 7, metadata: String::new() };
        let offsets = [OffsetCommit { partition, committed }];
        for code in [
            RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID,
            RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION,
            RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS,
        ] {
            cluster.request_errors(RDKafkaApiKey::OffsetCommit, &[code]);
            let error = member.commit(&offsets).expect_err("refused");
            assert!(matches!(error, BrokerError::Fenced { .. }), "{error}");
        }
    }
}
