//! Looking at the log of another process, read-only.

use std::path::Path;
use std::sync::Arc;

use super::catalogue::read_catalogue;
use super::log::Log;
use super::{describe, identify, offsets, reader};
use crate::broker::{
    Appender, Broker, BrokerError, CommittedOffset, Consumer, ConsumerOptions, Isolation, Now,
    OffsetSpec, Producer, ProducerMode, Reader, Result, TopicDescription, TopicIdentity,
    TopicPartition,
};

/// A log that another process owns, followed read-only. As a [`Broker`] it answers what asks for
/// topics, offsets and records; what would write or join a group is refused.
pub struct Follower {
    shared: Arc<Followed>,
}

pub(super) struct Followed {
    pub(super) log: Log,
    /// RocksDB's own notes of a follower; removed when it ends.
    scratch: std::path::PathBuf,
}

impl Drop for Followed {
    fn drop(&mut self) {
        // Best effort: the folder lies in the system's temporary one.
        drop(std::fs::remove_dir_all(&self.scratch));
    }
}

impl Follower {
    pub(super) fn open(folder: &Path) -> Result<Follower> {
        let scratch = std::env::temp_dir().join(crate::folder::fresh_id("follow"));
        let log = Log::follow(&folder.join("log"), &scratch)?;
        Ok(Follower { shared: Arc::new(Followed { log, scratch }) })
    }

    /// As [`Broker::reader`].
    ///
    /// # Errors
    /// None at once; unknown partitions show when they are read.
    pub fn reader(&self, from: &[(TopicPartition, u64)]) -> Result<Box<dyn Reader>> {
        let source = reader::Source::Followed(self.shared.clone());
        Ok(Box::new(reader::EmbeddedReader::new(source, from)))
    }

    /// As [`Broker::offsets`].
    ///
    /// # Errors
    /// When a partition is not there.
    pub fn offsets(&self, partitions: &[TopicPartition], spec: OffsetSpec) -> Result<Vec<u64>> {
        self.shared.log.catch_up()?;
        offsets(&self.shared.log, partitions, spec)
    }

    /// As [`Broker::describe_topics`].
    ///
    /// # Errors
    /// When the owner's files cannot be read.
    pub fn describe_topics(&self, names: &[&str]) -> Result<Vec<Option<TopicDescription>>> {
        self.shared.log.catch_up()?;
        Ok(describe(&self.shared.log, names))
    }
}

fn read_only<T>(what: &'static str) -> Result<T> {
    let cause = "the log of another process is only read".to_owned();
    Err(BrokerError::Fatal { what, cause })
}

impl Broker for Follower {
    fn cluster_id(&self) -> Result<String> {
        Ok(self.shared.log.cluster().to_owned())
    }

    fn consumer(&self, _options: ConsumerOptions) -> Result<Box<dyn Consumer>> {
        read_only("consumer")
    }

    fn producer(&self, _mode: ProducerMode) -> Result<Box<dyn Producer>> {
        read_only("producer")
    }

    fn appender(&self) -> Result<Box<dyn Appender>> {
        read_only("appender")
    }

    fn reader(
        &self,
        from: &[(TopicPartition, u64)],
        _isolation: Isolation,
    ) -> Result<Box<dyn Reader>> {
        Follower::reader(self, from)
    }

    fn offsets(&self, partitions: &[TopicPartition], spec: OffsetSpec) -> Result<Vec<u64>> {
        Follower::offsets(self, partitions, spec)
    }

    fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<CommittedOffset>>> {
        self.shared.log.catch_up()?;
        let (_, groups) = read_catalogue(&self.shared.log.db)?;
        Ok(partitions.iter().map(|at| groups.offset(group, at)).collect())
    }

    fn describe_topics(&self, names: &[&str]) -> Result<Vec<Option<TopicDescription>>> {
        Follower::describe_topics(self, names)
    }

    fn identify_topics(&self, names: &[&str]) -> Result<Vec<Option<TopicIdentity>>> {
        self.shared.log.catch_up()?;
        Ok(identify(&self.shared.log, names))
    }

    fn create_topic(&self, _topic: &TopicDescription) -> Result<()> {
        read_only("create topic")
    }

    fn delete_group(&self, _group: &str) -> Result<()> {
        read_only("delete group")
    }

    fn maintain(&self, _now: Now) -> Result<()> {
        Ok(())
    }
}
