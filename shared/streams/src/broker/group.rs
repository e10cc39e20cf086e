//! A group's members: how one joins, what it is told, and what it commits.

use std::fmt;

use super::TopicPartition;

/// How a member joins its group.
#[derive(Clone, Debug)]
pub struct ConsumerOptions {
    /// The group: the application's name.
    pub group: String,
    /// A name that stays the member's own over restarts (static membership).
    pub instance: String,
    /// The topics; all of them have the same number of partitions.
    pub topics: Vec<String>,
    /// Partitions of each of these topics: what is fetched ahead has a bound that all of them share.
    pub partitions: u32,
    /// A member silent for longer is dead (ms).
    pub session_timeout_ms: u64,
}

/// A member of a group at one moment; handed to the commit, which is refused when it is stale.
#[derive(Clone)]
pub struct Membership {
    /// Grows with every rebalance; `None` before the first.
    pub generation: Option<i64>,
    /// The member's id.
    pub member: String,
    /// The group.
    pub group: String,
    /// What the implementation needs besides (Kafka: the client's own group metadata).
    #[cfg_attr(not(feature = "kafka"), expect(dead_code))]
    pub(crate) native: Option<std::sync::Arc<dyn std::any::Any + Send + Sync>>,
}

impl Membership {
    /// Whether both are the same member in the same generation.
    pub fn is_same(&self, other: &Membership) -> bool {
        self.generation == other.generation
            && self.member == other.member
            && self.group == other.group
    }
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{:?}", self.group, self.member, self.generation)
    }
}

/// What happened to a member since it last polled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupEvent {
    /// Nothing; records may be there to [`Consumer::fetch`](super::Consumer::fetch).
    None,
    /// These partitions are now this member's, and no others. [`Consumer::assign`](super::Consumer::assign) must follow.
    Assigned(Vec<TopicPartition>),
    /// All partitions go back: commit what is open, then [`Consumer::release`](super::Consumer::release).
    Revoking,
    /// All partitions are gone already: a commit would be refused. Abort, then
    /// [`Consumer::release`](super::Consumer::release).
    Lost,
}

/// An offset as the group knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// Next offset to read.
    pub offset: u64,
    /// What the committer wrote beside it.
    pub metadata: String,
}

/// An offset to commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetCommit {
    /// Where.
    pub partition: TopicPartition,
    /// The offset and what stands beside it.
    pub committed: CommittedOffset,
}
