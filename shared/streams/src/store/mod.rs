//! The port to local state: tables of rows by partition and key, and the [`Checkpoint`] that
//! says which positions of the log they stand for. Both are written in one batch, always.

mod batch;
mod claims;
pub mod memory;
pub mod rocks;
mod row;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use self::batch::StoreBatch;
pub use self::claims::Claim;
pub(crate) use self::claims::Claims;
pub use self::row::Row;
pub(crate) use self::row::RowError;
use crate::stamp::Clocks;

/// What can go wrong in a store.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The files are not what was written. Where it shows at the open, the store is moved aside
    /// and begun anew; where it shows later, this error ends the run, and the next open does so.
    #[error(
        "the store in {folder} is damaged: {cause}; it is moved aside when it is next opened, and \
         rebuilt from its topics"
    )]
    Damaged {
        /// Where it lies.
        folder: String,
        /// What was found.
        cause: String,
    },
    /// It holds what a later version of this program wrote. It stays as it is.
    #[error(
        "the store in {folder} was written by a later version of this program: {cause}; run that \
         version, or take another folder"
    )]
    Newer {
        /// Where it lies.
        folder: String,
        /// What was found.
        cause: String,
    },
    /// It cannot be read or written now: a full disk, a missing right.
    #[error("the store in {folder}: {what}: {cause}")]
    Io {
        /// Where it lies.
        folder: String,
        /// The call.
        what: &'static str,
        /// What the system said.
        cause: String,
    },
}

/// Result of a call to a store.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Ids of topics, by name: which one of that name is meant. Of some it is not known.
pub type TopicIds = Arc<BTreeMap<String, String>>;

/// What the rows of one partition stand for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which takeover of the partition wrote last.
    pub incarnation: u64,
    /// Number of the last transaction applied.
    pub sequence: u64,
    /// Stream time (ms since 1970).
    pub stream_time: i64,
    /// Next offset to read, by input topic.
    pub inputs: Vec<(String, u64)>,
    /// By topic that backs a table: everything below this offset is in the rows.
    pub backing: Vec<(String, u64)>,
    /// Which topics these offsets are of.
    pub ids: TopicIds,
    /// The stores that this holds for: one that was added since has nothing of its topic yet. Empty
    /// where an earlier version wrote it, which did not tell.
    pub stores: Vec<Kept>,
    /// Next offsets to read as far as stamps have told in a restore: one list for each set of
    /// inputs that there was. A task that has run since knows better.
    pub stamped: Vec<Stamped>,
    /// The task's clocks.
    pub clocks: Clocks,
    /// By which stores, and which of their functions, the index of due rows was made; `None` where there
    /// is none, or it is not whole.
    pub due_layout: Option<u32>,
}

/// A store whose rows are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its name.
    pub name: String,
    /// The topic that they are built from; `None` where an earlier version wrote it.
    pub topic: Option<String>,
}

/// Next offsets to read, by number of the input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stamped {
    /// Which inputs those are ([`crate::Stamp::inputs`]).
    pub inputs: Option<u16>,
    /// The offsets.
    pub positions: Vec<u64>,
}

impl Checkpoint {
    /// The next offset to read of an input topic.
    pub fn input(&self, topic: &str) -> Option<u64> {
        find(&self.inputs, topic)
    }

    /// Whether the rows of a store are there, as far as its topic has been read. `None`: it does not
    /// tell.
    pub fn keeps(&self, name: &str, topic: &str) -> Option<bool> {
        if self.stores.is_empty() {
            return None;
        }
        let is_it = |kept: &Kept| {
            kept.name == name && kept.topic.as_deref().is_none_or(|known| known == topic)
        };
        Some(self.stores.iter().any(is_it) && self.backing(topic).is_some())
    }

    /// The offset up to which a backing topic is in the rows.
    pub fn backing(&self, topic: &str) -> Option<u64> {
        find(&self.backing, topic)
    }
}

fn find(list: &[(String, u64)], topic: &str) -> Option<u64> {
    list.iter().find(|(name, _)| name == topic).map(|(_, offset)| *offset)
}

/// What is wrong with a store that has given bytes which are no row.
pub(crate) fn unreadable(store: &dyn Store, table: usize, error: RowError) -> StoreError {
    let cause = format!("a row of table {table}: {error}");
    match error {
        RowError::Short => store.damaged(cause),
        RowError::Newer(_) => StoreError::Newer { folder: store.place(), cause },
    }
}

/// Memory that a store takes (bytes).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// Rows not yet written to files.
    pub memtables: u64,
    /// Blocks read from files.
    pub block_cache: u64,
    /// Indexes and filters outside of the cache.
    pub table_readers: u64,
}

/// Tables of rows. Shared by all tasks of a process; each partition has one writer, the last one
/// to claim it.
pub trait Store: Send + Sync {
    /// Takes a partition over: what is written to it by an earlier claim is refused from now on.
    fn claim(&self, partition: u32) -> Claim;
    /// What the rows of a partition stand for; `None`: it holds nothing of it.
    fn checkpoint(&self, partition: u32) -> Result<Option<Checkpoint>>;
    /// Reads one row (as [`Row`] encodes it) into `into`; whether it is there.
    fn get(&self, table: usize, partition: u32, key: &[u8], into: &mut Vec<u8>) -> Result<bool>;
    /// Visits the rows of a partition in the order of their keys, from `from` on, until `visit`
    /// says `false`.
    fn scan(
        &self,
        table: usize,
        partition: u32,
        from: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<()>;
    /// Whether nobody has claimed a partition since `claim`.
    fn holds(&self, partition: u32, claim: Claim) -> bool;
    /// Applies a batch as a whole or not at all. What it has of partitions that somebody else has
    /// claimed since is left out: their owner has it from the topics. Returns those partitions.
    fn apply(&self, batch: &StoreBatch) -> Result<BTreeSet<u32>>;
    /// Where it lies, for people.
    fn place(&self) -> String {
        "memory".to_owned()
    }
    /// The error that says that what was read is not what was written.
    fn damaged(&self, cause: String) -> StoreError {
        StoreError::Damaged { folder: self.place(), cause }
    }
    /// Deletes all rows of a table of a partition: those of a store that was not kept for a while.
    /// Nothing where somebody else has claimed the partition since `claim`.
    fn clear(&self, table: usize, partition: u32, claim: Claim) -> Result<()>;
    /// What it takes of the memory.
    fn memory(&self) -> MemoryUse {
        MemoryUse::default()
    }
    /// Moves what is there of a partition out of the way (kept for inspection, never served) and
    /// begins it anew; nothing where somebody else has claimed it since `claim`.
    fn quarantine(&self, partition: u32, claim: Claim, cause: &str) -> Result<()>;
}
