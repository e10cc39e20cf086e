//! Damage to the processor's state: it is found, moved aside, rebuilt, and never served.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bps_streams::Error;
use bps_streams::store::StoreError;
use system_tests::Installation;
use system_tests::backends::{embedded, kafka};
use system_tests::processes::tell;

use crate::files::Harm::*;
use crate::files::{File, Harm, Manifest, Named, Rows, Wal, copy, harm, names};
use crate::side_by_side;
use crate::workload::{
    Base, ITEMS, Outcome, PARTITIONS, PURCHASES, begin, finish, install, more, purchases, send,
    verify,
};

/// What must become of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// It is moved aside and rebuilt.
    Aside,
    /// Its last batches are gone, as after a crash: their part of the topics is read again.
    Tail,
    /// Nothing of it counts.
    Nothing,
}
use Due::{Aside, Nothing, Tail};

/// Of a damage to one file.
struct Case(File, Harm, Due);

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    // Damage in the middle of a file shows only when its block is read.
    for table in ["stock", "decided", "restocked"] {
        cases.push(Case(Rows(table), Flip(0), Aside));
        cases.push(Case(Rows(table), Missing, Aside));
    }
    // Later checkpoints hide the first ones, which are not read before they are compacted.
    cases.push(Case(Rows("checkpoints"), Flip(0), Nothing));
    cases.push(Case(Rows("checkpoints"), Missing, Aside));
    cases.push(Case(Rows("checkpoints"), Cut(500), Aside));
    for table in ["stock", "decided"] {
        for at in [150, 400] {
            cases.push(Case(Rows(table), Flip(at), Aside));
        }
        cases.push(Case(Rows(table), FlipFromEnd(10), Aside));
        cases.push(Case(Rows(table), FlipFromEnd(60), Aside));
        cases.push(Case(Rows(table), Cut(500), Aside));
        cases.push(Case(Rows(table), CutOff(1), Aside));
        cases.push(Case(Rows(table), Empty, Aside));
        cases.push(Case(Rows(table), Zeros, Aside));
        cases.push(Case(Rows(table), Garbage, Aside));
    }
    cases.extend([
        Case(Rows("stock"), SwappedWith(Rows("decided")), Aside),
        Case(Rows("decided"), SwappedWith(Rows("checkpoints")), Aside),
        Case(Rows("decided"), CopyOf(Rows("stock")), Aside),
        Case(Wal, Flip(0), Aside),
        Case(Wal, Flip(300), Aside),
        Case(Wal, Flip(700), Aside),
        Case(Wal, FlipFromEnd(1), Aside),
        // To RocksDB it is room that was reserved and not used yet.
        Case(Wal, Zeros, Tail),
        Case(Wal, Missing, Aside),
        Case(Wal, CutOff(1), Tail),
        Case(Wal, CutOff(700), Tail),
        Case(Wal, Cut(500), Tail),
        Case(Wal, Cut(20), Tail),
        Case(Wal, Empty, Tail),
        Case(Manifest, Flip(3), Aside),
        Case(Manifest, Flip(500), Aside),
        Case(Manifest, FlipFromEnd(1), Aside),
        Case(Manifest, CutOff(1), Aside),
        Case(Manifest, Cut(700), Aside),
        Case(Manifest, Cut(200), Aside),
        Case(Manifest, Empty, Aside),
        Case(Manifest, Zeros, Aside),
        Case(Manifest, Missing, Aside),
        Case(Named("CURRENT"), Missing, Aside),
        Case(Named("CURRENT"), Empty, Aside),
        Case(Named("CURRENT"), Text("MANIFEST-000001\n"), Aside),
        Case(Named("CURRENT"), Text("MANIFEST-999999\n"), Aside),
        Case(Named("CURRENT"), Text("\u{fffd}\u{fffd}"), Aside),
        Case(Named("IDENTITY"), Text("another"), Nothing),
        Case(Named("SEAL"), Missing, Nothing),
        Case(Named("SEAL"), Text("MANI"), Nothing),
        Case(Named("../identity"), Missing, Aside),
        Case(Named("../identity"), Empty, Aside),
        Case(Named("../identity"), Flip(400), Aside),
        Case(Named("../identity"), CutOff(5), Aside),
        Case(Named("../process"), Missing, Nothing),
        Case(Named("../process"), Empty, Nothing),
        Case(Named("../process"), Flip(500), Nothing),
        Case(Named("../owner.pid"), Text("not a number"), Nothing),
    ]);
    cases
}

