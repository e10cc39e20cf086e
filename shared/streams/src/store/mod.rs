//! The port to local state: tables of rows by partition and key, and the [`Checkpoint`] that
//! says which positions of the log they stand for. Both are written in one batch, always.

mod claims;
pub mod memory;
pub mod rocks;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

pub use self::claims::Claim;
pub(crate) use self::claims::Claims;

/// What can go wrong in a store.
#[derive(Debug, Clone, thiserror::Error)]
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
    /// Names of the stores that this holds for: one that was added since has nothing of its topic
    /// yet. Empty where an earlier version wrote it, which did not tell.
    pub stores: Vec<String>,
    /// Next offsets to read as far as stamps have told in a restore, by number of the input: one
    /// list for each number of inputs that there were. A task that has run since knows better.
    pub stamped: Vec<Vec<u64>>,
}

impl Checkpoint {
    /// The next offset to read of an input topic.
    pub fn input(&self, topic: &str) -> Option<u64> {
        find(&self.inputs, topic)
    }

    /// The offset up to which a backing topic is in the rows.
    pub fn backing(&self, topic: &str) -> Option<u64> {
        find(&self.backing, topic)
    }
}

fn find(list: &[(String, u64)], topic: &str) -> Option<u64> {
    list.iter().find(|(name, _)| name == topic).map(|(_, offset)| *offset)
}

/// A row as it is stored: how often it changed, when (stream time), and the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// Counts the changes of this row, from 1.
    pub sequence: u64,
    /// Stream time of the last change (ms since 1970).
    pub timestamp: i64,
    /// The value.
    pub value: &'a [u8],
}

/// Bytes in front of a row's value.
const ROW_HEAD: usize = 16;

impl<'a> Row<'a> {
    pub(crate) fn encode(sequence: u64, timestamp: i64, value: &[u8], into: &mut Vec<u8>) {
        into.clear();
        into.extend_from_slice(&sequence.to_le_bytes());
        into.extend_from_slice(&timestamp.to_le_bytes());
        into.extend_from_slice(value);
    }

    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Row<'a>> {
        let (head, value) = bytes.split_at_checked(ROW_HEAD)?;
        Some(Row {
            sequence: u64::from_le_bytes(head[..8].try_into().ok()?),
            timestamp: i64::from_le_bytes(head[8..].try_into().ok()?),
            value,
        })
    }
}

struct Write {
    table: usize,
    partition: u32,
    key: Range<usize>,
    value: Option<Range<usize>>,
}

/// Rows and checkpoints that become durable together.
#[derive(Default)]
pub struct StoreBatch {
    bytes: Vec<u8>,
    writes: Vec<Write>,
    checkpoints: Vec<(u32, Checkpoint)>,
    claims: Vec<(u32, Claim)>,
}

impl StoreBatch {
    /// Sets (or with `None` deletes) a row.
    pub fn write(&mut self, table: usize, partition: u32, key: &[u8], row: Option<&[u8]>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        let key = start..self.bytes.len();
        let value = row.map(|row| {
            self.bytes.extend_from_slice(row);
            key.end..self.bytes.len()
        });
        self.writes.push(Write { table, partition, key, value });
    }

    /// Sets what the rows of `partition` stand for from now on.
    pub fn checkpoint(&mut self, partition: u32, checkpoint: Checkpoint) {
        self.checkpoints.push((partition, checkpoint));
    }

    /// Says by which claim it writes to `partition`. Without it nothing is written to a partition
    /// that anybody has claimed.
    pub fn hold(&mut self, partition: u32, claim: Claim) {
        self.claims.push((partition, claim));
    }

    fn claim_of(&self, partition: u32) -> Claim {
        let held = self.claims.iter().rev().find(|(p, _)| *p == partition);
        held.map_or(Claim::default(), |(_, claim)| *claim)
    }

    /// Those that it writes to.
    fn partitions(&self) -> BTreeSet<u32> {
        // One after the other, mostly.
        let runs = self.writes.chunk_by(|a, b| a.partition == b.partition);
        let writes = runs.filter_map(|run| Some(run.first()?.partition));
        writes.chain(self.checkpoints.iter().map(|(partition, _)| *partition)).collect()
    }

    #[cfg(feature = "mutants")]
    pub(crate) fn forget_checkpoint(&mut self, partition: u32) {
        self.checkpoints.retain(|(p, _)| *p != partition);
    }

    /// Number of rows written.
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.checkpoints.is_empty()
    }

    /// All writes except those to the partitions that it has `lost`.
    fn writes(
        &self,
        lost: &BTreeSet<u32>,
    ) -> impl Iterator<Item = (usize, u32, &[u8], Option<&[u8]>)> {
        self.writes.iter().filter(|w| !lost.contains(&w.partition)).map(|w| {
            let value = w.value.clone().map(|v| &self.bytes[v]);
            (w.table, w.partition, &self.bytes[w.key.clone()], value)
        })
    }

    /// All checkpoints except those of the partitions that it has `lost`.
    fn checkpoints(&self, lost: &BTreeSet<u32>) -> impl Iterator<Item = &(u32, Checkpoint)> {
        self.checkpoints.iter().filter(|(partition, _)| !lost.contains(partition))
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
    /// The error that says that what was read is not what was written.
    fn damaged(&self, cause: String) -> StoreError {
        StoreError::Damaged { folder: "memory".to_owned(), cause }
    }
    /// What it takes of the memory.
    fn memory(&self) -> MemoryUse {
        MemoryUse::default()
    }
    /// Moves what is there of a partition out of the way (kept for inspection, never served) and
    /// begins it anew; nothing where somebody else has claimed it since `claim`.
    fn quarantine(&self, partition: u32, claim: Claim, cause: &str) -> Result<()>;
}
