//! Topics and groups of a Kafka cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::{Metadata, MetadataTopic};

use super::ffi::{self, Identified};
use super::{ANSWER, KafkaConfig, Shared, failed, hear};
use crate::broker::{
    BrokerError, CleanupPolicy, Copies, Isolation, Result, TOMBSTONES_MS, Timestamps,
    TopicDescription, TopicIdentity, TopicPartition, TopicSettings,
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
    create(shared, topic)?;
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

fn create(shared: &Shared, topic: &TopicDescription) -> Result<()> {
    let brokers = metadata(shared)?.brokers().len() as u32;
    let replicas = Copies::replicas_wanted(brokers);
    let replication = TopicReplication::Fixed(replicas as i32);
    let settings = settings_wanted(topic, replicas);
    let mut new = NewTopic::new(&topic.name, topic.partitions as i32, replication);
    for (key, value) in &settings {
        new = new.set(key, value);
    }
    let admin = client(&shared.config)?;
    let created = pollster::block_on(admin.create_topics([&new], &options()));
    match created.map_err(|e| failed("create topic", &e))?.pop() {
        None | Some(Ok(_)) => Ok(()),
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(()),
        Some(Err((name, code))) => Err(refused("create topic", &name, code)),
    }
}

/// All that a record's fate depends on is said: what is not said is as the cluster has it. (Whether
/// a leader may be unclean is not everyone's to say; the check of topics tells of it.)
fn settings_wanted(topic: &TopicDescription, replicas: u32) -> Vec<(&'static str, String)> {
    let ms = |ms: Option<u64>, without: i64| {
        ms.and_then(|ms| i64::try_from(ms).ok()).unwrap_or(without).to_string()
    };
    let (policy, retention_ms) = match topic.cleanup {
        CleanupPolicy::Delete { retention_ms } => ("delete", retention_ms),
        CleanupPolicy::Compact => ("compact", None),
        CleanupPolicy::CompactAndDelete { retention_ms } => ("compact,delete", retention_ms),
    };
    vec![
        ("cleanup.policy", policy.to_owned()),
        // Kafka's default would delete what is stamped in the past at once.
        ("retention.ms", ms(retention_ms, -1)),
        ("retention.bytes", "-1".to_owned()),
        ("message.timestamp.type", "CreateTime".to_owned()),
        ("message.timestamp.before.max.ms", i64::MAX.to_string()),
        // Kafka's default since 4.0 is an hour.
        ("message.timestamp.after.max.ms", ms(topic.future_max_ms, i64::MAX)),
        // Where it compacts: Kafka's default is a day.
        ("delete.retention.ms", TOMBSTONES_MS.to_string()),
        ("max.message.bytes", BATCH_BYTES_MAX.to_string()),
        ("min.insync.replicas", Copies::in_sync_wanted(replicas).to_string()),
    ]
}

/// Bytes of the largest batch of records that a topic takes: Kafka's own default.
const BATCH_BYTES_MAX: u64 = 1_048_588;

pub(super) fn delete_group(config: &KafkaConfig, group: &str) -> Result<()> {
    let admin = client(config)?;
    let deleted = pollster::block_on(admin.delete_groups(&[group], &options()));
    match deleted.map_err(|e| failed("delete group", &e))?.pop() {
        None | Some(Ok(_)) => Ok(()),
        Some(Err((_, RDKafkaErrorCode::GroupIdNotFound))) => Ok(()),
        Some(Err((name, code))) => Err(refused("delete group", &name, code)),
    }
}

/// What the cluster tells of its topics and brokers.
fn metadata(shared: &Shared) -> Result<Metadata> {
    let questioner = shared.questioner(Isolation::ReadCommitted, None)?;
    questioner.fetch_metadata(None, ANSWER).map_err(|error| {
        hear(&questioner);
        failed("topics", &error)
    })
}

/// The settings of these topics, which must be there.
fn configs(shared: &Shared, names: &[&str]) -> Result<Vec<ConfigResource>> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let specifiers: Vec<_> = names.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
    let admin = client(&shared.config)?;
    let configs = pollster::block_on(admin.describe_configs(&specifiers, &options()));
    let configs = configs.map_err(|e| failed("topics", &e))?;
    let named = names.iter().zip(configs);
    named.map(|(name, config)| config.map_err(|code| refused("topics", name, code))).collect()
}

