//! What can go wrong in the engine; each variant says where.

use crate::broker::{BrokerError, TopicPartition};
use crate::folder::FolderError;
use crate::store::StoreError;

/// An error of the engine. None of them loses anything: a task that stops has committed or
/// dropped its open transaction as a whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The broker, or the way to it.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The local store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The topology is wired wrongly.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// The state folder cannot be taken.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A topic is not as the topology needs it.
    #[error("topic {topic}: {cause}")]
    Topic {
        /// Its name.
        topic: String,
        /// What is wrong, and what mends it.
        cause: String,
    },
    /// The store was built from other topics.
    #[error("the state in {folder} belongs to {found}, not to {expected}: choose another folder")]
    WrongState {
        /// The folder.
        folder: String,
        /// What it was built for.
        found: String,
        /// What it is opened for.
        expected: String,
    },
    /// Records between two positions are gone, so that going on would skip them.
    #[error(
        "{partition}: records from offset {from} on are wanted, but the log holds {start}..{end}; \
         nothing is skipped silently: `reset --skip-gap` goes on from there"
    )]
    Gap {
        /// Where.
        partition: TopicPartition,
        /// The next offset wanted.
        from: u64,
        /// First offset that is there.
        start: u64,
        /// End of the log.
        end: u64,
    },
    /// A log is shorter than it was told to be: the cluster has lost records that it had
    /// acknowledged.
    #[error(
        "{partition}: the log ended at offset {told}, and now it ends at {end}: the cluster has \
         lost its tail, and with it records that were acknowledged and are not decided; what was \
         decided stays, and the next start goes on with what is there"
    )]
    LostTail {
        /// Where.
        partition: TopicPartition,
        /// The end that the broker told before.
        told: u64,
        /// Its end now.
        end: u64,
    },
    /// A row of a changelog that this application did not write.
    #[error(
        "{partition}: the row at offset {offset} was not written by this application ({cause}); \
         only its processor may write a changelog"
    )]
    ForeignRow {
        /// Where.
        partition: TopicPartition,
        /// At which offset.
        offset: u64,
        /// How that is known.
        cause: String,
    },
    /// A record that a later version of this program has written, of which rows are built.
    #[error(
        "{partition}: the record at offset {offset} was written by a later version of this program: \
         run that version"
    )]
    LaterVersion {
        /// Where.
        partition: TopicPartition,
        /// At which offset.
        offset: u64,
    },
    /// A topic that rows are built from has lost some. A store that is built from less would be
    /// decided on: nothing is, and a store that has them stays as it is.
    #[error("{partition}: {cause}; it does not go on with less: {remedy}")]
    RowsGone {
        /// Where.
        partition: TopicPartition,
        /// How that is known, with the numbers.
        cause: String,
        /// What an operator may do.
        remedy: &'static str,
    },
    /// Nobody knows from where an input is to be read on.
    #[error(
        "{partition}: {cause}; set an offset of the group by Kafka's kafka-consumer-groups, and \
         `reset --skip-gap` takes it once"
    )]
    UnknownPosition {
        /// The input.
        partition: TopicPartition,
        /// Why it is not known.
        cause: String,
    },
    /// A restore makes no progress.
    #[error("{partition}: the restore stands still at offset {position} of {end} ({cause})")]
    RestoreStalled {
        /// Where.
        partition: TopicPartition,
        /// How far it came.
        position: u64,
        /// Where it must come to.
        end: u64,
        /// The likely cause.
        cause: &'static str,
    },
    /// A processor cannot go on, for a reason of its own.
    #[error("{partition}, offset {offset}: {source}")]
    Processor {
        /// The record being processed.
        partition: TopicPartition,
        /// Its offset.
        offset: u64,
        /// What it says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A row has fallen due, and its processor cannot go on, or broke a rule of the engine.
    #[error("{partition}: row {key:?} of store {store}, which has fallen due: {cause}")]
    DueRow {
        /// The store.
        store: String,
        /// Its changelog.
        partition: TopicPartition,
        /// The key.
        key: String,
        /// What it says, or which rule.
        cause: String,
    },
    /// A processor broke a rule of the engine, or an assertion failed: the task stops rather than
    /// go on wrong.
    #[error("{partition}, offset {offset}: {cause}")]
    Invariant {
        /// The record being processed.
        partition: TopicPartition,
        /// Its offset.
        offset: u64,
        /// Which rule.
        cause: String,
    },
}

/// Result of the engine's calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What is wrong with a topology.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopologyError {
    /// Two parts have one name, or two sources one topic.
    #[error("topology {topology}: {name:?} is there twice")]
    Twice {
        /// The topology.
        topology: String,
        /// The name or topic.
        name: String,
    },
    /// A part names another that is not there.
    #[error("topology {topology}: {by:?} names {what} {name:?}, which is not there")]
    Unknown {
        /// The topology.
        topology: String,
        /// Who names it.
        by: String,
        /// Of what kind it would be.
        what: &'static str,
        /// What is missing.
        name: String,
    },
    /// A part that nothing uses, or that lacks what it needs.
    #[error("topology {topology}: {name:?} {cause}")]
    Dangling {
        /// The topology.
        topology: String,
        /// The part.
        name: String,
        /// What is wrong.
        cause: &'static str,
    },
}
