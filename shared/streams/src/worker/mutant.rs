//! Engines that are wrong on purpose, for the simulator to find: one that has never failed proves
//! nothing. Compiled with the feature `mutants` only, which no program asks for.

use super::restore::Restore;
use super::{Assigned, Worker};
use crate::broker::OffsetCommit;
use crate::error::Result;
use crate::store::{Row, StoreBatch};
use crate::task::TaskEnv;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Step 5 before step 4: rows are kept although the transaction may not hold.
    StoreBeforeCommit,
    /// Offsets are committed beside the transaction, not in it.
    OffsetsOutside,
    /// Rows of a dropped transaction are kept.
    OverlayKept,
    /// The store is moved aside whenever a partition is opened.
    WipeOnRestart,
    /// A commit without an answer is taken for one that does not hold, and the producer goes on.
    TimeoutIsAbort,
    /// A producer whose old requests may still arrive goes on.
    LateEndIgnored,
    /// A restore is done at the first fetch that brings nothing.
    RestoreEndsEarly,
    /// The positions committed are those before the last record.
    PositionsBehind,
    /// A restore is done at the first fetch that fails.
    RestoreFailureIsEnd,
    /// A restore keeps a row whose sequence is higher than the record's.
    RestoreKeepsHigher,
    /// Time in which the broker was away counts as a standstill of a restore.
    AwayIsStandstill,
    /// An offset of the group is believed whoever committed it.
    ForeignOffsetTaken,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Mutant; 12] = [
        Mutant::StoreBeforeCommit,
        Mutant::OffsetsOutside,
        Mutant::OverlayKept,
        Mutant::WipeOnRestart,
        Mutant::TimeoutIsAbort,
        Mutant::LateEndIgnored,
        Mutant::RestoreEndsEarly,
        Mutant::PositionsBehind,
        Mutant::RestoreFailureIsEnd,
        Mutant::RestoreKeepsHigher,
        Mutant::AwayIsStandstill,
        Mutant::ForeignOffsetTaken,
    ];
}

impl Worker {
    pub(super) fn is(&self, mutant: Mutant) -> bool {
        self.config.mutant == Some(mutant)
    }

    /// What [`Mutant::StoreBeforeCommit`] does between steps 1 and 2.
    pub(super) fn store_first(&mut self, partitions: &[u32]) -> Result<()> {
        let mut batch = StoreBatch::default();
        for partition in partitions {
            if let Some(Assigned::Running(task, _)) = self.tasks.get(partition) {
                let known = self.env.store.checkpoint(*partition)?.unwrap_or_default();
                task.stage(known.backing, &mut batch);
            }
        }
        Ok(self.env.store.apply(&batch)?)
    }

    /// What [`Mutant::OverlayKept`] does when a transaction is dropped.
    pub(super) fn keep_overlay(&self) -> Result<()> {
        let mut batch = StoreBatch::default();
        for (partition, assigned) in &self.tasks {
            if let Assigned::Running(task, _) = assigned {
                task.stage(Vec::new(), &mut batch);
                batch.forget_checkpoint(*partition);
            }
        }
        Ok(self.env.store.apply(&batch)?)
    }

    /// What is committed within the transaction, and how.
    pub(super) fn offsets_mutated(&mut self, offsets: &mut [OffsetCommit]) -> Result<()> {
        if self.is(Mutant::PositionsBehind) {
            for offset in offsets.iter_mut() {
                offset.committed.offset = offset.committed.offset.saturating_sub(1);
            }
        }
        if self.is(Mutant::OffsetsOutside) {
            self.consumer.commit(offsets)?;
        }
        Ok(())
    }
}

impl Restore {
    /// Ends the restore where a mutant would.
    pub(super) fn mutated(&mut self, advanced: Result<()>, before: u64) -> Result<()> {
        use Mutant::{RestoreEndsEarly, RestoreFailureIsEnd};
        match (advanced, self.mutant) {
            (Ok(()), Some(RestoreEndsEarly)) if self.remaining() == before => {
                self.reached.missing.iter_mut().for_each(|m| m.end = m.position);
                Ok(())
            }
            (Err(_), Some(RestoreFailureIsEnd)) => {
                self.reached.missing.iter_mut().for_each(|m| m.end = m.position);
                Ok(())
            }
            (advanced, _) => advanced,
        }
    }

    /// What [`Mutant::RestoreKeepsHigher`] leaves out.
    pub(super) fn keeps(
        &self,
        env: &TaskEnv,
        table: usize,
        key: &[u8],
        sequence: u64,
    ) -> Result<bool> {
        if self.mutant != Some(Mutant::RestoreKeepsHigher) {
            return Ok(false);
        }
        let mut row = Vec::new();
        let there = env.store.get(table, self.partition, key, &mut row)?;
        Ok(there && Row::decode(&row).is_some_and(|row| row.sequence > sequence))
    }
}
