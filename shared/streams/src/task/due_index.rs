//! Which rows of a task fall due next: an index beside the rows, in a table of its own, of which the
//! beginning is in memory.
//!
//! Each entry is a place in the order in which rows fall due: the time, the number of the store, the
//! key. The open transaction keeps its changes of the index here, and they go to the store with those
//! of the rows. A restore takes rows through their earlier states and leaves entries of those behind,
//! so an entry counts only while its row says that very time; others are dropped when their time comes.

use std::collections::{BTreeMap, BTreeSet};

use crate::due::Due;
use crate::error::Result;
use crate::stamp::Clocks;
use crate::store::{Store, StoreBatch};
use crate::topology::Topology;

/// What of the index is read into memory at once (bytes), one entry at least.
const WINDOW_BYTES: usize = 32 << 10;
/// What an entry costs beside its bytes, roughly.
const ENTRY_BYTES: usize = 64;

/// An entry of the index, whose bytes are in the order in which rows fall due: the clock (1 byte), the
/// time (8), the number of the table (2), all of them big endian, and the key.
type Entry = Vec<u8>;

/// The clocks, as entries have them.
const AT: u8 = 0;
const RUNNING: u8 = 1;
/// Bytes in front of the key.
const HEAD_BYTES: usize = 11;

/// The entry of a row.
fn entry(due: Due, table: usize, key: &[u8]) -> Entry {
    let (clock, time) = match due {
        Due::At(time) => (AT, time),
        Due::Running(time) => (RUNNING, time),
    };
    let mut entry = Vec::with_capacity(HEAD_BYTES + key.len());
    entry.push(clock);
    entry.extend_from_slice(&time.to_be_bytes());
    entry.extend_from_slice(&(table as u16).to_be_bytes());
    entry.extend_from_slice(key);
    entry
}

/// Adds the entry of a row to a batch, if the row falls due.
pub(crate) fn index(
    topology: &Topology,
    (table, partition): (usize, u32),
    (key, value): (&[u8], &[u8]),
    batch: &mut StoreBatch,
) {
    if let Some(spec) = topology.stores[table].due
        && let Some(due) = (spec.of)(value)
        && let Some(index) = topology.due_index()
    {
        batch.write(index, partition, &entry(due, table, key), Some(&[]));
    }
}

/// Due, table and key; nothing where it is no entry.
pub(super) fn parts(entry: &[u8]) -> Option<(Due, usize, &[u8])> {
    let (clock, rest) = entry.split_first()?;
    let (time, rest) = rest.split_first_chunk()?;
    let (table, key) = rest.split_first_chunk()?;
    let time = u64::from_be_bytes(*time);
    let due = match *clock {
        AT => Due::At(time),
        RUNNING => Due::Running(time),
        _ => return None,
    };
    Some((due, usize::from(u16::from_be_bytes(*table)), key))
}

/// The rows of a task that will fall due by one of its clocks, the earliest in memory.
#[derive(Debug)]
struct Window {
    clock: u8,
    /// All of those before the horizon, and what the open transaction has added behind it.
    entries: BTreeSet<Entry>,
    /// Their size.
    bytes: usize,
    /// From here on the store must be asked; `None`: all are in memory.
    horizon: Option<Entry>,
}

impl Window {
    fn new(clock: u8) -> Self {
        Self { clock, entries: BTreeSet::new(), bytes: 0, horizon: Some(vec![clock]) }
    }

    /// The earliest time at which something may fall due.
    fn next(&self) -> u64 {
        let time = |entry: &Entry| match parts(entry) {
            Some((Due::At(time) | Due::Running(time), ..)) => time,
            None => 0,
        };
        let known = self.entries.first().map_or(u64::MAX, time);
        self.horizon.as_ref().map_or(known, |horizon| known.min(time(horizon)))
    }

    /// The first entry, if all that lies before it is in memory too.
    fn first(&self) -> Option<&Entry> {
        let first = self.entries.first()?;
        self.horizon.as_ref().is_none_or(|horizon| first < horizon).then_some(first)
    }

    fn add(&mut self, entry: Entry) {
        let bytes = entry.len() + ENTRY_BYTES;
        if self.entries.insert(entry) {
            self.bytes += bytes;
        }
    }

    fn remove(&mut self, entry: &Entry) {
        if self.entries.remove(entry) {
            self.bytes -= entry.len() + ENTRY_BYTES;
        }
    }

