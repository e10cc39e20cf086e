//! Engines that are wrong on purpose, for the simulator to find: one that has never failed proves
//! nothing. Compiled with the feature `mutants` only, which no program asks for.

use super::{Assigned, Worker};
use crate::broker::OffsetCommit;
use crate::error::Result;
use crate::store::StoreBatch;
use crate::task::order::{Input, Known, Mistake, Waiting};

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
    /// An input goes by its head alone, whatever waits behind it.
    RanksByHead,
    /// An input in which records wait is taken to be here as a whole.
    TrustsFetched,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Mutant; 11] = [
        Mutant::StoreBeforeCommit,
        Mutant::OffsetsOutside,
        Mutant::OverlayKept,
        Mutant::WipeOnRestart,
        Mutant::TimeoutIsAbort,
        Mutant::LateEndIgnored,
        Mutant::RestoreEndsEarly,
        Mutant::PositionsBehind,
        Mutant::RestoreFailureIsEnd,
        Mutant::RanksByHead,
        Mutant::TrustsFetched,
    ];

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
