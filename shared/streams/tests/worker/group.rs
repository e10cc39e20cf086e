//! Offsets of the group that this application did not commit, and offsets that are gone.

use std::time::Duration;

use bps_streams::broker::{CommittedOffset, GroupEvent, OffsetCommit, TopicPartition};

use super::rig::{INPUT, LEDGER, Rig, register};

/// Three records are decided, then nobody runs, and two more come.
fn stopped(batches_lost: usize) -> Rig {
    let mut rig = Rig::new(register());
    rig.boot();
    for key in ["a", "b", "c"] {
        rig.send(INPUT, key, Some("1"));
        rig.settle();
    }
    rig.kill(batches_lost);
    rig.send(INPUT, "d", Some("1"));
    rig.send(INPUT, "a", Some("2"));
    rig
}

/// Every record was decided once, and the group says so.
#[track_caller]
fn check_decided(rig: &mut Rig, what: &str) {
    rig.settle();
    assert_eq!(rig.keys(LEDGER), ["a", "b", "c", "d", "a"], "{what}");
    assert_eq!(rig.row("a"), Some((2, "2".to_owned())), "{what}");
    assert_eq!(rig.quarantined(), [""; 0], "{what}");
    let committed = rig.committed(INPUT).unwrap();
    assert_eq!(committed.offset, 5, "{what}");
    assert!(committed.metadata.starts_with("v1:"), "{what}: {committed:?}");
}

/// What a tool does that resets offsets.
fn reset(rig: &Rig, offset: u64, metadata: &str) {
    let metadata = metadata.to_owned();
    rig.cluster.set_offset(
        rig.topology.name(),
        TopicPartition::new(INPUT, 0),
        CommittedOffset { offset, metadata },
    );
}

#[test]
fn offsets_that_were_reset_are_not_followed() {
    for offset in [0, 2, 3, 4, 5] {
        for batches_lost in [0, 1, 2, 6] {
            let mut rig = stopped(batches_lost);
            reset(&rig, offset, "");
            rig.boot();
            check_decided(&mut rig, &format!("reset to {offset}, {batches_lost} batches lost"));
        }
        let mut rig = stopped(0);
        reset(&rig, offset, "somebody's own note");
        rig.move_on();
        check_decided(&mut rig, &format!("reset to {offset}, on another machine"));
    }
}

#[test]
fn nor_are_those_beside_which_the_notes_of_a_commit_were_kept() {
    for offset in [0, 2, 4, 5] {
        let mut rig = stopped(0);
        let metadata = rig.committed(INPUT).unwrap().metadata;
        reset(&rig, offset, &metadata);
        rig.boot();
        check_decided(&mut rig, &format!("reset to {offset}"));
    }
}

#[test]
fn an_offset_of_others_is_no_beginning_either() {
    let mut rig = Rig::new(register());
    rig.send(INPUT, "a", Some("1"));
    rig.send(INPUT, "b", Some("1"));
    reset(&rig, 1, "");
    rig.boot();
    rig.settle();
    assert_eq!(rig.keys(LEDGER), ["a", "b"]);
}

#[test]
fn the_operators_word_passes_over_what_was_reset() {
    for (offset, expected) in [(4, &["a", "b", "c", "a"][..]), (1, &["a", "b", "c", "d", "a"])] {
        let mut rig = stopped(0);
        reset(&rig, offset, "");
        rig.configure = |config| config.skip_gap = true;
        rig.boot();
        rig.settle();
        assert_eq!(rig.keys(LEDGER), expected, "reset to {offset}");
    }
}

#[test]
fn the_operators_word_counts_once() {
    let mut rig = stopped(0);
    reset(&rig, 4, "");
    rig.configure = |config| config.skip_gap = true;
    rig.boot();
    rig.settle();
    let decided = ["a", "b", "c", "a"];
    assert_eq!(rig.keys(LEDGER), decided);
    // Somebody sets offsets while it runs, and it opens its partition anew.
    rig.send(INPUT, "e", Some("1"));
    reset(&rig, 6, "");
    rig.store.as_ref().unwrap().claim(0);
    rig.settle();
    assert_eq!(rig.keys(LEDGER), [&decided[..], &["e"]].concat());
}

#[test]
fn what_a_foreign_member_was_assigned_is_decided_afterwards() {
    let mut rig = Rig::new(register());
    rig.boot();
    for key in ["a", "b", "c"] {
        rig.send(INPUT, key, Some("1"));
        rig.settle();
    }
    let mut stranger = rig.stranger(INPUT, 6_000);
    let mut assigned = Vec::new();
    while assigned.is_empty() {
        rig.step(10).unwrap();
        if let GroupEvent::Assigned(partitions) = stranger.poll(rig.now, Duration::ZERO).unwrap() {
            assigned = partitions;
        }
    }
    rig.send(INPUT, "d", Some("1"));
    rig.send(INPUT, "a", Some("2"));
    let committed = CommittedOffset { offset: 5, metadata: String::new() };
    stranger.commit(&[OffsetCommit { partition: assigned[0].clone(), committed }]).unwrap();
    for _ in 0..20 {
        rig.step(100).unwrap();
        stranger.poll(rig.now, Duration::ZERO).unwrap();
    }
    assert_eq!(rig.keys(LEDGER), ["a", "b", "c"], "it is the stranger's meanwhile");
    stranger.leave(rig.now).unwrap();
    check_decided(&mut rig, "the stranger has left");
}

#[test]
fn positions_that_the_group_does_not_know_are_committed_at_once() {
    let mut rig = Rig::new(register());
    rig.boot();
    rig.settle();
    assert_eq!(rig.committed(INPUT).map(|c| c.offset), Some(0), "of a new application");
    rig.send(INPUT, "a", Some("1"));
    rig.settle();
    let committed = rig.committed(INPUT);
    rig.kill(0);
    rig.outside.delete_group(rig.topology.name()).unwrap();
    assert_eq!(rig.committed(INPUT), None);
    rig.boot();
    rig.settle();
    let found = rig.committed(INPUT).unwrap();
    assert_eq!(found.offset, committed.unwrap().offset);
    assert!(found.metadata.starts_with("v1:"), "{found:?}");
    assert_eq!(rig.keys(LEDGER), ["a"]);
}