    /// Moves the horizon on by a window of the index; what the open transaction has removed stays so.
    fn read_on(
        &mut self,
        store: &dyn Store,
        (index, partition): (usize, u32),
        changed: &BTreeMap<Entry, bool>,
    ) -> Result<()> {
        let Some(from) = self.horizon.take() else {
            return Ok(());
        };
        let (mut read, mut bytes, mut rest) = (Vec::new(), 0, None);
        store.scan(index, partition, &from, &mut |entry, _| {
            if entry.first() != Some(&self.clock) {
                return false;
            }
            if bytes >= WINDOW_BYTES {
                rest = Some(entry.to_vec());
                return false;
            }
            bytes += entry.len() + ENTRY_BYTES;
            read.push(entry.to_vec());
            true
        })?;
        self.horizon = rest;
        for entry in read {
            if changed.get(&entry) != Some(&false) {
                self.add(entry);
            }
        }
        Ok(())
    }

    /// All changes are in the store: what is in memory stays within its bound.
    fn committed(&mut self) {
        let mut bytes = 0;
        let is_out = |entry: &&Entry| {
            let before = bytes;
            bytes += entry.len() + ENTRY_BYTES;
            before >= 2 * WINDOW_BYTES
        };
        let first_out = self.entries.iter().find(is_out).cloned();
        self.horizon = match (self.horizon.take(), first_out) {
            (Some(horizon), Some(first)) => Some(horizon.min(first)),
            (horizon, first) => horizon.or(first),
        };
        if let Some(horizon) = &self.horizon {
            let out = self.entries.split_off(horizon);
            self.bytes -= out.iter().map(|entry| entry.len() + ENTRY_BYTES).sum::<usize>();
        }
    }
}

/// The rows of a task that will fall due.
#[derive(Debug)]
pub(crate) struct DueRows {
    /// The table of the index.
    index: usize,
    at: Window,
    running: Window,
    /// What the open transaction has changed: whether an entry is there.
    changed: BTreeMap<Entry, bool>,
}

impl DueRows {
    /// Those in this table of the store.
    pub(super) fn new(index: usize) -> Self {
        let (at, running) = (Window::new(AT), Window::new(RUNNING));
        Self { index, at, running, changed: BTreeMap::new() }
    }

    /// Whether rows may have fallen due by these clocks.
    pub(super) fn is_reached(&self, clocks: Clocks) -> bool {
        self.at.next() <= clocks.due_ms || self.running.next() <= clocks.running_ms
    }

    /// Whether a row may wait for the running clock.
    pub(super) fn waits_for_running(&self) -> bool {
        self.running.next() < u64::MAX
    }

    /// When the next row falls due by each of the clocks; `u64::MAX` where none does.
    pub(super) fn next(&mut self, store: &dyn Store, partition: u32) -> Result<(u64, u64)> {
        for window in [&mut self.at, &mut self.running] {
            while window.first().is_none() && window.horizon.is_some() {
                window.read_on(store, (self.index, partition), &self.changed)?;
            }
        }
        Ok((self.at.next(), self.running.next()))
    }

    fn window(&mut self, due: Due) -> &mut Window {
        match due {
            Due::At(_) => &mut self.at,
            Due::Running(_) => &mut self.running,
        }
    }

    /// A row falls due at another time than before.
    pub(super) fn change(&mut self, table: usize, key: &[u8], from: Option<Due>, to: Option<Due>) {
        if from == to {
            return;
        }
        if let Some(from) = from {
            let entry = entry(from, table, key);
            self.window(from).remove(&entry);
            self.changed.insert(entry, false);
        }
        if let Some(to) = to {
            let entry = entry(to, table, key);
            self.window(to).add(entry.clone());
            self.changed.insert(entry, true);
        }
    }

    /// Takes the first entry out whose time has come: first by the due clock, then by the running one.
    pub(super) fn take(
        &mut self,
        store: &dyn Store,
        partition: u32,
        clocks: Clocks,
    ) -> Result<Option<Entry>> {
        let Self { index, at, running, changed } = self;
        for (window, clock) in [(at, clocks.due_ms), (running, clocks.running_ms)] {
            while window.next() <= clock {
                let Some(first) = window.first().cloned() else {
                    window.read_on(store, (*index, partition), changed)?;
                    continue;
                };
                window.remove(&first);
                changed.insert(first.clone(), false);
                return Ok(Some(first));
            }
        }
        Ok(None)
    }

    /// Adds the open transaction's changes to a store's batch.
    pub(super) fn stage(&self, partition: u32, batch: &mut StoreBatch) {
        for (entry, is_there) in &self.changed {
            batch.write(self.index, partition, entry, is_there.then_some(&[]));
        }
    }

