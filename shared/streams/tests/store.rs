//! The one contract suite of the store port: each behaviour on the memory store, on a simulated disk
//! and on RocksDB.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::Path;

use bps_streams::Clocks;
use bps_streams::simulation::{Cluster, Faultless};
use bps_streams::store::memory::MemoryStore;
use bps_streams::store::rocks::{MemoryBounds, RocksStore};
use bps_streams::store::{Checkpoint, Claim, Kept, Stamped, Store, StoreBatch, TopicIds};

const TABLES: [&str; 2] = ["one", "two"];

fn rocks(folder: &Path) -> RocksStore {
    RocksStore::open(&folder.join("store"), &TABLES, MemoryBounds::default()).unwrap()
}

fn on_all(behaviour: impl Fn(&dyn Store)) {
    behaviour(&MemoryStore::default());
    behaviour(&*Cluster::new(Faultless).boot(0).1);
    let folder = tempfile::tempdir().unwrap();
    behaviour(&rocks(folder.path()));
}

fn put(store: &dyn Store, rows: &[(usize, u32, &str, Option<&str>)]) {
    let mut batch = StoreBatch::default();
    for (table, partition, key, row) in rows {
        batch.write(*table, *partition, key.as_bytes(), row.map(str::as_bytes));
    }
    store.apply(&batch).unwrap();
}

fn get(store: &dyn Store, table: usize, partition: u32, key: &str) -> Option<String> {
    let mut row = b"left over".to_vec();
    let there = store.get(table, partition, key.as_bytes(), &mut row).unwrap();
    there.then(|| String::from_utf8(row).unwrap())
}

fn scan(store: &dyn Store, table: usize, partition: u32, from: &str, most: usize) -> Vec<String> {
    let mut keys = Vec::new();
    let mut visit = |key: &[u8], _: &[u8]| {
        keys.push(String::from_utf8(key.to_vec()).unwrap());
        keys.len() < most
    };
    store.scan(table, partition, from.as_bytes(), &mut visit).unwrap();
    keys
}

fn checkpoint(sequence: u64) -> Checkpoint {
    Checkpoint {
        incarnation: 3,
        sequence,
        stream_time: -7,
        inputs: vec![("a topic".to_owned(), 5), ("b".to_owned(), u64::MAX)],
        backing: vec![("c".to_owned(), 0)],
        ids: TopicIds::new([("a topic".to_owned(), "x-1".to_owned())].into()),
        stores: vec![
            Kept { name: "one".to_owned(), topic: None },
            Kept { name: "the second".to_owned(), topic: Some("c".to_owned()) },
        ],
        stamped: vec![
            Stamped { inputs: None, positions: vec![1, 2] },
            Stamped { inputs: Some(7), positions: vec![u64::MAX] },
        ],
        clocks: Clocks { due_ms: u64::MAX, running_ms: 3 },
        due_layout: Some(u32::MAX),
    }
}

#[test]
fn tables_and_partitions_are_apart() {
    on_all(|store| {
        put(store, &[(0, 0, "k", Some("a")), (1, 0, "k", Some("b")), (0, 1, "k", Some("c"))]);
        let rows = [(0, 0), (1, 0), (0, 1), (1, 1)].map(|(t, p)| get(store, t, p, "k"));
        let expected = [Some("a"), Some("b"), Some("c"), None].map(|r| r.map(str::to_owned));
        assert_eq!(rows, expected);
    });
}

#[test]
fn an_empty_row_is_not_a_missing_one() {
    on_all(|store| {
        put(store, &[(0, 0, "empty", Some(""))]);
        assert_eq!(get(store, 0, 0, "empty"), Some(String::new()));
        assert_eq!(get(store, 0, 0, "missing"), None);
    });
}

#[test]
fn the_last_write_of_a_batch_holds() {
    on_all(|store| {
        put(store, &[(0, 0, "k", Some("a")), (0, 0, "k", None), (0, 0, "k", Some("b"))]);
        assert_eq!(get(store, 0, 0, "k").as_deref(), Some("b"));
        put(store, &[(0, 0, "k", Some("c")), (0, 0, "k", None)]);
        assert_eq!(get(store, 0, 0, "k"), None);
    });
}