pub(super) fn describe_topics(
    shared: &Shared,
    names: &[&str],
) -> Result<Vec<Option<TopicDescription>>> {
    let metadata = metadata(shared)?;
    let found = metadata.topics().iter().filter(|t| {
        let wanted = names.is_empty() || names.contains(&t.name());
        // Kafka's own topics are nobody's business.
        wanted && t.error().is_none() && !t.name().starts_with("__")
    });
    let found: Vec<&MetadataTopic> = found.collect();
    let found_names: Vec<&str> = found.iter().map(|t| t.name()).collect();
    let configs = configs(shared, &found_names)?;
    let described = found.iter().zip(&configs).map(|(t, config)| description(t, config));
    let described: Vec<TopicDescription> = described.collect();
    if names.is_empty() {
        return Ok(described.into_iter().map(Some).collect());
    }
    Ok(names.iter().map(|name| described.iter().find(|d| d.name == *name).cloned()).collect())
}

pub(super) fn identify_topics(
    shared: &Shared,
    names: &[&str],
) -> Result<Vec<Option<TopicIdentity>>> {
    let unique: BTreeSet<&str> = names.iter().copied().collect();
    let named = |name: &&str| {
        let cause = format!("{name:?} is no name of a topic");
        CString::new(*name).map_err(|_| BrokerError::Fatal { what: "topics", cause })
    };
    let asked = unique.iter().map(named).collect::<Result<Vec<_>>>()?;
    let questioner = shared.questioner(Isolation::ReadCommitted, None)?;
    drop(questioner.poll(Duration::ZERO));
    let found = ffi::identify_topics(questioner.client().native_ptr(), &asked, ANSWER);
    let found = found.map_err(|code| {
        hear(&questioner);
        failed("topics", &KafkaError::AdminOp(code.into()))
    })?;
    let found: BTreeMap<&str, Option<Identified>> = unique.into_iter().zip(found).collect();
    let identity = |name: &&str| {
        let (id, partitions) = found.get(name).cloned().flatten()?;
        Some(TopicIdentity { id, partitions })
    };
    Ok(names.iter().map(identity).collect())
}

/// The value of a setting.
fn value(config: &ConfigResource, key: &str) -> Option<String> {
    config.get(key).and_then(|entry| entry.value.clone())
}

/// The value of a bound; Kafka's "no bound" is -1 or the largest number.
fn bound(config: &ConfigResource, key: &str) -> Option<u64> {
    let number = value(config, key)?.parse::<i64>().ok().filter(|number| *number < i64::MAX)?;
    u64::try_from(number).ok()
}

fn description(topic: &MetadataTopic, config: &ConfigResource) -> TopicDescription {
    let policy = value(config, "cleanup.policy").unwrap_or_default();
    // A list, in any order.
    let has = |word: &str| policy.split(',').any(|one| one.trim() == word);
    let retention_ms = bound(config, "retention.ms");
    TopicDescription {
        name: topic.name().to_owned(),
        partitions: topic.partitions().len() as u32,
        cleanup: match (has("compact"), has("delete")) {
            (true, true) => CleanupPolicy::CompactAndDelete { retention_ms },
            (true, false) => CleanupPolicy::Compact,
            (false, _) => CleanupPolicy::Delete { retention_ms },
        },
        future_max_ms: bound(config, "message.timestamp.after.max.ms"),
    }
}

pub(super) fn topic_settings(shared: &Shared, names: &[&str]) -> Result<Vec<TopicSettings>> {
    let metadata = metadata(shared)?;
    let topic = |name: &&str| {
        let mut topics = metadata.topics().iter();
        let found = topics.find(|t| t.error().is_none() && t.name() == *name);
        found.ok_or_else(|| BrokerError::Unavailable {
            what: "topics",
            cause: format!("{name} is not known now"),
        })
    };
    let topics = names.iter().map(topic).collect::<Result<Vec<_>>>()?;
    let brokers = metadata.brokers().len() as u32;
    let both = topics.into_iter().zip(configs(shared, names)?);
    Ok(both.map(|(topic, config)| settings(topic, &config, brokers)).collect())
}

fn settings(topic: &MetadataTopic, config: &ConfigResource, brokers: u32) -> TopicSettings {
    let is = |key: &str, wanted: &str| value(config, key).is_some_and(|value| value == wanted);
    let replicas = topic.partitions().iter().map(|p| p.replicas().len()).min();
    TopicSettings {
        retention_bytes: bound(config, "retention.bytes"),
        timestamps: match is("message.timestamp.type", "LogAppendTime") {
            true => Timestamps::Append,
            false => Timestamps::Create,
        },
        past_max_ms: bound(config, "message.timestamp.before.max.ms"),
        batch_bytes_max: bound(config, "max.message.bytes"),
        tombstones_ms: bound(config, "delete.retention.ms"),
        copies: (brokers > 1).then(|| Copies {
            brokers,
            replicas: replicas.unwrap_or(0) as u32,
            in_sync_min: bound(config, "min.insync.replicas").unwrap_or(1) as u32,
            is_unclean: is("unclean.leader.election.enable", "true"),
        }),
    }
}
