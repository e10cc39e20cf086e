//! Apache Kafka behind the port, by librdkafka: the only module of the engine that names it.
//!
//! [`config`] says what may be set and what may not; `ffi` is the only place with unsafe code.
//! The traps that this code steps around are explained where it does.

mod admin;
mod appender;
pub mod config;
mod consumer;
mod context;
mod fetcher;
#[allow(unsafe_code)]
mod ffi;
mod producer;
mod reader;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

pub use self::config::{ConfigError, KafkaConfig};
use self::context::Context;
use super::alternating::AlternatingProducer;
use super::{
    Appender, Broker, BrokerError, CommittedOffset, Consumer, ConsumerOptions, Isolation, Now,
    OffsetSpec, Producer, ProducerMode, Reader, Result, TopicDescription, TopicIdentity,
    TopicPartition, TopicSettings,
};

/// How long one question to the cluster may take.
const ANSWER: Duration = Duration::from_secs(5);

/// A Kafka cluster. Clones share its connections.
#[derive(Clone)]
pub struct KafkaBroker {
    shared: Arc<Shared>,
}

struct Shared {
    config: KafkaConfig,
    /// Clients that never fetch, so that no question waits behind a parked fetch, and never join.
    /// One for each isolation, since it decides which end is told, and for each group.
    questioners: Mutex<HashMap<Questions, Arc<BaseConsumer<Context>>>>,
}

type Questions = (Isolation, Option<String>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sorts librdkafka's errors by what can be done about them.
fn failed(what: &'static str, error: &KafkaError) -> BrokerError {
    let cause = error.to_string();
    let code = match error {
        // The binding tells no code of these.
        KafkaError::AdminOp(code) => Some(*code),
        _ => error.rdkafka_error_code(),
    };
    match code {
        Some(
            RDKafkaErrorCode::FencedInstanceId
            | RDKafkaErrorCode::ProducerFenced
            | RDKafkaErrorCode::InvalidProducerEpoch
            | RDKafkaErrorCode::Fenced
            // The client is of no use any more, which for a producer means that it was fenced.
            | RDKafkaErrorCode::Fatal,
        ) => BrokerError::Fenced { what, cause },
        Some(
            RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::TransactionalIdAuthorizationFailed
            | RDKafkaErrorCode::InvalidArgument
            | RDKafkaErrorCode::InvalidTransactionTimeout
            | RDKafkaErrorCode::InvalidConfig
            | RDKafkaErrorCode::InvalidPartitions
            | RDKafkaErrorCode::InvalidReplicationFactor
            | RDKafkaErrorCode::InvalidTopic
            | RDKafkaErrorCode::NonEmptyGroup
            | RDKafkaErrorCode::PolicyViolation
            | RDKafkaErrorCode::UnsupportedFeature,
        ) => BrokerError::Fatal { what, cause },
        _ if matches!(error, KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_)) => {
            BrokerError::Fatal { what, cause }
        }
        _ => BrokerError::Unavailable { what, cause },
    }
}

/// Tells what the broker will never take from what it could not take now.
fn undelivered(what: &'static str, error: &KafkaError, partition: TopicPartition) -> BrokerError {
    match error.rdkafka_error_code() {
        Some(
            RDKafkaErrorCode::InvalidTimestamp
            | RDKafkaErrorCode::InvalidRecord
            | RDKafkaErrorCode::MessageSizeTooLarge,
        ) => BrokerError::Refused { partition, cause: error.to_string() },
        _ if is_unknown(error) => BrokerError::UnknownPartition(partition),
        _ => failed(what, error),
    }
}

impl KafkaBroker {
    /// A cluster. Nothing is connected yet: a cluster that is away is waited for by each call's
    /// caller.
    pub fn new(config: KafkaConfig) -> KafkaBroker {
        let shared = Shared { config, questioners: Mutex::default() };
        KafkaBroker { shared: Arc::new(shared) }
    }
}

impl Shared {
    fn questioner(
        &self,
        isolation: Isolation,
        group: Option<&str>,
    ) -> Result<Arc<BaseConsumer<Context>>> {
        let mut questioners = lock(&self.questioners);
        let key = (isolation, group.map(str::to_owned));
        if let Some(client) = questioners.get(&key) {
            return Ok(client.clone());
        }
        let mut config = self.config.client();
        config.set("isolation.level", level(isolation));
        if let Some(group) = group {
            config.set("group.id", group).set("enable.auto.commit", "false");
        }
        let client: BaseConsumer<Context> =
            config.create_with_context(Context::default()).map_err(|e| failed("connect", &e))?;
        let client = Arc::new(client);
        questioners.insert(key, client.clone());
        Ok(client)
    }

