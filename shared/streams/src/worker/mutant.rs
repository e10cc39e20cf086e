//! How a worker is wrong on purpose.

use super::restore::Restore;
use super::{Assigned, Worker};
use crate::broker::OffsetCommit;
use crate::error::Result;
pub use crate::mutant::Mutant;
use crate::store::{Row, StoreBatch};
use crate::task::TaskEnv;
use crate::task::order::{Input, Known, Mistake, Waiting};

impl Mutant {
    /// What its tasks take an input for.
    pub(super) fn mistake(self) -> Option<Mistake> {
        match self {
            Mutant::RanksByHead => Some(|input| {
                let by_head = |waiting: Waiting| Waiting { least: waiting.head, ..waiting };
                Input { waiting: input.waiting.map(by_head), ..input }
            }),
            Mutant::TrustsFetched => Some(|input| match input.waiting {
                Some(_) => Input { known: Known::Enough, ..input },
                None => input,
            }),
            _ => None,
        }
    }
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
        self.env.store.apply(&batch)?;
        Ok(())
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
        self.env.store.apply(&batch)?;
        Ok(())
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
        Ok(there && Row::decode(&row).is_ok_and(|row| row.sequence > sequence))
    }
}
