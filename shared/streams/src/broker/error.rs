//! What a broker answers instead of a result.

use super::TopicPartition;
use crate::record::{Outgoing, TIME_MIN};

/// What a broker answers instead of a result.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// Not now: the broker cannot be reached or is busy. The same call may succeed later.
    #[error("{what}: the broker is not available ({cause})")]
    Unavailable {
        /// The call.
        what: &'static str,
        /// What the broker or the client said.
        cause: String,
    },
    /// Another one has taken this producer's transactional id, or this member's instance id.
    #[error("{what}: fenced by another instance ({cause})")]
    Fenced {
        /// The call.
        what: &'static str,
        /// What the broker or the client said.
        cause: String,
    },
    /// A position that the topic does not hold (any more).
    #[error("{partition}: offset {offset} is outside the log ({start}..={end})")]
    OffsetOutOfRange {
        /// Where.
        partition: TopicPartition,
        /// The offset asked for.
        offset: u64,
        /// First offset that the log still holds.
        start: u64,
        /// End of the log.
        end: u64,
    },
    /// The topic or partition is not there.
    #[error("{0} does not exist")]
    UnknownPartition(TopicPartition),
    /// The broker will not take this record, and will not take it later either.
    #[error("{partition}: the record is refused ({cause})")]
    Refused {
        /// Where it was to go.
        partition: TopicPartition,
        /// Why.
        cause: String,
    },
    /// Trying again will not help: a wrong setting, a damaged file, a bug.
    #[error("{what}: {cause}")]
    Fatal {
        /// The call.
        what: &'static str,
        /// What went wrong.
        cause: String,
    },
}

impl BrokerError {
    /// Whether the same call may succeed later.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

/// Result of a call to a broker.
pub type Result<T, E = BrokerError> = std::result::Result<T, E>;

/// Refuses a record that is stamped before [`TIME_MIN`].
pub(crate) fn check_time(record: &Outgoing<'_>) -> Result<()> {
    if record.timestamp >= TIME_MIN {
        return Ok(());
    }
    let partition = TopicPartition::new(record.topic, record.partition);
    let at = record.timestamp;
    let cause = format!("timestamp {at} is before {TIME_MIN}, the earliest of a record");
    Err(BrokerError::Refused { partition, cause })
}
