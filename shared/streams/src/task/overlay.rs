//! The open transaction's view of the stores: its own changes first, then rows read before, then
//! the store itself. Nothing reaches the store before the broker's commit.

use std::collections::BTreeMap;
use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::filter::Filter;
use crate::store::{Result, Row, Store, StoreBatch, unreadable};

/// A row in memory. Keys and rows lie in the table's bytes, one behind the other.
#[derive(Debug)]
struct Cached {
    key: ByteRange,
    /// `None`: it is not there.
    row: Option<ByteRange>,
    dirty: bool,
}

/// Where in a table's bytes something lies: below 4 GiB, which a table is far from by its bounds.
#[derive(Clone, Copy, Debug)]
struct ByteRange {
    start: u32,
    len: u32,
}

impl ByteRange {
    fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start as usize..][..self.len as usize]
    }

    /// Appends it.
    fn push(bytes: &mut Vec<u8>, text: &[u8]) -> ByteRange {
        let place = ByteRange { start: bytes.len() as u32, len: text.len() as u32 };
        bytes.extend_from_slice(text);
        place
    }
}

/// One table's rows in memory.
#[derive(Debug)]
pub(crate) struct Table {
    /// Where in `rows` a key is.
    places: HashTable<u32>,
    hasher: DefaultHashBuilder,
    rows: Vec<Cached>,
    bytes: Vec<u8>,
    /// Those changed by the open transaction, in the order of their first change, so that what a
    /// commit writes does not depend on the map's order.
    dirty: Vec<u32>,
    /// The same in the order of their keys, once the transaction has scanned.
    pub(super) sorted: Option<BTreeMap<Vec<u8>, u32>>,
    /// Bytes held when the open transaction began.
    kept: usize,
    bounds: Bounds,
    read: Vec<u8>,
    /// Which keys the store may hold, as far as it has been told.
    filter: Filter,
    /// Key from which on the filter must still be told; `None`: it knows all.
    untold: Option<Vec<u8>>,
}

/// How much memory a table takes beside what the open transaction changes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Rows that are kept after a commit; when they are more, all are dropped.
    pub(crate) clean_bytes: usize,
    /// Room that is kept even when no row is.
    pub(crate) room_bytes: usize,
    /// About the size of its filter.
    pub(crate) filter_bytes: usize,
}

/// What a row costs beside its bytes, roughly.
const ROW_BYTES: usize = size_of::<Cached>() + 2 * size_of::<u32>();

