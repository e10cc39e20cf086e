//! Why nothing could be verified, and how far a verification is.

use bps_streams::broker::BrokerError;

/// Why nothing could be verified. (What is found wrong is no error but a [`crate::Finding`].)
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log cannot be read.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// A topic is not there.
    #[error("topic {topic} does not exist: are the prefixes right, and did a processor ever run?")]
    NoTopic {
        /// Its name.
        topic: String,
    },
    /// Topics that belong together differ.
    #[error("topic {topic} has {count} partitions, {input} has {first}")]
    Partitions {
        /// The topic.
        topic: String,
        /// Its partitions.
        count: u32,
        /// The first input.
        input: String,
        /// Its partitions.
        first: u32,
    },
    /// The caller asked for it.
    #[error("interrupted")]
    Interrupted,
}

/// Result of a verification.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// How far a verification is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Records read.
    pub done: u64,
    /// Records to read, all passes together.
    pub total: u64,
}
