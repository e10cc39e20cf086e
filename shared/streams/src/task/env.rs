//! What all tasks of an application share, and how much memory each may take.

use std::sync::Arc;

use super::next;
use super::overlay::Bounds;
use crate::store::Store;
use crate::topology::{Backing, Layout, StoreSpec, Topology};

/// What all tasks of an application share.
pub(crate) struct TaskEnv {
    pub(crate) topology: Arc<Topology>,
    pub(crate) store: Arc<dyn Store>,
    /// Input topics, in the order of a task's queues.
    pub(crate) inputs: Vec<String>,
    /// How far ahead of the clock a record of each input may be stamped (ms).
    pub(super) ahead_ms: Vec<u64>,
    pub(crate) partitions: u32,
    pub(crate) dead_letter_partitions: u32,
    /// Memory of the tables of all tasks.
    tables: TableBounds,
}

impl TaskEnv {
    pub(crate) fn new(topology: Arc<Topology>, store: Arc<dyn Store>, layout: Layout) -> Self {
        let Layout { partitions, dead_letter_partitions } = layout;
        let (inputs, ahead_ms) = (topology.inputs(), next::ahead_ms(&topology));
        let tables = TableBounds::default();
        TaskEnv { inputs, ahead_ms, topology, store, partitions, dead_letter_partitions, tables }
    }

    /// With these bounds, instead of the default ones.
    pub(crate) fn bounded(self, tables: TableBounds) -> Self {
        TaskEnv { tables, ..self }
    }
}

/// How much memory the tables of all tasks of an application may take beside its store, whatever the
/// number of partitions (bytes, about).
#[derive(Clone, Copy, Debug)]
pub struct TableBounds {
    /// Filters of tables backed by a ledger: what these remember is many, and most of it is asked for
    /// only to learn that it is not there.
    pub ledger_filter_bytes: usize,
    /// Filters of tables with a changelog, whose rows are mostly there.
    pub changelog_filter_bytes: usize,
    /// Clean rows of tables with a changelog: a million stock rows. What a ledger backs is mostly
    /// written once and never read again.
    pub clean_bytes: usize,
    /// Room that tables keep from one transaction to the next.
    pub room_bytes: usize,
}

impl Default for TableBounds {
    fn default() -> Self {
        Self {
            ledger_filter_bytes: 48 << 20,
            changelog_filter_bytes: 4 << 20,
            clean_bytes: 96 << 20,
            room_bytes: 48 << 20,
        }
    }
}

/// The share of each table of one partition.
pub(super) fn bounds(env: &TaskEnv) -> Vec<Bounds> {
    let TaskEnv { topology, partitions, tables, .. } = env;
    let is_ledger = |spec: &StoreSpec| !matches!(spec.backing, Backing::Changelog { .. });
    let ledgers = topology.stores.iter().filter(|spec| is_ledger(spec)).count();
    let changelogs = topology.stores.len() - ledgers;
    let share = |bytes: usize, tables: usize| bytes / (tables * (*partitions).max(1) as usize);
    let of = |spec: &StoreSpec| {
        let (clean_bytes, filter_bytes) = match is_ledger(spec) {
            true => (0, share(tables.ledger_filter_bytes, ledgers)),
            false => {
                let filter_bytes = share(tables.changelog_filter_bytes, changelogs);
                (share(tables.clean_bytes, changelogs), filter_bytes)
            }
        };
        let room_bytes = share(tables.room_bytes, topology.stores.len());
        Bounds { clean_bytes, room_bytes, filter_bytes }
    };
    topology.stores.iter().map(of).collect()
}