/// The folders that were moved aside, by name.
fn aside(state: &Path) -> Vec<String> {
    names(state).into_iter().filter(|name| name.starts_with("store.quarantine-")).collect()
}

/// Starts it on what it finds, and runs to the end.
fn run(mut installation: Installation) -> Outcome {
    installation.start();
    let outcome = finish(&installation);
    installation.stop();
    verify(&installation);
    // And once more: nothing that is wrong has stayed.
    installation.start();
    let restored = installation.wait_running();
    assert!(restored <= 200, "{restored} records restored in a plain restart");
    installation.stop();
    outcome
}

fn check(base: &Base, truth: &Outcome, Case(file, damage, due): &Case) {
    let (_folder, data) = base.copy();
    let store = data.join("state/store");
    let (name, bytes) = harm(&store, *file, *damage);
    let outcome = run(install(embedded(&data), &data, &base.settings));
    assert!(outcome == *truth, "{file:?} {damage:?}: other results or rows than without it");
    let aside = aside(&data.join("state"));
    let expected: &[&str] = if *due == Aside { &["store.quarantine-1"] } else { &[] };
    assert_eq!(aside, expected, "{file:?} {damage:?}");
    // What was found is kept as it was found.
    if *due == Aside && !name.contains("identity") {
        let kept = fs::read(data.join("state/store.quarantine-1").join(&name)).ok();
        assert!(kept == bytes, "{file:?} {damage:?}: {name} was changed, or is gone");
    }
}

#[test]
fn a_damaged_store_is_moved_aside_and_rebuilt() {
    let begun = std::time::Instant::now();
    let base = Base::build();
    let (_folder, data) = base.copy();
    let truth = run(install(embedded(&data), &data, &base.settings));
    assert_eq!(aside(&data.join("state")), [""; 0]);
    let cases = cases();
    let name = |Case(file, damage, _): &Case| format!("{file:?} {damage:?}");
    side_by_side(&cases, name, |case| check(&base, &truth, case));
    let mut by_due = BTreeMap::new();
    cases.iter().for_each(|c| *by_due.entry(format!("{:?}", c.2)).or_insert(0) += 1);
    let (count, took) = (cases.len(), begun.elapsed());
    tell(format_args!("{count} damaged stores, the same results: {by_due:?}, {took:.1?}"));
}

/// Damage that nobody reads but a compaction: it ends the writing, and the store is rebuilt.
#[test]
fn damage_that_only_a_compaction_meets_is_found_too() {
    let base = Base::build();
    let rounds = |data: &Path| {
        let mut outcome = None;
        for round in 0..ROUNDS {
            let mut installation = install(embedded(data), data, &base.settings);
            installation.start();
            installation.wait_running();
            more(&installation, round);
            outcome = Some(crate::workload::outcome(&installation));
            // Where the last commit meets it, there is no run left to rebuild the store in.
            if let Err(error) = installation.end() {
                assert!(matches!(error, Error::Store(StoreError::Damaged { .. })), "{error}");
                assert!(error.to_string().contains("it is moved aside when it is next opened"));
            }
        }
        outcome
    };
    let (_intact, intact) = base.copy();
    let truth = rounds(&intact);
    let (_folder, data) = base.copy();
    harm(&data.join("state/store"), Rows("checkpoints"), Flip(0));
    let outcome = rounds(&data);
    assert_eq!(aside(&data.join("state")), ["store.quarantine-1"]);
    assert!(outcome == truth, "other results or rows than without it");
}

/// Starts, each of which makes a file of rows: more than it takes to begin a compaction.
const ROUNDS: usize = 14;