    /// They are in the store now.
    pub(super) fn committed(&mut self) {
        self.changed.clear();
        self.at.committed();
        self.running.committed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;

    const INDEX: usize = 3;

    fn add(due: &mut DueRows, at: u64, key: &str) {
        due.change(1, key.as_bytes(), None, Some(Due::At(at)));
    }

    fn commit(due: &mut DueRows, store: &MemoryStore) {
        let mut batch = StoreBatch::default();
        due.stage(0, &mut batch);
        store.apply(&batch).expect("memory");
        due.committed();
    }

    fn take_all(due: &mut DueRows, store: &MemoryStore, clock: u64) -> Vec<(u64, String)> {
        let mut taken = Vec::new();
        let clocks = Clocks { due_ms: clock, running_ms: 0 };
        while let Some(entry) = due.take(store, 0, clocks).expect("memory") {
            let Some((Due::At(at), 1, key)) = parts(&entry) else {
                panic!("{entry:?}");
            };
            taken.push((at, String::from_utf8_lossy(key).into_owned()));
        }
        taken
    }

    #[test]
    fn rows_fall_due_in_their_order_whatever_is_in_memory() {
        let store = MemoryStore::default();
        let mut due = DueRows::new(INDEX);
        let mut expected = Vec::new();
        for round in 0..40_u64 {
            for key in 0..100_u64 {
                let at = (round * 7_919 + key * 104_729) % 50_000;
                let name = format!("{round}-{key}");
                add(&mut due, at, &name);
                expected.push((at, name));
            }
            commit(&mut due, &store);
            let bytes = due.at.bytes;
            assert!(bytes <= 3 * WINDOW_BYTES, "{bytes} bytes are in memory");
        }
        expected.sort_unstable();
        let mut taken = Vec::new();
        for clock in (0..50_000).step_by(1_000) {
            taken.extend(take_all(&mut due, &store, clock));
            assert!(due.at.next() > clock);
            // One that was not committed is forgotten with its transaction.
            if clock % 3_000 == 0 {
                commit(&mut due, &store);
            }
        }
        taken.extend(take_all(&mut due, &store, 50_000));
        assert_eq!(taken, expected);
        commit(&mut due, &store);
        let mut anew = DueRows::new(INDEX);
        assert_eq!(take_all(&mut anew, &store, u64::MAX - 1), []);
        assert_eq!(anew.at.next(), u64::MAX);
    }

    #[test]
    fn what_the_open_transaction_has_changed_counts_at_once() {
        let store = MemoryStore::default();
        let mut due = DueRows::new(INDEX);
        ["a", "b", "c"].into_iter().zip(1..).for_each(|(key, at)| add(&mut due, at, key));
        commit(&mut due, &store);
        let mut due = DueRows::new(INDEX);
        // None of these is in memory yet.
        due.change(1, b"a", Some(Due::At(1)), None);
        due.change(1, b"b", Some(Due::At(2)), Some(Due::At(9)));
        due.change(1, b"c", Some(Due::At(3)), Some(Due::At(3)));
        add(&mut due, 2, "d");
        let taken = take_all(&mut due, &store, 8);
        assert_eq!(taken, [(2, "d".to_owned()), (3, "c".to_owned())]);
        assert_eq!(due.at.next(), 9);
        commit(&mut due, &store);
        let mut anew = DueRows::new(INDEX);
        assert_eq!(anew.next(&store, 0).expect("memory"), (9, u64::MAX));
        assert_eq!(take_all(&mut anew, &store, 9), [(9, "b".to_owned())]);
    }

    #[test]
    fn each_clock_lets_its_own_rows_fall_due() {
        let store = MemoryStore::default();
        let mut due = DueRows::new(INDEX);
        due.change(1, b"a", None, Some(Due::At(500)));
        due.change(2, b"a", None, Some(Due::Running(7)));
        commit(&mut due, &store);
        let mut due = DueRows::new(INDEX);
        let none = Clocks { due_ms: 499, running_ms: 6 };
        assert_eq!(due.take(&store, 0, none).expect("memory"), None);
        assert!(!due.is_reached(none));
        assert_eq!(due.next(&store, 0).expect("memory"), (500, 7));
        let all = Clocks { due_ms: 500, running_ms: 7 };
        let mut take = || due.take(&store, 0, all).expect("memory");
        let expected = [Due::At(500), Due::Running(7)].map(Some);
        let taken = [take(), take()].map(|entry| Some(parts(&entry?)?.0));
        assert_eq!((taken, take()), (expected, None));
    }
}