    /// As [`Broker::offsets`]. A client whose cache lacks a topic for a moment (it was just made, or
    /// the answer that is waited for is late) says that there is none, and a broker that has just
    /// been named leader says that it is not: the brokers are asked which partitions there are.
    fn offsets(&self, partitions: &[TopicPartition], spec: OffsetSpec) -> Result<Vec<u64>> {
        let deadline = Instant::now() + ANSWER;
        loop {
            let at = match self.ask_offsets(partitions, spec) {
                Err(BrokerError::UnknownPartition(at)) if self.leader(&at)?.is_some() => at,
                other => return other,
            };
            if Instant::now() > deadline {
                let cause = format!("{at} is there, but no offset of it is told");
                return Err(BrokerError::Unavailable { what: "offsets", cause });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Who leads a partition, negative while nobody does; none where there is no such partition.
    fn leader(&self, at: &TopicPartition) -> Result<Option<i32>> {
        let client = self.questioner(Isolation::ReadCommitted, None)?;
        let metadata = client.fetch_metadata(Some(&at.topic), ANSWER);
        let metadata = metadata.map_err(|e| failed("topics", &e))?;
        let mut partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
        Ok(partitions.find(|p| p.id() == at.partition as i32).map(|p| p.leader()))
    }

    /// Asks once. A partition whose leader is only being found is told of as unknown.
    fn ask_offsets(&self, partitions: &[TopicPartition], spec: OffsetSpec) -> Result<Vec<u64>> {
        let (isolation, asked) = match spec {
            OffsetSpec::Start => (Isolation::ReadCommitted, Offset::Beginning),
            OffsetSpec::End(isolation) => (isolation, Offset::End),
            OffsetSpec::Timestamp(at) => (Isolation::ReadCommitted, Offset::Offset(at.max(0))),
        };
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let error = |e| failed("offsets", &e);
        let client = self.questioner(isolation, None)?;
        // Serves the client's log and error events, which nobody else polls.
        drop(client.poll(Duration::ZERO));
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for at in partitions {
            list.add_partition_offset(&at.topic, at.partition as i32, asked).map_err(error)?;
        }
        let answer = client.offsets_for_times(list, ANSWER).map_err(|e| match is_lost(&e) {
            // Told of the whole question where no partition of it has an answer.
            true => BrokerError::UnknownPartition(partitions[0].clone()),
            false => error(e),
        })?;
        let mut offsets = Vec::with_capacity(partitions.len());
        for at in partitions {
            let found = answer.find_partition(&at.topic, at.partition as i32);
            let found = found.ok_or_else(|| BrokerError::UnknownPartition(at.clone()))?;
            match (found.error(), found.offset()) {
                (Ok(()), Offset::Offset(offset)) => offsets.push(offset as u64),
                // No record is as young as that: the end.
                (Ok(()), _) => {
                    let end = OffsetSpec::End(Isolation::ReadCommitted);
                    offsets.extend(self.ask_offsets(std::slice::from_ref(at), end)?);
                }
                (Err(e), _) if is_lost(&e) => {
                    return Err(BrokerError::UnknownPartition(at.clone()));
                }
                (Err(e), _) => return Err(failed("offsets", &e)),
            }
        }
        Ok(offsets)
    }

    /// What a group has committed. One that reads committed records waits for the offsets of open
    /// transactions.
    fn offsets_of_group(
        &self,
        group: &str,
        partitions: &[TopicPartition],
        isolation: Isolation,
    ) -> Result<Vec<Option<CommittedOffset>>> {
        let error = |e| failed("committed offsets", &e);
        let client = self.questioner(isolation, Some(group))?;
        drop(client.poll(Duration::ZERO));
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for at in partitions {
            list.add_partition(&at.topic, at.partition as i32);
        }
        let answer = client.committed_offsets(list, ANSWER).map_err(error)?;
        partitions
            .iter()
            .map(|at| {
                let found = answer.find_partition(&at.topic, at.partition as i32);
                let found = found.ok_or_else(|| BrokerError::UnknownPartition(at.clone()))?;
                found.error().map_err(error)?;
                Ok(match found.offset() {
                    Offset::Offset(offset) => Some(CommittedOffset {
                        offset: offset as u64,
                        metadata: found.metadata().to_owned(),
                    }),
                    _ => None,
                })
            })
            .collect()
    }
}

/// As librdkafka calls it.
fn level(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::ReadCommitted => "read_committed",
        Isolation::ReadUncommitted => "read_uncommitted",
    }
}

/// What a client logs waits in it until it is polled, which one that only asks never is: why it
/// gets no answer may be there.
fn hear(client: &BaseConsumer<Context>) {
    const LINES_MAX: usize = 100;
    for _ in 0..LINES_MAX {
        drop(client.poll(Duration::ZERO));
    }
}

/// Whether a partition is unknown, or its leader not where it was asked for; the client asks no
/// second time then.
fn is_lost(error: &KafkaError) -> bool {
    is_unknown(error)
        || matches!(
            error.rdkafka_error_code(),
            Some(
                RDKafkaErrorCode::NotLeaderForPartition
                    | RDKafkaErrorCode::LeaderNotAvailable
                    | RDKafkaErrorCode::ReplicaNotAvailable
                    | RDKafkaErrorCode::OffsetNotAvailable
            )
        )
}

fn is_unknown(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownPartition
                | RDKafkaErrorCode::UnknownTopic
        )
    )
}

