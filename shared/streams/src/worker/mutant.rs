//! How a worker is wrong on purpose.

use super::{Assigned, Worker};
use crate::broker::OffsetCommit;
use crate::error::Result;
pub use crate::mutant::Mutant;
use crate::store::StoreBatch;
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
