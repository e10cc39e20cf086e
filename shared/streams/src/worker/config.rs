//! What a worker is told, and what it tells.

use std::collections::BTreeMap;

use super::Worker;
use super::commit::Concluded;
use crate::broker::{Now, TopicPartition};
use crate::histogram::Histogram;
use crate::task::Task;

/// What a crash may do to results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Guarantee {
    /// Each record takes effect once.
    #[default]
    ExactlyOnce,
    /// After a crash some records may take effect again.
    AtLeastOnce,
}

/// When the open transaction is committed, at the latest. A worker that has caught up with its
/// input commits at once.
#[derive(Clone, Copy, Debug)]
pub struct CommitPolicy {
    /// Age of the transaction (ms).
    pub interval_ms: u64,
    /// Records processed.
    pub records_max: u64,
    /// Rows that it has brought into memory (bytes).
    pub bytes_max: usize,
}

impl Default for CommitPolicy {
    fn default() -> Self {
        Self { interval_ms: 100, records_max: 50_000, bytes_max: 32 << 20 }
    }
}

/// Settings of a worker. All times in milliseconds.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// Name of this worker that stays its own over restarts; its transactional id and its group
    /// instance id.
    pub id: String,
    /// What a crash may do.
    pub guarantee: Guarantee,
    /// When to commit.
    pub commit: CommitPolicy,
    /// A member silent for longer is dead.
    pub session_timeout_ms: u64,
    /// Records fetched and not processed, of all inputs and partitions that there are (bytes).
    pub queue_bytes_max: usize,
    /// A restore that makes no progress for this long stops with its cause.
    pub restore_stall_ms: u64,
    /// All inputs' offsets are committed anew this often, so that none expires.
    pub refresh_offsets_ms: u64,
    /// Go on where records are gone, instead of stopping: the operator's word.
    pub skip_gap: bool,
    /// Whether it writes ticks where rows fall due ([`crate::due`]). Without them only records, and what
    /// others write, let rows fall due: for what is decided of the past.
    pub ticks: bool,
    /// What is wrong with this worker, on purpose.
    #[cfg(feature = "mutants")]
    pub mutant: Option<super::Mutant>,
}

impl WorkerConfig {
    /// The defaults, for a worker of this id.
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            guarantee: Guarantee::default(),
            commit: CommitPolicy::default(),
            session_timeout_ms: 6_000,
            queue_bytes_max: 16 << 20,
            restore_stall_ms: 60_000,
            refresh_offsets_ms: 3_600_000,
            skip_gap: false,
            ticks: true,
            #[cfg(feature = "mutants")]
            mutant: None,
        }
    }
}

/// What a task is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskStatus {
    /// Its store is being brought up to its topics.
    Restoring {
        /// Records restored so far.
        restored: u64,
        /// Offsets still to be passed, at most.
        remaining: u64,
    },
    /// It decides.
    Running {
        /// Records its store was restored with.
        restored: u64,
    },
}

/// What a worker is doing, for people and tests.
#[derive(Clone, Debug, Default)]
pub struct WorkerStatus {
    /// By partition.
    pub tasks: BTreeMap<u32, TaskStatus>,
    /// Transactions committed.
    pub commits: u64,
    /// Transactions dropped.
    pub aborts: u64,
    /// Records processed by committed transactions.
    pub processed: u64,
    /// What was counted in committed transactions: by processors ([`crate::Context::count`]), and
    /// `dead_letters` and `rekeyed`.
    pub counters: BTreeMap<&'static str, u64>,
    /// From the step in which a commit began to the rows that stand for it.
    pub commit_time: Histogram,
    /// From the timestamp of each record to the commit of what came of it.
    pub latency: Histogram,
    /// Next offset to process, of the inputs of running tasks.
    pub positions: BTreeMap<TopicPartition, u64>,
    /// How far ticks were ahead of the newest record when it was processed (ms), by partition of running
    /// tasks whose rows fall due. More than clocks differ by: the clock that makes ticks is fast, or the
    /// records are of the past.
    pub ticks_ahead_ms: BTreeMap<u32, u64>,
    /// What the worker waits for, if it cannot go on.
    pub waiting_for: Option<String>,
}

impl WorkerStatus {
    /// Takes what the transaction of this task did, which holds.
    pub(super) fn take(&mut self, task: &Task) {
        self.processed += task.pending;
        task.state.add_counters(&mut self.counters);
    }

    /// Measures what has held since before now.
    pub(super) fn observe(&mut self, concluded: Option<Concluded>, now: Now) {
        let Some(Concluded { since_ms, times }) = concluded else {
            return;
        };
        self.commit_time.observe(now.monotonic_ms.saturating_sub(since_ms));
        for at in times {
            self.latency.observe(u64::try_from(now.wall_ms.saturating_sub(at)).unwrap_or(0));
        }
    }
}

impl Worker {
    /// Counts on from what a worker before this one, in the same place, has counted.
    pub(crate) fn count_on(&mut self, before: WorkerStatus) {
        let (tasks, positions) = (BTreeMap::new(), BTreeMap::new());
        let ticks_ahead_ms = BTreeMap::new();
        self.status =
            WorkerStatus { tasks, positions, ticks_ahead_ms, waiting_for: None, ..before };
    }
}
