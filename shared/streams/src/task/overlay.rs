//! The open transaction's view of the stores: its own changes first, then rows read before, then
//! the store itself. Nothing reaches the store before the broker's commit.

use std::hash::BuildHasher;
use std::ops::Range;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::filter::Filter;
use crate::store::{Result, Row, Store, StoreBatch};

/// A row in memory. Keys and rows lie in the table's bytes, one behind the other.
#[derive(Debug)]
struct Cached {
    key: Range<usize>,
    /// `None`: it is not there.
    row: Option<Range<usize>>,
    dirty: bool,
}

/// One table's rows in memory.
#[derive(Debug)]
pub(crate) struct Table {
    /// Where in `rows` a key is.
    places: HashTable<usize>,
    hasher: DefaultHashBuilder,
    rows: Vec<Cached>,
    bytes: Vec<u8>,
    /// Those changed by the open transaction, in the order of their first change, so that what a
    /// commit writes does not depend on the map's order.
    dirty: Vec<usize>,
    read: Vec<u8>,
    /// Which keys the store may hold, as far as it has been told.
    filter: Filter,
    /// Key from which on the filter must still be told; `None`: it knows all.
    untold: Option<Vec<u8>>,
}

/// Bytes of clean rows that a table keeps after a commit; beyond it they are dropped.
const CLEAN_BYTES_MAX: usize = 4 << 20;
/// What a row costs beside its bytes, roughly.
const ROW_BYTES: usize = size_of::<Cached>() + 3 * size_of::<usize>();

impl Table {
    /// A table with a filter of at most about so many bytes, which [`Table::learn`] fills.
    pub(crate) fn new(filter_bytes_max: usize) -> Table {
        Table {
            places: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            rows: Vec::new(),
            bytes: Vec::new(),
            dirty: Vec::new(),
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
        let hash = self.hasher.hash_one(key);
        let place = match self.find(hash, key) {
            Some(place) => place,
            None => {
                if (self.untold.is_none() && !self.filter.may_hold(key))
                    || !store.get(table, partition, key, &mut self.read)?
                {
                    return Ok(None);
                }
                if Row::decode(&self.read).is_none() {
                    // Taken for no row at all, it would be decided on.
                    return Err(store.damaged(format!("a row of table {table} is none")));
                }
                let place = self.insert(hash, key);
                let start = self.bytes.len();
                self.bytes.extend_from_slice(&self.read);
                self.rows[place].row = Some(start..self.bytes.len());
                place
            }
        };
        Ok(self.row(&self.rows[place]).and_then(Row::decode))
    }

    fn find(&self, hash: u64, key: &[u8]) -> Option<usize> {
        let is_it = |place: &usize| self.bytes[self.rows[*place].key.clone()] == *key;
        self.places.find(hash, is_it).copied()
    }

    fn insert(&mut self, hash: u64, key: &[u8]) -> usize {
        let (place, start) = (self.rows.len(), self.bytes.len());
        self.bytes.extend_from_slice(key);
        self.rows.push(Cached { key: start..self.bytes.len(), row: None, dirty: false });
        let Self { places, rows, bytes, hasher, .. } = self;
        let rehash = |place: &usize| hasher.hash_one(&bytes[rows[*place].key.clone()]);
        places.insert_unique(hash, place, rehash);
        place
    }

    fn row(&self, cached: &Cached) -> Option<&[u8]> {
        cached.row.clone().map(|row| &self.bytes[row])
    }

    /// Changes a row. `row` is what the store shall hold, `None` deletes.
    pub(crate) fn set(&mut self, key: &[u8], row: Option<&[u8]>) {
        let hash = self.hasher.hash_one(key);
        let place = self.find(hash, key).unwrap_or_else(|| self.insert(hash, key));
        let Self { rows, bytes, dirty, .. } = self;
        let cached = &mut rows[place];
        if !cached.dirty {
            cached.dirty = true;
            dirty.push(place);
        }
        cached.row = match (row, cached.row.take()) {
            (None, _) => None,
            // In the old one's place; what is left of it goes with the others.
            (Some(row), Some(old)) if row.len() <= old.len() => {
                let place = old.start..old.start + row.len();
                bytes[place.clone()].copy_from_slice(row);
                Some(place)
            }
            (Some(row), _) => {
                let start = bytes.len();
                bytes.extend_from_slice(row);
                Some(start..bytes.len())
            }
        };
    }

    /// The open transaction's changes, in the order of their first one.
    pub(crate) fn changes(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.dirty.iter().map(|place| {
            let cached = &self.rows[*place];
            (&self.bytes[cached.key.clone()], self.row(cached))
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
        for place in self.dirty.drain(..) {
            let cached = &mut self.rows[place];
            cached.dirty = false;
            self.filter.add(&self.bytes[cached.key.clone()]);
        }
        if !keep || self.bytes() > CLEAN_BYTES_MAX {
            self.places.clear();
            self.rows.clear();
            self.bytes.clear();
            // One large transaction must not be remembered by its memory.
            self.bytes.shrink_to(CLEAN_BYTES_MAX);
        }
    }

    /// Bytes held, clean rows included.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len() + self.rows.len() * ROW_BYTES
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
