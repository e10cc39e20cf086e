//! The end of a restore: what was read is compared with what ledgers tell, and the index of due rows is
//! made anew where a store falls due by another function than before, or has begun to.

use super::Guarantee;
use super::restore::Restore;
use crate::error::Result;
use crate::store::{Checkpoint, Row, StoreBatch, unreadable};
use crate::task::{TaskEnv, due_index};

/// Rows that are taken into the index at once.
const ROWS_MAX: usize = 10_000;

impl Restore {
    /// Writes rows, and what they stand for.
    pub(super) fn keep(
        &self,
        env: &TaskEnv,
        checkpoint: &mut Checkpoint,
        mut rows: StoreBatch,
    ) -> Result<()> {
        checkpoint.stores = env.topology.kept();
        checkpoint.due_layout = env.topology.due_layout().filter(|_| self.has_index);
        rows.checkpoint(self.partition, checkpoint.clone());
        rows.hold(self.partition, self.claim);
        env.store.apply(&rows)?;
        Ok(())
    }

    /// All is read: compares the rows with what ledgers tell of them, and keeps how far those are. To be
    /// called again until it is concluded.
    pub(super) fn conclude(&mut self, env: &TaskEnv, guarantee: Guarantee) -> Result<()> {
        if self.is_concluded {
            return Ok(());
        }
        // Without transactions a ledger may be ahead of its rows.
        if guarantee == Guarantee::ExactlyOnce && self.indexed.is_none() {
            self.told.check(env, self.partition)?;
        }
        let backing = self.reached.missing.iter().map(|m| (m.topic.clone(), m.position));
        let backing: Vec<_> = backing.collect();
        let mut checkpoint = self.reached.checkpoint.clone();
        let is_new = !self.has_index;
        if is_new && !self.index_on(env, &mut checkpoint)? {
            return Ok(());
        }
        if is_new || self.reached.restored > 0 && checkpoint.backing != backing {
            checkpoint.backing = backing;
            self.keep(env, &mut checkpoint, StoreBatch::default())?;
        }
        self.reached.checkpoint = checkpoint;
        self.is_concluded = true;
        Ok(())
    }

    /// Fills the index from the rows, a piece at a time; whether it is whole. Until then no checkpoint tells
    /// of it.
    fn index_on(&mut self, env: &TaskEnv, checkpoint: &mut Checkpoint) -> Result<bool> {
        let Some(index) = env.topology.due_index() else {
            self.has_index = true;
            return Ok(true);
        };
        let (mut table, from) = match self.indexed.take() {
            Some(place) => place,
            None => {
                self.keep(env, checkpoint, StoreBatch::default())?;
                env.store.clear(index, self.partition, self.claim)?;
                (0, Vec::new())
            }
        };
        let rest = match env.topology.stores[table].due {
            Some(_) => self.index_rows(env, table, &from)?,
            None => None,
        };
        table += usize::from(rest.is_none());
        self.has_index = table == env.topology.stores.len();
        if !self.has_index {
            self.indexed = Some((table, rest.unwrap_or_default()));
        }
        Ok(self.has_index)
    }

    /// Takes a piece of the rows of a store into the index; where the next one begins, if there is more.
    fn index_rows(&self, env: &TaskEnv, table: usize, first: &[u8]) -> Result<Option<Vec<u8>>> {
        let (mut batch, mut rows, mut rest, mut failed) = (StoreBatch::default(), 0, None, None);
        env.store.scan(table, self.partition, first, &mut |key, row| {
            if rows == ROWS_MAX {
                rest = Some(key.to_vec());
                return false;
            }
            rows += 1;
            match Row::decode(row) {
                Ok(row) => {
                    let at = (table, self.partition);
                    due_index::index(&env.topology, at, (key, row.value), &mut batch);
                }
                Err(error) => failed = Some(error),
            }
            failed.is_none()
        })?;
        if let Some(error) = failed {
            return Err(unreadable(&*env.store, table, error).into());
        }
        batch.hold(self.partition, self.claim);
        env.store.apply(&batch)?;
        Ok(rest)
    }
}
