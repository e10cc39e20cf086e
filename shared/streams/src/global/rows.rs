//! Rows as a [`GlobalProcessor`](super::GlobalProcessor) sees them: those of its round over those
//! of the store.

use hashbrown::HashMap;

use super::GLOBAL;
use crate::store::{Result, Store, StoreBatch};

/// What one round has changed so far.
type Staged = HashMap<(usize, Vec<u8>), Option<Vec<u8>>>;

/// The rows of a global table while records are folded into them.
pub struct Rows<'a> {
    store: &'a dyn Store,
    staged: Staged,
}

impl<'a> Rows<'a> {
    pub(super) fn new(store: &'a dyn Store) -> Rows<'a> {
        Rows { store, staged: Staged::default() }
    }

    /// A row as it is now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn get(&self, table: usize, key: &[u8]) -> Result<Option<Vec<u8>>> {
        if let Some(staged) = self.staged.get(&(table, key.to_vec())) {
            return Ok(staged.clone());
        }
        let mut row = Vec::new();
        Ok(self.store.get(table, GLOBAL, key, &mut row)?.then_some(row))
    }

    /// Sets a row.
    pub fn put(&mut self, table: usize, key: &[u8], row: impl Into<Vec<u8>>) {
        self.staged.insert((table, key.to_vec()), Some(row.into()));
    }

    /// Takes a row away, if it is there.
    pub fn delete(&mut self, table: usize, key: &[u8]) {
        self.staged.insert((table, key.to_vec()), None);
    }

    pub(super) fn into_batch(self) -> StoreBatch {
        let mut batch = StoreBatch::default();
        for ((table, key), row) in &self.staged {
            batch.write(*table, GLOBAL, key, row.as_deref());
        }
        batch
    }
}
