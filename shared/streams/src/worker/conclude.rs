//! The end of a restore: what was read is compared with what ledgers tell, and the index of due rows is
//! made anew where a store falls due by another function than before, or has begun to.

use super::Guarantee;
use super::restore::Restore;
use crate::error::Result;
use crate::store::{Checkpoint, Row, StoreBatch, unreadable};
use crate::task::{TaskEnv, due_index};
use crate::topology::DueSpec;

/// Rows that are looked at between two batches to the store.
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

    /// All is read: compares the rows with what ledgers tell of them, and keeps how far those are.
    pub(super) fn conclude(&mut self, env: &TaskEnv, guarantee: Guarantee) -> Result<()> {
        if self.is_concluded {
            return Ok(());
        }
        // Without transactions a ledger may be ahead of its rows.
        if guarantee == Guarantee::ExactlyOnce {
            self.told.check(env, self.partition)?;
        }
        let backing = self.reached.missing.iter().map(|m| (m.topic.clone(), m.position));
        let backing: Vec<_> = backing.collect();
        let mut checkpoint = self.reached.checkpoint.clone();
        let is_new = !self.has_index;
        if is_new {
            self.make_index(env)?;
        }
        if is_new || self.reached.restored > 0 && checkpoint.backing != backing {
            checkpoint.backing = backing;
            self.keep(env, &mut checkpoint, StoreBatch::default())?;
        }
        self.reached.checkpoint = checkpoint;
        self.is_concluded = true;
        Ok(())
    }

    /// Fills the index from the rows. Until it is whole, no checkpoint tells of it.
    fn make_index(&mut self, env: &TaskEnv) -> Result<()> {
        if let Some(index) = env.topology.due_index() {
            env.store.clear(index, self.partition, self.claim)?;
            for (table, spec) in env.topology.stores.iter().enumerate() {
                if let Some(spec) = spec.due {
                    self.index_rows(env, (index, table), spec)?;
                }
            }
        }
        self.has_index = true;
        Ok(())
    }

    fn index_rows(
        &self,
        env: &TaskEnv,
        (index, table): (usize, usize),
        DueSpec { of, .. }: DueSpec,
    ) -> Result<()> {
        let mut from = Some(Vec::new());
        while let Some(first) = from.take() {
            let (mut batch, mut rows, mut failed) = (StoreBatch::default(), 0, None);
            env.store.scan(table, self.partition, &first, &mut |key, row| {
                if rows == ROWS_MAX {
                    from = Some(key.to_vec());
                    return false;
                }
                rows += 1;
                match Row::decode(row) {
                    Ok(row) => {
                        if let Some(due) = of(row.value) {
                            let entry = due_index::entry(due, table, key);
                            batch.write(index, self.partition, &entry, Some(&[]));
                        }
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
        }
        Ok(())
    }
}