#[test]
fn a_scan_goes_in_the_order_of_keys_and_stays_in_its_partition() {
    on_all(|store| {
        for partition in [0, 1, 255, 256, u32::MAX] {
            put(store, &[("b", 0), ("a", 0), ("c", 0)].map(|(k, t)| (t, partition, k, Some(k))));
        }
        for partition in [0, 1, 255, 256, u32::MAX] {
            assert_eq!(scan(store, 0, partition, "", 9), ["a", "b", "c"]);
            assert_eq!(scan(store, 0, partition, "b", 9), ["b", "c"]);
            assert_eq!(scan(store, 0, partition, "", 1), ["a"]);
            assert_eq!(scan(store, 1, partition, "", 9), [""; 0]);
        }
    });
}

#[test]
fn one_table_of_a_partition_is_cleared() {
    on_all(|store| {
        put(store, &[(0, 0, "k", Some("a")), (1, 0, "k", Some("b")), (0, 1, "k", Some("c"))]);
        store.clear(0, 0, Claim::default()).unwrap();
        assert_eq!(scan(store, 0, 0, "", 9), [""; 0]);
        assert_eq!(get(store, 1, 0, "k").as_deref(), Some("b"));
        assert_eq!(get(store, 0, 1, "k").as_deref(), Some("c"));
        put(store, &[(0, 0, "k", Some("d"))]);
        assert_eq!(get(store, 0, 0, "k").as_deref(), Some("d"));
        let late = store.claim(0);
        store.claim(0);
        store.clear(0, 0, late).unwrap();
        assert_eq!(get(store, 0, 0, "k").as_deref(), Some("d"), "another has claimed it");
    });
}

