//! A crash at every step of a commit, a restore, a hand-over; and at every pair of steps, the
//! second of them mostly within the recovery from the first.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bps_streams::simulation::Fault;
use system_tests::budget::{self, LongRun};
use system_tests::simulator::script::{KINDS, Play, Script, play};

fn run(script: Script, faults: &[(u64, Fault)]) -> Play {
    let play = play(script, faults, |_| ());
    assert_eq!(play.violation, None, "{script:?} with {faults:?}, effects: {:?}", play.effects);
    let planned: Vec<u64> = faults.iter().map(|(number, _)| *number).collect();
    assert_eq!(play.met, planned, "{script:?}: a planned fault was not met");
    play
}

/// Runs these plays on all cores, those begun within `time`; how often each kind of effect was hit.
fn run_all(
    script: Script,
    plans: &[Vec<(u64, Fault)>],
    time: Duration,
) -> BTreeMap<&'static str, usize> {
    let next = AtomicUsize::new(0);
    let begin = Instant::now();
    let work = || {
        let mut hit = BTreeMap::<&'static str, usize>::new();
        while let Some(faults) = plans.get(next.fetch_add(1, Ordering::Relaxed))
            && begin.elapsed() < time
        {
            let play = run(script, faults);
            for (number, _) in faults {
                *hit.entry(play.effects[*number as usize - 1]).or_default() += 1;
            }
        }
        hit
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut all = BTreeMap::new();
        for thread in threads {
            for (name, count) in thread.join().unwrap_or_else(|p| std::panic::resume_unwind(p)) {
                *all.entry(name).or_default() += count;
            }
        }
        all
    })
}

/// Every point, in every kind.
fn singles(script: Script) -> Vec<Vec<(u64, Fault)>> {
    let count = run(script, &[]).effects.len() as u64;
    (1..=count).flat_map(|number| KINDS.map(|kind| vec![(number, kind)])).collect()
}

fn every_point(script: Script) {
    let begin = Instant::now();
    let plans = singles(script);
    let hit = run_all(script, &plans, Duration::MAX);
    let per_s = plans.len() as f64 / begin.elapsed().as_secs_f64();
    let points = plans.len() / KINDS.len();
    let line = format!("{script:?}: {points} points, {} plays, {per_s:.0}/s: {hit:?}", plans.len());
    drop(writeln!(std::io::stderr(), "{line}"));
    // All that a worker does is among them.
    let names: BTreeSet<&str> = hit.into_keys().collect();
    let mut wanted = vec![
        "add offsets",
        "ask committed",
        "ask ends",
        "ask offsets",
        "assigned",
        "commit",
        "drain",
        "fetch",
        "init producer",
        "store batch",
    ];
    match script {
        Script::Alone => {}
        Script::HandOver => wanted.extend(["leave", "release", "revoking"]),
        Script::TakeOver => wanted.extend(["ask committed so far", "release", "revoking"]),
    }
    for name in wanted {
        assert!(names.contains(name), "no {name} among {names:?}");
    }
}

#[test]
fn a_crash_at_every_step() {
    every_point(Script::Alone);
}

#[test]
fn a_crash_at_every_step_of_a_hand_over() {
    every_point(Script::HandOver);
}

#[test]
fn a_crash_at_every_step_of_a_takeover() {
    every_point(Script::TakeOver);
}

/// Every pair, or as many as there is time for, from all over the script.
fn every_pair(script: Script, time: Duration) {
    let begin = Instant::now();
    let mut pairs = Vec::new();
    for first in singles(script) {
        let (number, _) = first[0];
        let count = run(script, &first).effects.len() as u64;
        for second in number + 1..=count {
            pairs.extend(KINDS.map(|kind| vec![first[0], (second, kind)]));
        }
    }
    if time < Duration::MAX {
        pairs = spread(pairs);
    }
    let hit = run_all(script, &pairs, time.saturating_sub(begin.elapsed()));
    let (played, all) = (hit.values().sum::<usize>() / 2, pairs.len());
    let per_s = played as f64 / begin.elapsed().as_secs_f64();
    let line = format!("{script:?}: {played} of {all} pairs, {per_s:.0} plays a second");
    drop(writeln!(std::io::stderr(), "{line}"));
}

/// The same in another order, in which neighbours are far apart.
fn spread<T>(all: Vec<T>) -> Vec<T> {
    const ROWS: usize = 1_009;
    let mut rows: Vec<Vec<T>> = (0..ROWS).map(|_| Vec::new()).collect();
    all.into_iter().enumerate().for_each(|(n, one)| rows[n % ROWS].push(one));
    rows.into_iter().flatten().collect()
}

#[test]
fn a_crash_at_every_pair_of_steps() {
    every_pair(Script::Alone, Duration::MAX);
}

#[test]
fn a_crash_at_every_pair_of_steps_of_a_hand_over() {
    every_pair(Script::HandOver, Duration::MAX);
}

#[test]
fn a_crash_at_pairs_of_steps_of_a_takeover() {
    match budget::time(LongRun::Pairs) {
        Some(time) => every_pair(Script::TakeOver, time),
        None => drop(writeln!(std::io::stderr(), "TakeOver: its pairs run with --long only")),
    }
}