/// Whole folders that are not where or what they should be.
#[test]
fn a_store_of_another_time_is_brought_up_or_rebuilt() {
    type Change = fn(&Base, &Path);
    let base = Base::build();
    let (_folder, data) = base.copy();
    let truth = run(install(embedded(&data), &data, &base.settings));
    let cases: [(&str, Change, &[&str]); 5] = [
        ("gone", |_, state| fs::remove_dir_all(state.join("store")).unwrap(), &[]),
        (
            "killed while it was moved aside",
            |_, state| {
                fs::rename(state.join("store"), state.join("store.quarantine-1")).unwrap();
            },
            &["store.quarantine-1"],
        ),
        (
            "damaged for the second time",
            |_, state| {
                copy(&state.join("store"), &state.join("store.quarantine-1"));
                harm(&state.join("store"), Manifest, Missing);
            },
            &["store.quarantine-1", "store.quarantine-2"],
        ),
        (
            "marked by an earlier run",
            |_, state| fs::write(state.join("store/DAMAGED"), "a block\n").unwrap(),
            &["store.quarantine-1"],
        ),
        (
            "a file in its place",
            |_, state| {
                fs::remove_dir_all(state.join("store")).unwrap();
                fs::write(state.join("store"), "no folder").unwrap();
            },
            &["store.quarantine-1"],
        ),
    ];
    side_by_side(
        &cases,
        |case| case.0.to_owned(),
        |(name, change, expected)| {
            let (_folder, data) = base.copy();
            change(&base, &data.join("state"));
            let outcome = run(install(embedded(&data), &data, &base.settings));
            assert!(outcome == truth, "{name}: other results or rows than without it");
            assert_eq!(aside(&data.join("state")), *expected, "{name}");
        },
    );
}

/// A store that is ahead of its log (the log was put back from an older copy) is not believed;
/// one that is behind is brought up.
#[test]
fn a_store_and_a_log_of_different_times_come_together() {
    let base = Base::build();
    let (_later, later) = base.copy();
    let truth = run(install(embedded(&later), &later, &base.settings));
    for (name, log, state) in [("ahead", base.path(), &*later), ("behind", &later, base.path())] {
        let folder = tempfile::tempdir().unwrap();
        copy(&log.join("log"), &folder.path().join("log"));
        copy(&state.join("state"), &folder.path().join("state"));
        let mut installation = install(embedded(folder.path()), folder.path(), &base.settings);
        let aside = || aside(&folder.path().join("state"));
        if name == "ahead" {
            assert!(run(installation) == truth, "{name}");
            assert_eq!(aside().len(), PARTITIONS as usize, "{:?}", aside());
        } else {
            installation.start();
            installation.wait_running();
            installation.stop();
            verify(&installation);
            assert_eq!(crate::workload::outcome(&installation), truth, "{name}");
            assert_eq!(aside(), [""; 0]);
        }
    }
}

/// The same engine on Kafka: damage that shows later, at the open, and a torn tail.
#[test]
fn a_damaged_store_is_rebuilt_from_kafka_too() {
    let Some(broker) = kafka() else {
        return tell("the damaged stores did not run on Kafka (BPS_NO_KAFKA)");
    };
    let cases = [
        Case(Rows("decided"), Flip(400), Aside),
        Case(Wal, Flip(300), Aside),
        Case(Wal, CutOff(700), Tail),
    ];
    let mut installation = Installation::new(broker, "disk", PARTITIONS);
    installation.config.memory = crate::workload::bounds();
    installation.start();
    installation.wait_running();
    begin(&mut installation);
    installation.stop();
    let state = installation.config.state_folder.clone();
    let topic = installation.settings.topics.purchase_finished.clone();
    let said = |installation: &Installation| -> Vec<_> {
        let results = installation.read(&topic).into_iter();
        results.map(|w| (w.partition, w.key, w.value)).collect()
    };
    let mut expected = 0;
    for (round, Case(file, damage, due)) in cases.iter().enumerate() {
        let before = said(&installation);
        harm(&state.join("store"), *file, *damage);
        installation.start();
        // What was decided is looked up again, and stays as it is.
        send(&installation, &purchases("p", PURCHASES));
        more(&installation, round);
        installation.stop();
        let after = said(&installation);
        assert_eq!(after.len(), before.len() + ITEMS, "{file:?} {damage:?}");
        assert!(before.iter().all(|result| after.contains(result)), "{file:?} {damage:?}");
        expected += usize::from(*due == Aside);
        assert_eq!(aside(&state).len(), expected, "{file:?} {damage:?}");
    }
    verify(&installation);
}
