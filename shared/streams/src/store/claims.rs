//! Who may write to which partition of a store, for the implementations of the port. Workers of one
//! process share its store: one that was taken for dead in the middle of a commit may come with
//! what it committed after another has taken the partition over, and written on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::StoreBatch;

/// The right to write to a partition. Whoever claims it next takes it away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claim(u64);

/// All claims on the partitions of a store; the last one of each counts.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    partitions: Mutex<BTreeMap<u32, Arc<Mutex<Claim>>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Claims {
    fn of(&self, partition: u32) -> Arc<Mutex<Claim>> {
        lock(&self.partitions).entry(partition).or_default().clone()
    }

    /// Claims a partition; waits for a batch of its former owner that is being written.
    pub(crate) fn claim(&self, partition: u32) -> Claim {
        let last = self.of(partition);
        let mut last = lock(&last);
        last.0 += 1;
        *last
    }

    /// Whether nobody has claimed a partition since this claim.
    pub(crate) fn holds(&self, partition: u32, claim: Claim) -> bool {
        *lock(&self.of(partition)) == claim
    }

    /// Writes a batch. `write` is told of which partitions it has lost the claim: what it has of
    /// them must be left out. Nobody claims the others meanwhile. Returns those that were lost.
    pub(crate) fn write<E>(
        &self,
        batch: &StoreBatch,
        write: impl FnOnce(&BTreeSet<u32>) -> Result<(), E>,
    ) -> Result<BTreeSet<u32>, E> {
        // In the order of their numbers, so that no two wait for each other.
        let touched: Vec<_> = batch.partitions().into_iter().map(|p| (p, self.of(p))).collect();
        let held: Vec<_> =
            touched.iter().map(|(partition, last)| (*partition, lock(last))).collect();
        let is_lost = |(partition, last): &&(u32, MutexGuard<'_, Claim>)| {
            **last != batch.claim_of(*partition)
        };
        let lost: BTreeSet<u32> =
            held.iter().filter(is_lost).map(|(partition, _)| *partition).collect();
        if !lost.is_empty() {
            tracing::warn!(partitions = ?lost, "a batch comes late: others have taken over");
        }
        write(&lost)?;
        Ok(lost)
    }

    /// Empties a partition by this claim, unless it is lost. Nobody claims it meanwhile.
    pub(crate) fn empty<E>(
        &self,
        partition: u32,
        claim: Claim,
        empty: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let last = self.of(partition);
        let last = lock(&last);
        if *last != claim {
            tracing::warn!(partition, "comes late to empty it: another has taken over");
            return Ok(());
        }
        empty()
    }
}
