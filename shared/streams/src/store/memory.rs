//! A store in memory, for the [`crate::TestDriver`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Checkpoint, Claim, Claims, Result, Store, StoreBatch};

type Key = (usize, u32, Vec<u8>);

/// Rows in a map, and what they stand for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tables {
    rows: BTreeMap<Key, Vec<u8>>,
    checkpoints: BTreeMap<u32, Checkpoint>,
}

impl Tables {
    pub(crate) fn checkpoint(&self, partition: u32) -> Option<&Checkpoint> {
        self.checkpoints.get(&partition)
    }

    pub(crate) fn get(&self, table: usize, partition: u32, key: &[u8]) -> Option<&Vec<u8>> {
        self.rows.get(&(table, partition, key.to_vec()))
    }

    pub(crate) fn rows(
        &self,
        table: usize,
        partition: u32,
        from: &[u8],
    ) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.rows
            .range((table, partition, from.to_vec())..)
            .take_while(move |((t, p, _), _)| (*t, *p) == (table, partition))
            .map(|((_, _, key), row)| (key.as_slice(), row.as_slice()))
    }

    pub(crate) fn apply(&mut self, batch: &StoreBatch, lost: &BTreeSet<u32>) {
        for (table, partition, key, row) in batch.writes(lost) {
            let key = (table, partition, key.to_vec());
            match row {
                Some(row) => self.rows.insert(key, row.to_vec()),
                None => self.rows.remove(&key),
            };
        }
        self.checkpoints.extend(batch.checkpoints(lost).cloned());
    }

    pub(crate) fn clear(&mut self, table: usize, partition: u32) {
        self.rows.retain(|(t, p, _), _| (*t, *p) != (table, partition));
    }

    pub(crate) fn forget(&mut self, partition: u32) {
        self.rows.retain(|(_, p, _), _| *p != partition);
        self.checkpoints.remove(&partition);
    }
}

/// Rows in a map.
#[derive(Debug, Default)]
pub struct MemoryStore {
    tables: Mutex<Tables>,
    claims: Claims,
}

impl MemoryStore {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn claim(&self, partition: u32) -> Claim {
        self.claims.claim(partition)
    }

    fn checkpoint(&self, partition: u32) -> Result<Option<Checkpoint>> {
        Ok(self.tables().checkpoint(partition).cloned())
    }

    fn get(&self, table: usize, partition: u32, key: &[u8], into: &mut Vec<u8>) -> Result<bool> {
        into.clear();
        let tables = self.tables();
        let row = tables.get(table, partition, key);
        into.extend_from_slice(row.map_or(&[], Vec::as_slice));
        Ok(row.is_some())
    }

    fn scan(
        &self,
        table: usize,
        partition: u32,
        from: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<()> {
        // A copy, so that the visitor may read other rows.
        let tables = self.tables().clone();
        tables.rows(table, partition, from).all(|(key, row)| visit(key, row));
        Ok(())
    }

    fn holds(&self, partition: u32, claim: Claim) -> bool {
        self.claims.holds(partition, claim)
    }

    fn apply(&self, batch: &StoreBatch) -> Result<BTreeSet<u32>> {
        self.claims.write(batch, |lost| {
            self.tables().apply(batch, lost);
            Ok(())
        })
    }

    fn clear(&self, table: usize, partition: u32, claim: Claim) -> Result<()> {
        self.claims.empty(partition, claim, || {
            self.tables().clear(table, partition);
            Ok(())
        })
    }

    fn quarantine(&self, partition: u32, claim: Claim, _cause: &str) -> Result<()> {
        self.claims.empty(partition, claim, || {
            self.tables().forget(partition);
            Ok(())
        })
    }
}
