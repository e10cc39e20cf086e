//! A store in memory, for the [`crate::TestDriver`] and for simulation.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Checkpoint, Result, Store, StoreBatch};

type Key = (usize, u32, Vec<u8>);

#[derive(Clone, Debug, Default)]
struct Tables {
    rows: BTreeMap<Key, Vec<u8>>,
    checkpoints: BTreeMap<u32, Checkpoint>,
}

/// Rows in a map.
#[derive(Debug, Default)]
pub struct MemoryStore {
    tables: Mutex<Tables>,
}

impl MemoryStore {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn checkpoint(&self, partition: u32) -> Result<Option<Checkpoint>> {
        Ok(self.tables().checkpoints.get(&partition).cloned())
    }

    fn get(&self, table: usize, partition: u32, key: &[u8], into: &mut Vec<u8>) -> Result<bool> {
        into.clear();
        let tables = self.tables();
        let row = tables.rows.get(&(table, partition, key.to_vec()));
        into.extend_from_slice(row.map_or(&[], Vec::as_slice));
        Ok(row.is_some())
    }

    fn multi_get(
        &self,
        table: usize,
        partition: u32,
        keys: &[&[u8]],
    ) -> Result<Vec<Option<Vec<u8>>>> {
        let tables = self.tables();
        let row = |key: &&[u8]| tables.rows.get(&(table, partition, key.to_vec())).cloned();
        Ok(keys.iter().map(row).collect())
    }

    fn scan(
        &self,
        table: usize,
        partition: u32,
        from: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<()> {
        // A copy, so that the visitor may read other rows.
        let rows: Vec<_> = self
            .tables()
            .rows
            .range((table, partition, from.to_vec())..)
            .take_while(|((t, p, _), _)| (*t, *p) == (table, partition))
            .map(|((_, _, key), row)| (key.clone(), row.clone()))
            .collect();
        rows.iter().all(|(key, row)| visit(key, row));
        Ok(())
    }

    fn apply(&self, batch: &StoreBatch) -> Result<()> {
        let mut tables = self.tables();
        for (table, partition, key, row) in batch.writes() {
            let key = (table, partition, key.to_vec());
            match row {
                Some(row) => tables.rows.insert(key, row.to_vec()),
                None => tables.rows.remove(&key),
            };
        }
        tables.checkpoints.extend(batch.checkpoints.iter().cloned());
        Ok(())
    }

    fn quarantine(&self, partition: u32, _cause: &str) -> Result<()> {
        let mut tables = self.tables();
        tables.rows.retain(|(_, p, _), _| *p != partition);
        tables.checkpoints.remove(&partition);
        Ok(())
    }
}
