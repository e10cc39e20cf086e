//! What is known of a topic besides its records.

use std::fmt;

/// How records of a topic are disposed of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CleanupPolicy {
    /// Old records go, after a time if one is set (ms; `None`: kept for ever).
    Delete {
        /// Age at which a record goes, by its own timestamp.
        retention_ms: Option<u64>,
    },
    /// The last record of each key stays.
    Compact,
    /// The last record of each key stays, until it is old (ms; `None`: for ever).
    CompactAndDelete {
        /// Age at which a record goes, by its own timestamp.
        retention_ms: Option<u64>,
    },
}

impl CleanupPolicy {
    /// Whether a later record of a key may take an earlier one away.
    pub fn is_compacting(&self) -> bool {
        !matches!(self, Self::Delete { .. })
    }
}

impl fmt::Display for CleanupPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compact => f.write_str("compact"),
            Self::Delete { retention_ms: None } => f.write_str("delete, kept for ever"),
            Self::Delete { retention_ms: Some(ms) } => write!(f, "delete after {ms} ms"),
            Self::CompactAndDelete { retention_ms: None } => f.write_str("compact,delete"),
            Self::CompactAndDelete { retention_ms: Some(ms) } => {
                write!(f, "compact,delete after {ms} ms")
            }
        }
    }
}

/// A topic as it is, or as it is to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDescription {
    /// Name.
    pub name: String,
    /// Number of partitions.
    pub partitions: u32,
    /// What becomes of old records.
    pub cleanup: CleanupPolicy,
    /// Records stamped further ahead of the broker's clock than this are refused (ms).
    pub future_max_ms: Option<u64>,
}

/// What tells a topic from one of the same name that was there before it or comes after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicIdentity {
    /// No other topic of the cluster has it, ever; empty where the broker knows no ids.
    pub id: String,
    /// Number of partitions.
    pub partitions: u32,
}

/// Whose timestamp a record has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Timestamps {
    /// Its writer's.
    #[default]
    Create,
    /// The broker's, of when it was appended: what its writer said is lost.
    Append,
}

/// What else a broker may do with a topic. The default is what every topic of the engine's own is
/// created with: nothing goes, and nothing is changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicSettings {
    /// The oldest records go where a partition has grown larger (bytes).
    pub retention_bytes: Option<u64>,
    /// Whose timestamp a record has.
    pub timestamps: Timestamps,
    /// Records stamped further behind the broker's clock than this are refused (ms).
    pub past_max_ms: Option<u64>,
    /// Larger batches of records are refused (bytes); `None`: the broker knows no such bound.
    pub batch_bytes_max: Option<u64>,
    /// Of a compacted topic: who reads on after a longer time does not hear of what was deleted (ms).
    /// `None`: there is no such bound.
    pub tombstones_ms: Option<u64>,
    /// How it lies on several brokers; `None`: there is only one.
    pub copies: Option<Copies>,
}

/// How a topic lies on a cluster of several brokers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copies {
    /// Brokers that there are.
    pub brokers: u32,
    /// Brokers that have a partition, of the partition with the fewest.
    pub replicas: u32,
    /// Of these so many must have a record before it is acknowledged.
    pub in_sync_min: u32,
    /// One that lacks acknowledged records may become the leader when no other is left.
    pub is_unclean: bool,
}

/// How long the deletion of a row should be told of on its changelog, at least (ms): 30 days. A store
/// that is away for longer keeps rows whose deletion it has not seen.
pub(crate) const TOMBSTONES_MS: u64 = 30 * 24 * 3_600 * 1_000;

impl Copies {
    /// Brokers that should have each partition, of so many.
    pub(crate) fn replicas_wanted(brokers: u32) -> u32 {
        brokers.clamp(1, 3)
    }

    /// How many of these should have a record before it is acknowledged: one may fail.
    pub(crate) fn in_sync_wanted(replicas: u32) -> u32 {
        if replicas < 3 { 1 } else { 2 }
    }
}