impl Table {
    /// An empty one, whose filter [`Table::learn`] fills.
    pub(crate) fn new(bounds: Bounds) -> Table {
        Table {
            kept: 0,
            bounds,
            places: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            rows: Vec::new(),
            bytes: Vec::new(),
            dirty: Vec::new(),
            sorted: None,
            read: Vec::new(),
            filter: Filter::new(bounds.filter_bytes),
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
                // Taken for no row at all, it would be decided on.
                Row::decode(&self.read).map_err(|error| unreadable(store, table, error))?;
                let place = self.insert(hash, key);
                self.rows[place].row = Some(ByteRange::push(&mut self.bytes, &self.read));
                place
            }
        };
        Ok(self.row(&self.rows[place]).and_then(|row| Row::decode(row).ok()))
    }

    fn find(&self, hash: u64, key: &[u8]) -> Option<usize> {
        let is_it = |place: &u32| self.rows[*place as usize].key.of(&self.bytes) == key;
        self.places.find(hash, is_it).map(|place| *place as usize)
    }

    fn insert(&mut self, hash: u64, key: &[u8]) -> usize {
        let Self { places, rows, bytes, hasher, .. } = self;
        let place = rows.len();
        rows.push(Cached { key: ByteRange::push(bytes, key), row: None, dirty: false });
        let rehash = |place: &u32| hasher.hash_one(rows[*place as usize].key.of(bytes));
        places.insert_unique(hash, place as u32, rehash);
        place
    }

    fn row(&self, cached: &Cached) -> Option<&[u8]> {
        cached.row.map(|row| row.of(&self.bytes))
    }

    /// Changes a row. `row` is what the store shall hold, `None` deletes.
    pub(crate) fn set(&mut self, key: &[u8], row: Option<&[u8]>) {
        let hash = self.hasher.hash_one(key);
        let place = self.find(hash, key).unwrap_or_else(|| self.insert(hash, key));
        let Self { rows, bytes, dirty, sorted, .. } = self;
        let cached = &mut rows[place];
        if !cached.dirty {
            cached.dirty = true;
            dirty.push(place as u32);
            if let Some(sorted) = sorted {
                sorted.insert(key.to_vec(), place as u32);
            }
        }
        cached.row = match (row, cached.row) {
            (None, _) => None,
            // In the old one's place; what is left of it goes with the others.
            (Some(row), Some(old)) if row.len() <= old.len as usize => {
                bytes[old.start as usize..][..row.len()].copy_from_slice(row);
                Some(ByteRange { len: row.len() as u32, ..old })
            }
            (Some(row), _) => Some(ByteRange::push(bytes, row)),
        };
    }

    /// The open transaction's changes, in the order of their first one.
    pub(crate) fn changes(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.dirty.iter().map(|place| {
            let cached = &self.rows[*place as usize];
            (cached.key.of(&self.bytes), self.row(cached))
        })
    }

    /// Puts the changes in order, from now to the end of the transaction.
    pub(super) fn sort(&mut self) {
        let Self { rows, bytes, dirty, sorted, .. } = self;
        let key = |place: &u32| (rows[*place as usize].key.of(bytes).to_vec(), *place);
        sorted.get_or_insert_with(|| dirty.iter().map(key).collect());
    }

    /// The row in a place; none where it is deleted.
    pub(super) fn row_at(&self, place: u32) -> Option<&[u8]> {
        self.row(&self.rows[place as usize])
    }

    /// Adds the changes to a store's batch.
    pub(crate) fn stage(&self, table: usize, partition: u32, batch: &mut StoreBatch) {
        for (key, row) in self.changes() {
            batch.write(table, partition, key, row);
        }
    }

    /// The changes hold now, and are in the store.
    pub(crate) fn committed(&mut self) {
        self.sorted = None;
        for place in self.dirty.drain(..) {
            let cached = &mut self.rows[place as usize];
            cached.dirty = false;
            self.filter.add(cached.key.of(&self.bytes));
        }
        if self.held() > self.bounds.clean_bytes {
            self.places.clear();
            self.rows.clear();
            self.bytes.clear();
            // One large transaction must not be remembered by its memory.
            let room = self.bounds.clean_bytes.max(self.bounds.room_bytes);
            self.bytes.shrink_to(room);
            self.rows.shrink_to(room / ROW_BYTES);
            self.dirty.shrink_to(room / ROW_BYTES);
            // It is empty: nothing is hashed anew.
            self.places.shrink_to(room / ROW_BYTES, |_| 0);
        }
        self.kept = self.held();
    }

    fn held(&self) -> usize {
        self.bytes.len() + self.rows.len() * ROW_BYTES
    }

    /// Bytes that the open transaction has added, rows that it merely read included.
    pub(crate) fn added(&self) -> usize {
        self.held() - self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;

    const BOUNDS: Bounds = Bounds { clean_bytes: 1 << 10, room_bytes: 0, filter_bytes: 0 };

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
        let mut table = Table::new(BOUNDS);
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
        table.committed();
        assert_eq!(table.changes().count(), 0);
        assert_eq!(sequence(&mut table, b"new"), None, "the deletion is remembered");
        table.set(b"large", Some(&[0; 1 << 10]));
        table.committed();
        assert_eq!(sequence(&mut table, b"k"), Some(1), "nothing kept: the store's row");
    }
}
