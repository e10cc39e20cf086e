//! A topic that rows are built from and that has lost some of them: the worker stops, names it, and
//! leaves a store that has them as it is. Rows that are built from less would be decided on.

use std::sync::Arc;

use bps_streams::replay::Replay;
use bps_streams::store::memory::MemoryStore;
use bps_streams::{Ledger, Topology};

use super::rig::{CHANGELOG, INPUT, LEDGER, ROWS, Rig, beginning, node};

const SEEN: &str = "seen";
const REBUILD: &str = "--rebuild-rows";

/// A ledger that backs a store of its own, and whose records tell of rows.
fn told() -> Topology {
    let seen = Ledger::new(SEEN, LEDGER, |record, _| Some((record.key?.to_vec(), Vec::new())));
    let seen = seen.tells_of(ROWS, |record| record.key.map(Into::into));
    beginning().ledger(seen).processor(node(&[INPUT], &[SEEN])).build().unwrap()
}

/// Rows `a` (changed twice) and `b`, whose process is gone.
fn decided() -> Rig {
    let mut rig = Rig::new(told());
    rig.boot();
    for (key, value) in [("a", "1"), ("b", "1"), ("a", "2")] {
        rig.send(INPUT, key, Some(value));
        rig.settle();
    }
    rig.kill(0);
    rig
}

#[track_caller]
fn check_names(rig: &mut Rig, expected: &[&str]) {
    rig.stops_each_time(expected);
    assert_eq!(rig.quarantined(), [""; 0]);
}

#[test]
fn a_changelog_that_was_made_anew_is_named_and_the_store_stays() {
    let mut rig = decided();
    rig.lose_tail(CHANGELOG, 0);
    rig.send(INPUT, "c", Some("1"));
    check_names(&mut rig, &["rows-changelog-0: ", "up to 5", "ends at 0", REBUILD]);
    assert_eq!(rig.rows(0).len(), 2);
}

#[test]
fn also_where_its_id_tells_it() {
    let mut rig = decided();
    rig.cluster.recreate_topic(CHANGELOG);
    rig.send(INPUT, "c", Some("1"));
    check_names(&mut rig, &["topic rows-changelog: ", "made anew", REBUILD]);
    assert_eq!(rig.rows(0).len(), 2);
    rig.move_on();
    rig.kill(0);
    check_names(&mut rig, &["ledger-0: ", "rows-changelog-0 there is none", REBUILD]);
}

#[test]
fn so_is_one_that_has_lost_its_end() {
    let mut rig = decided();
    rig.lose_tail(CHANGELOG, 4);
    check_names(&mut rig, &["rows-changelog-0: ", "up to 5", "ends at 4", REBUILD]);
    assert_eq!(rig.row("a"), Some((2, "2".to_owned())));
}

#[test]
fn and_a_ledger_of_which_the_store_knows_more() {
    let mut rig = decided();
    rig.lose_tail(LEDGER, 2);
    check_names(&mut rig, &["ledger-0: ", "up to 5", "ends at 2", "`verify` names"]);
    // Whether the group knows of it or not.
    rig.outside.delete_group(rig.topology.name()).unwrap();
    check_names(&mut rig, &["ledger-0: ", "up to 5", "ends at 2", "`verify` names"]);
}

#[test]
fn another_machine_compares_the_rows_with_what_the_ledger_tells_of_them() {
    for (end, told, there) in [
        (0, "offset 2 tells of change 1 of row \"b\"", "there is none"),
        (4, "offset 4 tells of change 2 of row \"a\"", "there is change 1"),
    ] {
        let mut rig = decided();
        rig.lose_tail(CHANGELOG, end);
        rig.send(INPUT, "b", Some("2"));
        rig.move_on();
        rig.kill(0);
        check_names(&mut rig, &["ledger-0: ", told, "rows-changelog", there, REBUILD]);
    }
}

/// Writes what the changelog lacks; how many rows that were, and how much the replay differs.
fn rebuild(rig: &Rig) -> (u64, u64) {
    let store = Arc::new(MemoryStore::default());
    let rebuilt = Replay::new(&*rig.outside, told(), store).unwrap().rebuild(&|_, _| true).unwrap();
    (rebuilt.rows, rebuilt.replay.differing)
}

#[test]
fn the_rows_come_back_from_the_inputs() {
    for (end, lost) in [(6, 0), (4, 1), (2, 2), (0, 2)] {
        let mut rig = decided();
        rig.lose_tail(CHANGELOG, end);
        assert_eq!(rebuild(&rig), (lost, 0), "cut at {end}");
        assert_eq!(rebuild(&rig), (0, 0), "once more");
        rig.move_on();
        rig.settle();
        let rows = [("a", 2, "2"), ("b", 1, "1")].map(|(k, n, v)| (k.to_owned(), n, v.to_owned()));
        assert_eq!(rig.rows(0), rows, "cut at {end}");
        // It goes on as if nothing had been.
        rig.send(INPUT, "b", Some("2"));
        rig.settle();
        assert_eq!(rig.row("b"), Some((2, "2".to_owned())));
        let store = Arc::new(MemoryStore::default());
        let replay = Replay::new(&*rig.outside, told(), store).unwrap();
        assert_eq!(replay.run(&|_, _| true).unwrap().differences, [], "cut at {end}");
    }
}

#[test]
fn nothing_is_written_where_the_replay_gives_other_outputs() {
    let rig = decided();
    rig.lose_tail(CHANGELOG, 0);
    rig.lose_tail(LEDGER, 4);
    let (rows, differing) = rebuild(&rig);
    assert!(rows == 0 && differing > 0, "{rows} rows, {differing} differences");
    assert_eq!(rig.keys(CHANGELOG), [""; 0]);
}

#[test]
fn where_all_was_made_anew_it_begins_anew() {
    let mut rig = decided();
    for topic in [INPUT, CHANGELOG, LEDGER] {
        rig.lose_tail(topic, 0);
    }
    rig.outside.delete_group(rig.topology.name()).unwrap();
    rig.send(INPUT, "c", Some("1"));
    rig.boot();
    rig.settle();
    assert_eq!(rig.keys(LEDGER), ["c"]);
    assert_eq!(rig.rows(0), [("c".to_owned(), 1, "1".to_owned())]);
    assert_eq!(rig.quarantined().len(), 1);
}
