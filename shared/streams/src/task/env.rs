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
}

impl TaskEnv {
    pub(crate) fn new(topology: Arc<Topology>, store: Arc<dyn Store>, layout: Layout) -> Self {
        let Layout { partitions, dead_letter_partitions } = layout;
        let (inputs, ahead_ms) = (topology.inputs(), next::ahead_ms(&topology));
        TaskEnv { inputs, ahead_ms, topology, store, partitions, dead_letter_partitions }
    }
}

/// Memory of the filters of all tables backed by a ledger, of all partitions, about: what they
/// remember is many, and most of it is asked for only to learn that it is not there.
const LEDGER_FILTER_BYTES: usize = 48 << 20;
/// The same of tables with a changelog, whose rows are mostly there.
const CHANGELOG_FILTER_BYTES: usize = 4 << 20;
/// Memory of clean rows of all tables with a changelog, of all partitions: a million stock rows. What
/// a ledger backs is mostly written once and never read again.
const CLEAN_BYTES: usize = 96 << 20;
/// Room that all tables of all partitions keep from one transaction to the next.
const ROOM_BYTES: usize = 48 << 20;

pub(super) fn bounds(topology: &Topology, partitions: u32) -> Vec<Bounds> {
    let is_ledger = |spec: &StoreSpec| !matches!(spec.backing, Backing::Changelog { .. });
    let ledgers = topology.stores.iter().filter(|spec| is_ledger(spec)).count();
    let changelogs = topology.stores.len() - ledgers;
    let share = |bytes: usize, tables: usize| bytes / (tables * partitions.max(1) as usize);
    let of = |spec: &StoreSpec| {
        let (clean_bytes, filter_bytes) = match is_ledger(spec) {
            true => (0, share(LEDGER_FILTER_BYTES, ledgers)),
            false => (share(CLEAN_BYTES, changelogs), share(CHANGELOG_FILTER_BYTES, changelogs)),
        };
        let room_bytes = share(ROOM_BYTES, topology.stores.len());
        Bounds { clean_bytes, room_bytes, filter_bytes }
    };
    topology.stores.iter().map(of).collect()
}
