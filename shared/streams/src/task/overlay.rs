//! The open transaction's view of the stores: its own changes first, then rows read before, then
//! the store itself. Nothing reaches the store before the broker's commit.

use hashbrown::HashMap;
use hashbrown::hash_map::EntryRef;

use super::filter::Filter;
use crate::store::{Result, Row, Store, StoreBatch};

/// A row in memory; `None`: it is not there.
#[derive(Debug, Default)]
struct Cached {
    row: Option<Vec<u8>>,
    dirty: bool,
}

/// One table's rows in memory.
#[derive(Debug)]
pub(crate) struct Table {
    rows: HashMap<Box<[u8]>, Cached>,
    /// Keys changed by the open transaction, in the order of their first change, so that what a
    /// commit writes does not depend on the map's order.
    dirty: Vec<Box<[u8]>>,
    bytes: usize,
    read: Vec<u8>,
    /// Which keys the store may hold, as far as it has been told.
    filter: Filter,
    /// Key from which on the filter must still be told; `None`: it knows all.
    untold: Option<Vec<u8>>,
}

/// Bytes of clean rows that a table keeps after a commit; beyond it they are dropped.
const CLEAN_BYTES_MAX: usize = 4 << 20;
/// What an entry costs beside its bytes, roughly.
const ENTRY_BYTES: usize = 64;

impl Table {
    /// A table with a filter of at most about so many bytes, which [`Table::learn`] fills.
    pub(crate) fn new(filter_bytes_max: usize) -> Table {
        Table {
            rows: HashMap::new(),
            dirty: Vec::new(),
            bytes: 0,
            read: Vec::new(),
            filter: Filter::new(filter_bytes_max),
            untold: Some(Vec::new()),
        }
    }

    /// Tells the filter of up to `rows_max` more rows of the store, until it knows all.
    pub(crate) fn learn(
        &mut self,
        store: &dyn Store,
        table: usize,
        partition: u32,
        rows_max: usize,
    ) -> Result<()> {
        let Some(from) = &self.untold else {
            return Ok(());
        };
        let (mut rows, mut rest) = (0, None);
        store.scan(table, partition, from, &mut |key, _| {
            if rows == rows_max {
                rest = Some(key.to_vec());
                return false;
            }
            rows += 1;
            self.filter.add(key);
            true
        })?;
        self.untold = rest;
        Ok(())
    }

    /// A row: from memory, else from the store. Rows that are there stay in memory.
    pub(crate) fn get(
        &mut self,
        store: &dyn Store,
        table: usize,
        partition: u32,
        key: &[u8],
    ) -> Result<Option<Row<'_>>> {
        let cached = match self.rows.entry_ref(key) {
            EntryRef::Occupied(entry) => entry.into_mut(),
            EntryRef::Vacant(entry) => {
                if (self.untold.is_none() && !self.filter.may_hold(key))
                    || !store.get(table, partition, key, &mut self.read)?
                {
                    return Ok(None);
                }
                if Row::decode(&self.read).is_none() {
                    // Taken for no row at all, it would be decided on.
                    return Err(store.damaged(format!("a row of table {table} is none")));
                }
                let row = Some(self.read.clone());
                self.bytes += key.len() + self.read.len() + ENTRY_BYTES;
                entry.insert_with_key(key.into(), Cached { row, dirty: false })
            }
        };
        Ok(cached.row.as_deref().and_then(Row::decode))
    }

    /// Changes a row. `row` is what the store shall hold, `None` deletes.
    pub(crate) fn set(&mut self, key: &[u8], row: Option<&[u8]>) {
        let len = row.map_or(0, <[u8]>::len);
        let cached = match self.rows.get_mut(key) {
            Some(cached) => cached,
            None => {
                self.bytes += key.len() + ENTRY_BYTES;
                self.rows.entry(key.into()).or_insert(Cached::default())
            }
        };
        self.bytes = self.bytes + len - cached.row.as_ref().map_or(0, Vec::len);
        if !cached.dirty {
            cached.dirty = true;
            self.dirty.push(key.into());
        }
        match (row, &mut cached.row) {
            (Some(row), Some(old)) => {
                old.clear();
                old.extend_from_slice(row);
            }
            (row, old) => *old = row.map(<[u8]>::to_vec),
        }
    }

    /// The open transaction's changes, in the order of their first one.
    pub(crate) fn changes(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.dirty.iter().map(|key| {
            let row = self.rows.get(key).and_then(|c| c.row.as_deref());
            (&**key, row)
        })
    }

    /// Adds the changes to a store's batch.
    pub(crate) fn stage(&self, table: usize, partition: u32, batch: &mut StoreBatch) {
        for (key, row) in self.changes() {
            batch.write(table, partition, key, row);
        }
    }

    /// The changes hold now, and are in the store. Rows that will hardly be read again are not kept.
    pub(crate) fn committed(&mut self, keep: bool) {
        for key in &self.dirty {
            self.filter.add(key);
        }
        if !keep || self.bytes > CLEAN_BYTES_MAX {
            self.rows.clear();
            self.dirty.clear();
            self.bytes = 0;
            return;
        }
        for key in self.dirty.drain(..) {
            if let Some(cached) = self.rows.get_mut(&key) {
                cached.dirty = false;
            }
        }
    }

    /// Bytes held, clean rows included.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;

    fn row(sequence: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        Row::encode(sequence, 0, b"v", &mut bytes);
        bytes
    }

    #[test]
    fn changes_go_before_the_store_and_keep_their_order() {
        let store = MemoryStore::default();
        let mut batch = StoreBatch::default();
        batch.write(0, 1, b"k", Some(&row(1)));
        store.apply(&batch).expect("memory");
        let mut table = Table::new(0);
        let sequence = |table: &mut Table, key: &[u8]| {
            table.get(&store, 0, 1, key).expect("memory").map(|r| r.sequence)
        };
        assert_eq!(sequence(&mut table, b"k"), Some(1));
        table.set(b"new", Some(&row(1)));
        table.set(b"k", Some(&row(2)));
        table.set(b"new", None);
        assert_eq!((sequence(&mut table, b"k"), sequence(&mut table, b"new")), (Some(2), None));
        let changes: Vec<_> = table.changes().map(|(key, row)| (key, row.is_some())).collect();
        assert_eq!(changes, [(&b"new"[..], false), (&b"k"[..], true)]);
        table.committed(true);
        assert_eq!(table.changes().count(), 0);
        assert_eq!(sequence(&mut table, b"new"), None, "the deletion is remembered");
        table.committed(false);
        assert_eq!(sequence(&mut table, b"k"), Some(1), "nothing kept: the store's row");
    }
}