impl Broker for KafkaBroker {
    fn cluster_id(&self) -> Result<String> {
        let client = self.shared.questioner(Isolation::ReadCommitted, None)?;
        client.client().fetch_cluster_id(ANSWER).ok_or_else(|| {
            hear(&client);
            let cause = format!("no answer from {}", self.shared.config.bootstrap());
            BrokerError::Unavailable { what: "cluster id", cause }
        })
    }

    fn consumer(&self, options: ConsumerOptions) -> Result<Box<dyn Consumer>> {
        Ok(Box::new(consumer::KafkaConsumer::new(self.shared.clone(), options)?))
    }

    fn producer(&self, mode: ProducerMode) -> Result<Box<dyn Producer>> {
        Ok(match mode {
            ProducerMode::Transactional { id } => Box::new(AlternatingProducer::open(&id, |id| {
                producer::KafkaProducer::new(self.shared.clone(), Some(id))
            })?),
            ProducerMode::AtLeastOnce => {
                Box::new(producer::KafkaProducer::new(self.shared.clone(), None)?)
            }
        })
    }

    fn appender(&self) -> Result<Box<dyn Appender>> {
        Ok(Box::new(appender::KafkaAppender::new(&self.shared.config)?))
    }

    fn reader(
        &self,
        from: &[(TopicPartition, u64)],
        isolation: Isolation,
    ) -> Result<Box<dyn Reader>> {
        Ok(Box::new(reader::KafkaReader::new(self.shared.clone(), from, isolation)?))
    }

    fn offsets(&self, partitions: &[TopicPartition], spec: OffsetSpec) -> Result<Vec<u64>> {
        self.shared.offsets(partitions, spec)
    }

    fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<CommittedOffset>>> {
        self.shared.offsets_of_group(group, partitions, Isolation::ReadCommitted)
    }

    fn committed_so_far(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<CommittedOffset>>> {
        self.shared.offsets_of_group(group, partitions, Isolation::ReadUncommitted)
    }

    fn describe_topics(&self, names: &[&str]) -> Result<Vec<Option<TopicDescription>>> {
        admin::describe_topics(&self.shared, names)
    }

    fn identify_topics(&self, names: &[&str]) -> Result<Vec<Option<TopicIdentity>>> {
        admin::identify_topics(&self.shared, names)
    }

    fn topic_settings(&self, names: &[&str]) -> Result<Vec<TopicSettings>> {
        admin::topic_settings(&self.shared, names)
    }

    fn create_topic(&self, topic: &TopicDescription) -> Result<()> {
        admin::create_topic(&self.shared, topic)
    }

    fn delete_group(&self, group: &str) -> Result<()> {
        lock(&self.shared.questioners).retain(|(_, name), _| name.as_deref() != Some(group));
        admin::delete_group(&self.shared.config, group)
    }

    fn maintain(&self, _now: Now) -> Result<()> {
        // The cluster keeps its own clock.
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::bindings::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION;
    use rdkafka::mocking::MockCluster;
    use rdkafka::types::RDKafkaApiKey;

    use super::*;

    /// A real broker says so for some milliseconds after a topic is made; this one does as told.
    #[test]
    fn a_leader_that_does_not_know_it_yet_is_asked_again() {
        let cluster = MockCluster::new(1).expect("cluster");
        cluster.create_topic("t", 2, 1).expect("topic");
        let broker = KafkaBroker::new(KafkaConfig::new(cluster.bootstrap_servers()));
        let partitions = [TopicPartition::new("t", 0), TopicPartition::new("t", 1)];
        let ask = || broker.offsets(&partitions, OffsetSpec::End(Isolation::ReadCommitted));
        assert_eq!(ask().expect("offsets"), [0, 0]);
        let errors = [RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION; 2];
        cluster.request_errors(RDKafkaApiKey::ListOffsets, &errors);
        assert_eq!(ask().expect("offsets"), [0, 0]);
    }
}
