//! The port to a log: what the engine asks of a broker, and nothing more.
//!
//! Three implementations are meant to stand behind it: [`kafka`] (production), [`embedded`] (a
//! durable log in this process) and a simulated one for proofs. One contract suite
//! (`tests/contract`) says what each must do. The port is synchronous and stepped: time is an
//! argument, nothing here starts a thread that decides anything, so that a simulator can stop
//! between any two calls.

#[cfg(any(feature = "kafka", feature = "simulation"))]
pub(crate) mod alternating;
mod bulk;
pub(crate) mod coordinator;
pub mod embedded;
mod error;
mod group;
#[cfg(feature = "kafka")]
pub mod kafka;
pub(crate) mod member;
mod producer;
#[cfg(any(feature = "kafka", feature = "simulation"))]
pub(crate) mod slots;
mod topic;

use std::fmt;
use std::time::Duration;

pub use self::bulk::Bulk;
pub(crate) use self::error::check_time;
pub use self::error::{BrokerError, Result};
pub use self::group::{CommittedOffset, ConsumerOptions, GroupEvent, Membership, OffsetCommit};
pub use self::producer::{CommitStatus, Producer, ProducerMode};
pub(crate) use self::topic::TOMBSTONES_MS;
pub use self::topic::{
    CleanupPolicy, Copies, Timestamps, TopicDescription, TopicIdentity, TopicSettings,
};
#[cfg(feature = "mutants")]
use crate::mutant::Mutant;
use crate::record::{Batch, Outgoing};

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// Name of the topic.
    pub topic: String,
    /// Partition number, from 0.
    pub partition: u32,
}

impl TopicPartition {
    /// The partition `partition` of `topic`.
    pub fn new(topic: impl Into<String>, partition: u32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// The moment a step happens at, an argument everywhere: the engine reads no clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Milliseconds that only grow, from any origin: for intervals and time-outs.
    pub monotonic_ms: u64,
    /// Milliseconds since 1970-01-01 UTC: for what is stamped in the future, and for nothing else.
    pub wall_ms: i64,
}

/// Whether a reader sees the records of open and aborted transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Isolation {
    /// Up to the last stable offset, aborted records left out.
    ReadCommitted,
    /// Everything up to the high watermark.
    ReadUncommitted,
}

/// Which offset of a partition is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The first one that the log holds.
    Start,
    /// The next one that a reader of this isolation would wait for.
    End(Isolation),
    /// The first record stamped at or after this time (ms since 1970), or the end.
    Timestamp(i64),
}

/// A log with topics, groups and transactions.
pub trait Broker: Send + Sync {
    /// Identifies the cluster: a store built from another one is refused.
    fn cluster_id(&self) -> Result<String>;
    /// Joins a group. Returns at once; the assignment comes by [`Consumer::poll`].
    fn consumer(&self, options: ConsumerOptions) -> Result<Box<dyn Consumer>>;
    /// A producer. Returns at once; [`Producer::poll_ready`] tells when it can write.
    fn producer(&self, mode: ProducerMode) -> Result<Box<dyn Producer>>;
    /// A writer without transactions, for services.
    fn appender(&self) -> Result<Box<dyn Appender>>;
    /// Reads partitions from given offsets, outside of any group.
    fn reader(
        &self,
        from: &[(TopicPartition, u64)],
        isolation: Isolation,
    ) -> Result<Box<dyn Reader>>;
    /// An offset of each partition, in their order. One question to the broker, never parked
    /// behind a fetch.
    fn offsets(&self, partitions: &[TopicPartition], spec: OffsetSpec) -> Result<Vec<u64>>;
    /// What a group has committed, in the order of `partitions`; waits for offsets of open
    /// transactions to be settled.
    fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<CommittedOffset>>>;
    /// As [`Broker::committed`], but it never waits: where an open transaction has an offset, what
    /// held before it is told.
    fn committed_so_far(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<CommittedOffset>>> {
        self.committed(group, partitions)
    }
    /// Describes the topics of these names; `None` for those that are not there. An empty list
    /// asks for all.
    fn describe_topics(&self, names: &[&str]) -> Result<Vec<Option<TopicDescription>>>;
    /// Which topics these names stand for now; `None` for those that are not there. One question,
    /// cheap enough to be asked every few seconds.
    fn identify_topics(&self, names: &[&str]) -> Result<Vec<Option<TopicIdentity>>> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let described = self.describe_topics(names)?.into_iter();
        let without_id =
            |t: TopicDescription| TopicIdentity { id: String::new(), partitions: t.partitions };
        Ok(described.map(|found| found.map(without_id)).collect())
    }
    /// What else the broker does with the topics of these names, in their order; they must be there.
    /// (Those of a broker that does nothing else are as by default.)
    fn topic_settings(&self, names: &[&str]) -> Result<Vec<TopicSettings>> {
        Ok(vec![TopicSettings::default(); names.len()])
    }
    /// Creates a topic; one that is there already stays as it is.
    fn create_topic(&self, topic: &TopicDescription) -> Result<()>;
    /// Forgets a group's offsets. The group must have no member.
    fn delete_group(&self, group: &str) -> Result<()>;
    /// The broker's clock, where it has one of its own to keep in step (retention, expiry).
    fn maintain(&self, now: Now) -> Result<()>;
    /// What it hands out from now on is wrong like this, as far as it can be.
    #[cfg(feature = "mutants")]
    fn mutate(&self, _: Option<Mutant>) {}
}

