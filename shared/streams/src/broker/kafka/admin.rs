//! Topics and groups of a Kafka cluster.

use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::{ANSWER, KafkaConfig, Shared, failed, hear};
use crate::broker::{
    BrokerError, CleanupPolicy, Isolation, Result, TopicDescription, TopicPartition,
};

/// How long a topic just created may be unknown to the brokers.
const KNOWN: Duration = Duration::from_secs(20);

fn client(config: &KafkaConfig) -> Result<AdminClient<DefaultClientContext>> {
    config.client().create().map_err(|e| failed("connect", &e))
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(ANSWER))
        .operation_timeout(Some(Duration::from_secs(10)))
}

/// A topic's answer that is an error.
fn refused(what: &'static str, name: &str, code: RDKafkaErrorCode) -> BrokerError {
    let error = failed(what, &KafkaError::AdminOp(code));
    match error {
        BrokerError::Unavailable { .. } => error,
        _ => BrokerError::Fatal { what, cause: format!("{name}: {code}") },
    }
}

/// Creates a topic, and waits until brokers know it: a question for its offsets that came sooner
/// would be told that there is no such topic.
pub(super) fn create_topic(shared: &Shared, topic: &TopicDescription) -> Result<()> {
    let deadline = Instant::now() + KNOWN;
    create(&shared.config, topic)?;
    // Its partitions become known together.
    let first = TopicPartition::new(&topic.name, 0);
    while shared.leader(&first)?.is_none_or(|leader| leader < 0) {
        if Instant::now() > deadline {
            let cause = format!("{} was created, but brokers do not know it yet", topic.name);
            return Err(BrokerError::Unavailable { what: "create topic", cause });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn create(config: &KafkaConfig, topic: &TopicDescription) -> Result<()> {
    let replication = TopicReplication::Fixed(-1);
    let mut new = NewTopic::new(&topic.name, topic.partitions as i32, replication);
    // "For ever" must be said: Kafka's default would delete what is stamped in the past at once.
    let retention = match topic.cleanup {
        CleanupPolicy::Delete { retention_ms: Some(ms) } => ms.to_string(),
        _ => "-1".to_owned(),
    };
    new = match topic.cleanup {
        CleanupPolicy::Compact => new.set("cleanup.policy", "compact"),
        CleanupPolicy::Delete { .. } => new.set("retention.ms", &retention),
    };
    // So must "no bound": Kafka's default since 4.0 is an hour.
    let future = topic.future_max_ms.and_then(|ms| i64::try_from(ms).ok());
    let future = future.unwrap_or(i64::MAX).to_string();
    new = new.set("message.timestamp.after.max.ms", &future);
    let admin = client(config)?;
    let created = pollster::block_on(admin.create_topics([&new], &options()));
    match created.map_err(|e| failed("create topic", &e))?.pop() {
        None | Some(Ok(_)) => Ok(()),
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(()),
        Some(Err((name, code))) => Err(refused("create topic", &name, code)),
    }
}

pub(super) fn delete_group(config: &KafkaConfig, group: &str) -> Result<()> {
    let admin = client(config)?;
    let deleted = pollster::block_on(admin.delete_groups(&[group], &options()));
    match deleted.map_err(|e| failed("delete group", &e))?.pop() {
        None | Some(Ok(_)) => Ok(()),
        Some(Err((_, RDKafkaErrorCode::GroupIdNotFound))) => Ok(()),
        Some(Err((name, code))) => Err(refused("delete group", &name, code)),
    }
}

pub(super) fn describe_topics(
    shared: &Shared,
    names: &[&str],
) -> Result<Vec<Option<TopicDescription>>> {
    let questioner = shared.questioner(Isolation::ReadCommitted, None)?;
    let metadata = questioner.fetch_metadata(None, ANSWER).map_err(|error| {
        hear(&questioner);
        failed("topics", &error)
    })?;
    let found = metadata.topics().iter().filter(|t| {
        let wanted = names.is_empty() || names.contains(&t.name());
        // Kafka's own topics are nobody's business.
        wanted && t.error().is_none() && !t.name().starts_with("__")
    });
    let found: Vec<(String, u32)> =
        found.map(|t| (t.name().to_owned(), t.partitions().len() as u32)).collect();
    let specifiers: Vec<_> = found.iter().map(|(name, _)| ResourceSpecifier::Topic(name)).collect();
    let mut described = Vec::new();
    if !specifiers.is_empty() {
        let admin = client(&shared.config)?;
        let configs = pollster::block_on(admin.describe_configs(&specifiers, &options()));
        let configs = configs.map_err(|e| failed("topics", &e))?;
        for ((name, partitions), config) in found.into_iter().zip(configs) {
            let config = config.map_err(|code| refused("topics", &name, code))?;
            described.push(description(name, partitions, &config));
        }
    }
    if names.is_empty() {
        return Ok(described.into_iter().map(Some).collect());
    }
    Ok(names.iter().map(|name| described.iter().find(|d| d.name == *name).cloned()).collect())
}

fn description(name: String, partitions: u32, config: &ConfigResource) -> TopicDescription {
    let value = |key: &str| config.get(key).and_then(|entry| entry.value.clone());
    let number = |key: &str| value(key).and_then(|v| v.parse::<i64>().ok());
    let compacted = value("cleanup.policy").is_some_and(|policy| policy == "compact");
    let retention_ms = number("retention.ms").and_then(|ms| u64::try_from(ms).ok());
    let cleanup = match compacted {
        true => CleanupPolicy::Compact,
        false => CleanupPolicy::Delete { retention_ms },
    };
    // Kafka's "no bound" is the largest number.
    let future_max_ms = number("message.timestamp.after.max.ms")
        .filter(|ms| *ms < i64::MAX)
        .and_then(|ms| u64::try_from(ms).ok());
    TopicDescription { name, partitions, cleanup, future_max_ms }
}
