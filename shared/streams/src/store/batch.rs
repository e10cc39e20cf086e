//! Rows and checkpoints that are written together.

use std::collections::BTreeSet;
use std::ops::Range;

use super::{Checkpoint, Claim};

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

    pub(super) fn claim_of(&self, partition: u32) -> Claim {
        let held = self.claims.iter().rev().find(|(p, _)| *p == partition);
        held.map_or(Claim::default(), |(_, claim)| *claim)
    }

    /// Those that it writes to.
    pub(super) fn partitions(&self) -> BTreeSet<u32> {
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
    pub(crate) fn writes(
        &self,
        lost: &BTreeSet<u32>,
    ) -> impl Iterator<Item = (usize, u32, &[u8], Option<&[u8]>)> {
        self.writes.iter().filter(|w| !lost.contains(&w.partition)).map(|w| {
            let value = w.value.clone().map(|v| &self.bytes[v]);
            (w.table, w.partition, &self.bytes[w.key.clone()], value)
        })
    }

    /// All checkpoints except those of the partitions that it has `lost`.
    pub(crate) fn checkpoints(
        &self,
        lost: &BTreeSet<u32>,
    ) -> impl Iterator<Item = &(u32, Checkpoint)> {
        self.checkpoints.iter().filter(|(partition, _)| !lost.contains(partition))
    }
}
