//! The port to a writer, and what becomes of its transactions.

use super::{BrokerError, Membership, OffsetCommit, Result, TopicPartition};
use crate::record::Outgoing;

/// Whether a producer writes in transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProducerMode {
    /// Records and offsets become visible together or never.
    Transactional {
        /// Names the writer over restarts; a second producer of this id fences the first.
        id: String,
    },
    /// Records are acknowledged one by one; a resend after a failure may double them.
    AtLeastOnce,
}

/// How far a commit is.
#[derive(Clone, Debug)]
pub enum CommitStatus {
    /// Not decided yet: poll again.
    Pending,
    /// It holds. For each partition of `backing` given to [`Producer::start_commit`], an offset
    /// below which lie all records that this producer wrote there, and none of a later owner.
    Committed {
        /// In the order of `backing`.
        ends: Vec<u64>,
    },
    /// It does not hold and the producer can go on after [`Producer::abort`].
    Aborted {
        /// Why.
        cause: BrokerError,
    },
    /// It may hold or not: the producer must be retired, a new one of the same id initialised
    /// (which settles what is in flight), and the committed offsets read.
    Unknown {
        /// Why.
        cause: BrokerError,
    },
    /// Another producer of this id exists: nothing of this one will ever hold.
    Fenced {
        /// What the broker said.
        cause: BrokerError,
    },
}

/// A writer, mostly in transactions. A transaction begins with the first record or offset.
pub trait Producer: Send {
    /// Hears what its client has to tell, which would pile up otherwise; called at every step.
    fn attend(&mut self) {}
    /// Whether it can write: an earlier producer of the same id has been fenced and settled.
    fn poll_ready(&mut self) -> Result<bool>;
    /// Adds a record to the open transaction. Waits while the buffer is full.
    fn send(&mut self, record: Outgoing<'_>) -> Result<()>;
    /// Drains what was sent, then adds the offsets, then asks for the commit; in this order.
    /// `backing` are partitions whose end is wanted with the outcome.
    fn start_commit(
        &mut self,
        offsets: &[OffsetCommit],
        membership: &Membership,
        backing: &[TopicPartition],
    ) -> Result<(), CommitStatus>;
    /// The outcome of the commit under way.
    fn poll_commit(&mut self) -> CommitStatus;
    /// Drops the open transaction, if there is one. After an error the producer is replaced; so
    /// it is when it [is tainted](Producer::is_tainted).
    fn abort(&mut self) -> Result<()>;
    /// Whether a call went badly enough that a delayed answer could still touch the next
    /// transaction: then the producer is replaced before it begins one.
    fn is_tainted(&self) -> bool;
}
