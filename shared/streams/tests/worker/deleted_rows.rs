//! Rows that are deleted, and put again, go through a loss of power and through commits of which no
//! answer came.

use super::rig::{INPUT, Rig, register, set};

/// Commits each of these values, loses so many batches of the store, and comes back.
#[track_caller]
fn check(values: &[Option<&str>], lost: usize, expected: Option<(u64, &str)>) {
    let mut rig = Rig::new(register());
    rig.boot();
    for value in values {
        rig.send(INPUT, "k", *value);
        rig.settle();
    }
    rig.kill(lost);
    rig.boot();
    rig.settle();
    let row = rig.row("k");
    let row = row.as_ref().map(|(sequence, value)| (*sequence, value.as_str()));
    assert_eq!(row, expected, "{values:?}, {lost} batches lost");
}

#[test]
fn a_restore_ends_in_the_last_record_of_each_key() {
    const DELETED: Option<&str> = None;
    let (a, b) = (Some("a"), Some("b"));
    check(&[a, DELETED], 1, None);
    check(&[a, DELETED], 2, None);
    check(&[a, b, DELETED], 2, None);
    // What is put again counts from 1 again.
    check(&[a, a, DELETED, b], 1, Some((1, "b")));
    check(&[a, a, DELETED, b], 2, Some((1, "b")));
    check(&[a, a, DELETED, b], 3, Some((1, "b")));
    check(&[a, a, DELETED, b, DELETED], 2, None);
    check(&[a, a, DELETED, a, a, b], 4, Some((3, "b")));
}

#[test]
fn what_a_commit_without_an_answer_deleted_stays_deleted() {
    let mut rig = Rig::new(register());
    rig.boot();
    rig.settle();
    // The store then knows no ends: all of it is replayed, record by record.
    set(&rig.trouble.commits_unanswered, true);
    set(&rig.trouble.one_by_one, true);
    rig.send(INPUT, "k", Some("a"));
    rig.settle();
    assert_eq!(rig.row("k"), Some((1, "a".to_owned())));
    rig.send(INPUT, "k", None);
    rig.settle();
    assert_eq!(rig.row("k"), None);
    rig.kill(0);
    rig.boot();
    rig.settle();
    assert_eq!(rig.row("k"), None, "it is back");
}
