//! A durable log in this process: topics, partitions, groups, transactions; no server, no Java.
//!
//! A commit (records and input offsets) is one synced write batch, so nothing aborted is ever
//! in the log and both isolations see the same. Everything else behaves as on Kafka; the
//! contract suite holds it to that.

mod append;
mod appender;
mod catalogue;
mod codec;
mod consumer;
mod damage;
mod follower;
mod log;
mod producer;
mod reached;
mod read;
mod reader;
mod retention;
mod staged;
mod write;

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use self::follower::Followed;
pub use self::follower::Follower;
use self::log::Log;
use super::{
    Appender, Broker, BrokerError, CommittedOffset, Consumer, ConsumerOptions, Isolation, Now,
    OffsetSpec, Producer, ProducerMode, Reader, Result, TopicDescription, TopicIdentity,
    TopicPartition,
};
use crate::folder::FolderLock;
use crate::partitioner::murmur2;

/// Milliseconds since 1970: the broker's own clock, by which it refuses what is stamped in the
/// future, as a Kafka broker does by its own.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// A log in a folder. Clones share it; the folder is free again when the last one is dropped.
#[derive(Clone)]
pub struct EmbeddedBroker {
    shared: Arc<Shared>,
}

struct Shared {
    log: Log,
    clock: Clock,
    _lock: FolderLock,
}

impl EmbeddedBroker {
    /// Opens the log in `folder`, making it where it is missing.
    ///
    /// # Errors
    /// When another process owns the folder (its pid is named), or the log is damaged.
    pub fn open(folder: &Path) -> Result<EmbeddedBroker> {
        let clock = || {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            since.as_millis() as i64
        };
        Self::open_with_clock(folder, Arc::new(clock))
    }

    /// As [`EmbeddedBroker::open`], with a clock of the caller's.
    ///
    /// # Errors
    /// As [`EmbeddedBroker::open`].
    pub fn open_with_clock(folder: &Path, clock: Clock) -> Result<EmbeddedBroker> {
        let lock = FolderLock::take(folder)
            .map_err(|error| BrokerError::Fatal { what: "open", cause: error.to_string() })?;
        let log = Log::open(&folder.join("log"))?;
        Ok(EmbeddedBroker { shared: Arc::new(Shared { log, clock, _lock: lock }) })
    }

    /// Reads the log in `folder` while another process owns and writes it.
    ///
    /// # Errors
    /// When there is no log in it.
    pub fn follow(folder: &Path) -> Result<Follower> {
        Follower::open(folder)
    }
}

impl Broker for EmbeddedBroker {
    fn cluster_id(&self) -> Result<String> {
        Ok(self.shared.log.cluster().to_owned())
    }

    fn consumer(&self, options: ConsumerOptions) -> Result<Box<dyn Consumer>> {
        Ok(Box::new(consumer::EmbeddedConsumer::new(self.shared.clone(), options)))
    }

    fn producer(&self, mode: ProducerMode) -> Result<Box<dyn Producer>> {
        Ok(Box::new(producer::EmbeddedProducer::new(self.shared.clone(), mode)))
    }

    fn appender(&self) -> Result<Box<dyn Appender>> {
        Ok(Box::new(appender::EmbeddedAppender::start(self.shared.clone())?))
    }

    fn reader(
        &self,
        from: &[(TopicPartition, u64)],
        _isolation: Isolation,
    ) -> Result<Box<dyn Reader>> {
        let shared = self.shared.clone();
        let source = reader::Source::Owned(shared);
        Ok(Box::new(reader::EmbeddedReader::new(source, from)))
    }

    fn offsets(&self, partitions: &[TopicPartition], spec: OffsetSpec) -> Result<Vec<u64>> {
        offsets(&self.shared.log, partitions, spec)
    }

    fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<CommittedOffset>>> {
        self.shared.log.settle()?;
        let state = self.shared.log.state();
        Ok(partitions.iter().map(|at| state.coordinator.offset(group, at)).collect())
    }

    fn describe_topics(&self, names: &[&str]) -> Result<Vec<Option<TopicDescription>>> {
        Ok(describe(&self.shared.log, names))
    }

    fn identify_topics(&self, names: &[&str]) -> Result<Vec<Option<TopicIdentity>>> {
        Ok(identify(&self.shared.log, names))
    }

    fn create_topic(&self, topic: &TopicDescription) -> Result<()> {
        if topic.partitions == 0 {
            let cause = format!("{}: a topic has at least one partition", topic.name);
            return Err(BrokerError::Fatal { what: "create topic", cause });
        }
        self.shared.log.create_topic(topic)
    }

    fn delete_group(&self, group: &str) -> Result<()> {
        self.shared.log.delete_group(group)
    }

    fn maintain(&self, now: Now) -> Result<()> {
        self.shared.log.expire(now.wall_ms)
    }
}

fn offsets(log: &Log, partitions: &[TopicPartition], spec: OffsetSpec) -> Result<Vec<u64>> {
    partitions
        .iter()
        .map(|at| match spec {
            OffsetSpec::Start => log::bounds(&log.state(), at).map(|b| b.start),
            OffsetSpec::End(_) => log::bounds(&log.state(), at).map(|b| b.end),
            OffsetSpec::Timestamp(timestamp) => log.offset_at(at, timestamp),
        })
        .collect()
}

/// Topics are numbered, and none is ever deleted; another log has another name.
fn identify(log: &Log, names: &[&str]) -> Vec<Option<TopicIdentity>> {
    let state = log.state();
    let cluster = murmur2(log.cluster().as_bytes());
    let identity = |name: &&str| {
        let topic = state.topics.get(*name)?;
        let id = format!("{cluster:08x}-{}", topic.id);
        Some(TopicIdentity { id, partitions: topic.description.partitions })
    };
    names.iter().map(identity).collect()
}

fn describe(log: &Log, names: &[&str]) -> Vec<Option<TopicDescription>> {
    let state = log.state();
    if names.is_empty() {
        return state.topics.values().map(|t| Some(t.description.clone())).collect();
    }
    names.iter().map(|name| state.topics.get(*name).map(|t| t.description.clone())).collect()
}