#[test]
fn a_table_that_the_topology_has_no_more_keeps_its_rows() {
    let folder = tempfile::tempdir().unwrap();
    put(&rocks(folder.path()), &[(0, 0, "k", Some("a")), (1, 0, "k", Some("b"))]);
    let store = |tables: &[&str]| {
        RocksStore::open(&folder.path().join("store"), tables, MemoryBounds::default()).unwrap()
    };
    assert_eq!(get(&store(&["two"]), 0, 0, "k").as_deref(), Some("b"));
    assert_eq!(get(&store(&["two", "one"]), 1, 0, "k").as_deref(), Some("a"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing was moved aside");
}

#[test]
fn rows_and_what_they_stand_for_are_written_together() {
    on_all(|store| {
        assert_eq!(store.checkpoint(7).unwrap(), None);
        let mut batch = StoreBatch::default();
        batch.write(0, 7, b"k", Some(b"v"));
        batch.checkpoint(7, checkpoint(u64::MAX));
        store.apply(&batch).unwrap();
        assert_eq!(store.checkpoint(7).unwrap(), Some(checkpoint(u64::MAX)));
        assert_eq!(store.checkpoint(8).unwrap(), None);
        assert_eq!(get(store, 0, 7, "k").as_deref(), Some("v"));
    });
}

#[test]
fn whoever_claims_a_partition_takes_it_from_the_one_before() {
    on_all(|store| {
        let write = |claims: &[(u32, Claim)], value: &str| {
            let mut batch = StoreBatch::default();
            for partition in [1, 2] {
                batch.write(0, partition, b"k", Some(value.as_bytes()));
                batch.checkpoint(partition, checkpoint(value.len() as u64));
            }
            claims.iter().for_each(|(partition, claim)| batch.hold(*partition, *claim));
            store.apply(&batch).unwrap();
            [1, 2].map(|p| (get(store, 0, p, "k"), store.checkpoint(p).unwrap()))
        };
        let is = |value: &str| (Some(value.to_owned()), Some(checkpoint(value.len() as u64)));
        // Nobody has claimed anything.
        assert_eq!(write(&[], "a"), [is("a"), is("a")]);
        let first = [(1, store.claim(1)), (2, store.claim(2))];
        assert_eq!(write(&[], "no"), [is("a"), is("a")]);
        assert_eq!(write(&first, "two"), [is("two"), is("two")]);
        let second = (2, store.claim(2));
        assert_eq!(
            write(&first, "late"),
            [is("late"), is("two")],
            "the other partition is its own"
        );
        assert_eq!(write(&[second], "fifth"), [is("late"), is("fifth")]);
        assert_ne!(store.claim(1), first[0].1);
    });
}

#[test]
fn a_quarantine_empties_one_partition_only() {
    on_all(|store| {
        for partition in [0, 1, 2] {
            put(store, &[(0, partition, "k", Some("v")), (1, partition, "k", Some("v"))]);
            let mut batch = StoreBatch::default();
            batch.checkpoint(partition, checkpoint(1));
            store.apply(&batch).unwrap();
        }
        store.quarantine(1, Claim::default(), "a test").unwrap();
        for (partition, there) in [(0, true), (1, false), (2, true)] {
            assert_eq!(get(store, 0, partition, "k").is_some(), there);
            assert_eq!(get(store, 1, partition, "k").is_some(), there);
            assert_eq!(store.checkpoint(partition).unwrap().is_some(), there);
        }
    });
}

#[test]
fn a_partition_that_another_has_claimed_is_not_emptied() {
    on_all(|store| {
        put(store, &[(0, 1, "k", Some("v"))]);
        let late = store.claim(1);
        let claim = store.claim(1);
        store.quarantine(1, late, "too late").unwrap();
        assert!(get(store, 0, 1, "k").is_some());
        store.quarantine(1, claim, "in time").unwrap();
        assert!(get(store, 0, 1, "k").is_none());
    });
}

#[test]
fn partitions_that_are_quarantined_at_once_do_not_disturb_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let store = rocks(folder.path());
    for _ in 0..20 {
        (0..4).for_each(|partition| put(&store, &[(0, partition, "k", Some("v"))]));
        std::thread::scope(|scope| {
            let store = &store;
            let quarantine = |partition| store.quarantine(partition, Claim::default(), "a test");
            let all = [0, 1, 2, 3].map(|partition| scope.spawn(move || quarantine(partition)));
            all.into_iter().for_each(|one| one.join().unwrap().unwrap());
        });
        assert!((0..4).all(|partition| get(&store, 0, partition, "k").is_none()));
    }
    assert!(folder.path().join("store.quarantine-80").exists());
}

#[test]
fn rocksdb_keeps_what_it_held() {
    let folder = tempfile::tempdir().unwrap();
    put(&rocks(folder.path()), &[(1, 2, "k", Some("v"))]);
    assert_eq!(get(&rocks(folder.path()), 1, 2, "k").as_deref(), Some("v"));
}

#[test]
fn a_quarantined_partition_is_kept_for_inspection() {
    let folder = tempfile::tempdir().unwrap();
    let store = rocks(folder.path());
    put(&store, &[(0, 0, "k", Some("v"))]);
    store.quarantine(0, Claim::default(), "a test").unwrap();
    store.quarantine(0, Claim::default(), "another").unwrap();
    let kept = folder.path().join("store.quarantine-1");
    let kept = RocksStore::open(&kept, &TABLES, MemoryBounds::default()).unwrap();
    assert_eq!(get(&kept, 0, 0, "k").as_deref(), Some("v"));
    assert!(folder.path().join("store.quarantine-2").exists());
}

#[test]
fn damaged_files_are_moved_aside_and_never_served() {
    let folder = tempfile::tempdir().unwrap();
    put(&rocks(folder.path()), &[(0, 0, "k", Some("v"))]);
    let store = folder.path().join("store");
    let manifest = std::fs::read_dir(&store)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.file_name().is_some_and(|n| n.to_string_lossy().contains("MANIFEST")));
    let manifest = manifest.unwrap();
    let mut bytes = std::fs::read(&manifest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(&manifest, bytes).unwrap();
    assert_eq!(get(&rocks(folder.path()), 0, 0, "k"), None, "begins anew, empty");
    assert!(folder.path().join("store.quarantine-1").exists());
}
