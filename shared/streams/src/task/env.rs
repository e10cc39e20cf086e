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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;
    use crate::topology::nothing::node;
    use crate::topology::{self, Ledger, Sink, Source};

    #[test]
    fn all_partitions_share_what_their_tables_may_take() {
        let node = node("n", |wiring| {
            let _ = (wiring.store("rows"), wiring.ledger("memory"), wiring.sink("out"));
        });
        let node = node.reads(Source::new("in", "in", topology::as_it_is));
        let topology = Topology::named("a")
            .store(topology::Store::new("rows", "rows"))
            .ledger(Ledger::new("memory", "out", |_, _| None))
            .sink(Sink::new("out", "out"))
            .processor(node)
            .dead_letters("letters");
        let layout = Layout { partitions: 4, dead_letter_partitions: 1 };
        let store = Arc::new(MemoryStore::default());
        let env = TaskEnv::new(Arc::new(topology.build().expect("well wired")), store, layout);
        let of = |env: &TaskEnv| {
            let tables = bounds(env).into_iter();
            tables.map(|b| [b.clean_bytes, b.filter_bytes, b.room_bytes]).collect::<Vec<_>>()
        };
        assert_eq!(of(&env), [[24 << 20, 1 << 20, 6 << 20], [0, 12 << 20, 6 << 20]]);
        let env = env.bounded(TableBounds {
            ledger_filter_bytes: 4_000,
            changelog_filter_bytes: 400,
            clean_bytes: 8_000,
            room_bytes: 800,
        });
        assert_eq!(of(&env), [[2_000, 100, 100], [0, 1_000, 100]]);
    }
}
