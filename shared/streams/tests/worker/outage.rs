//! A broker that is away, or a worker that was, is no restore that stands still.

use bps_streams::Error;
use bps_streams::broker::GroupEvent;
use bps_streams::worker::TaskStatus;

use super::rig::{INPUT, LEDGER, Rig, beginning, node, register, set};

/// A process that restores, and has restored some of what it must.
fn restoring() -> Rig {
    let mut rig = Rig::new(register());
    rig.boot();
    for n in 0..20 {
        rig.send(INPUT, &n.to_string(), Some("a"));
    }
    rig.settle();
    set(&rig.trouble.one_by_one, true);
    rig.move_on();
    let has_begun = |rig: &Rig| {
        let tasks = rig.worker().tasks();
        matches!(tasks.get(&0), Some(TaskStatus::Restoring { restored: 3.., remaining: 1.. }))
    };
    while !has_begun(&rig) {
        rig.step(10).unwrap();
    }
    rig
}

#[test]
fn time_in_which_the_broker_was_away_does_not_count() {
    let mut rig = restoring();
    rig.cluster.outage(61_000);
    for _ in 0..61 {
        rig.step(1_000).unwrap();
    }
    // It is back, and the first fetch brings nothing yet.
    set(&rig.trouble.silent, true);
    rig.step(100).unwrap();
    set(&rig.trouble.silent, false);
    rig.settle();
    assert_eq!(rig.rows(0).len(), 20);
}

#[test]
fn nor_does_time_in_which_the_worker_was_stopped() {
    let mut rig = restoring();
    set(&rig.trouble.silent, true);
    rig.step(10).unwrap();
    rig.pass(70_000);
    // Its session is over: it joins anew, or is the only one and goes on.
    rig.step(10).unwrap();
    set(&rig.trouble.silent, false);
    rig.settle();
    assert_eq!(rig.rows(0).len(), 20);
}

#[test]
fn a_restore_that_the_broker_does_not_serve_is_named_after_a_minute() {
    let mut rig = restoring();
    set(&rig.trouble.silent, true);
    let since_ms = rig.now.monotonic_ms;
    let error = loop {
        if let Err(error) = rig.step(1_000) {
            break error;
        }
        assert!(rig.now.monotonic_ms < since_ms + 80_000, "it waits for ever");
    };
    assert!(matches!(error, Error::RestoreStalled { .. }), "{error}");
    let words = error.to_string();
    assert!(words.contains("its committed records are not delivered"), "{words}");
    assert!(rig.now.monotonic_ms >= since_ms + 60_000);
}

/// One that shares an input with the worker, and no other.
#[test]
fn an_assignment_without_an_input_is_waited_for_while_the_broker_is_away() {
    const MORE: &str = "more";
    let topology = beginning().processor(node(&[INPUT, MORE], &[])).build();
    let mut rig = Rig::new(topology.unwrap());
    let mut stranger = rig.stranger(MORE, 6_000);
    let mut step = |rig: &mut Rig, ms: u64| {
        let outcome = rig.step(ms);
        if stranger.poll(rig.now, std::time::Duration::ZERO).unwrap() == GroupEvent::Revoking {
            stranger.release().unwrap();
        }
        outcome
    };
    rig.boot();
    for _ in 0..50 {
        step(&mut rig, 100).unwrap();
    }
    rig.cluster.outage(40_000);
    for _ in 0..41 {
        step(&mut rig, 1_000).unwrap();
    }
    let since_ms = rig.now.monotonic_ms;
    let error = loop {
        if let Err(error) = step(&mut rig, 1_000) {
            break error.to_string();
        }
        assert!(rig.now.monotonic_ms < since_ms + 60_000, "it waits for ever");
    };
    assert!(error.contains("partition 0 was assigned of 1 of 2 inputs only"), "{error}");
    // It was asked last a few seconds before it was back.
    assert!(rig.now.monotonic_ms >= since_ms + 24_000);
}

#[test]
fn a_member_that_is_gone_without_an_end_of_its_session_holds_nobody_up_for_ever() {
    const MORE: &str = "more";
    let topology = beginning().processor(node(&[INPUT, MORE], &[])).build();
    let mut rig = Rig::new(topology.unwrap());
    // Until then the group waits for it in a rebalance.
    let mut stranger = rig.stranger(MORE, 70_000);
    rig.boot();
    rig.send(INPUT, "a", Some("1"));
    // It is assigned the only partition, and is gone.
    for _ in 0..50 {
        rig.step(100).unwrap();
        stranger.poll(rig.now, std::time::Duration::ZERO).unwrap();
    }
    for _ in 0..80 {
        rig.step(1_000).unwrap();
    }
    rig.settle();
    assert_eq!(rig.keys(LEDGER), ["a"]);
}