/// A member of a group.
pub trait Consumer: Send {
    /// Serves the group and waits, at most `wait`, until records can be fetched or something
    /// happened. Must be called at least every session time-out.
    fn poll(&mut self, now: Now, wait: Duration) -> Result<GroupEvent>;
    /// Reads these partitions from these offsets, and no others: some or all of those assigned.
    /// Must follow [`GroupEvent::Assigned`] at once (an empty list will do), and may be called
    /// again at any time until [`Consumer::release`]. The index of a partition in `from` is its
    /// slot in [`Consumer::fetch`].
    fn assign(&mut self, from: &[(TopicPartition, u64)]) -> Result<()>;
    /// Moves records of one slot to `batch`, at most about `bytes_max`; returns the position
    /// behind them, which may be higher than the last offset + 1 (transaction markers). Never
    /// waits. After an error nothing has been taken, whatever is in the batch: the slot's position
    /// is where it was, and a later call may go on from there. An error of one slot says nothing of
    /// the others.
    fn fetch(&mut self, slot: usize, bytes_max: usize, batch: &mut Batch) -> Result<u64>;
    /// Gives the partitions back: the answer to [`GroupEvent::Revoking`] and
    /// [`GroupEvent::Lost`].
    fn release(&mut self) -> Result<()>;
    /// Who this member is now.
    fn membership(&self) -> Membership;
    /// Commits offsets outside of any transaction ([`ProducerMode::AtLeastOnce`]). `Fenced` when its
    /// place in the group is gone or is being given out anew, of which a poll tells.
    fn commit(&mut self, offsets: &[OffsetCommit]) -> Result<()>;
    /// Leaves the group for good (scaling down). Dropping without it lets the member come back
    /// under its instance name.
    fn leave(&mut self, now: Now) -> Result<()>;
}

/// Called once with the outcome of one [`Appender::append`], on a thread of the broker.
pub type Ack = Box<dyn FnOnce(Result<u64>) + Send>;

/// A writer without transactions: each record is durable (acks=all; embedded: synced) when its
/// [`Ack`] is called with its offset.
pub trait Appender: Send + Sync {
    /// Queues a record. Order is kept per partition. `Unavailable` when the buffer is full.
    fn append(&self, record: Outgoing<'_>, ack: Ack) -> Result<()>;
}

/// Reads given partitions, outside of any group.
pub trait Reader: Send {
    /// Waits, at most `wait`, until something can be fetched.
    fn wait(&mut self, wait: Duration) -> Result<()>;
    /// As [`Consumer::fetch`].
    fn fetch(&mut self, slot: usize, bytes_max: usize, batch: &mut Batch) -> Result<u64>;
}
