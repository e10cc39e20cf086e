//! Many seeds, on all cores.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{Outcome, Scenario, simulate};

/// What many runs came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Seeds run, each twice.
    pub seeds: u64,
    /// Faults met.
    pub faults: u64,
    /// Transactions committed.
    pub commits: u64,
}

/// A seed that failed.
#[derive(Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// What was wrong.
    pub violation: String,
}

/// Runs every seed, twice, until one fails: that one is returned. `progress` is told now and then.
///
/// # Errors
/// The first failure found.
pub fn run(
    seeds: Range<u64>,
    scenario: impl Fn(u64) -> Scenario + Sync,
    progress: impl Fn(Tally) + Sync,
) -> Result<Tally, Failure> {
    let next = AtomicU64::new(seeds.start);
    let failed = AtomicBool::new(false);
    let (tally, failure) = (Mutex::new(Tally::default()), Mutex::new(None::<Failure>));
    let work = || {
        while !failed.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            match run_twice(&scenario(seed)) {
                Ok(outcome) => {
                    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
                    tally.seeds += 1;
                    tally.faults += outcome.faults;
                    tally.commits += outcome.commits;
                    progress(*tally);
                }
                Err(violation) => {
                    failed.store(true, Ordering::Relaxed);
                    let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
                    // The lowest, so that the answer does not depend on the threads.
                    if failure.as_ref().is_none_or(|f| seed < f.seed) {
                        *failure = Some(Failure { seed, violation });
                    }
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(failure) => Err(failure),
        None => Ok(tally.into_inner().unwrap_or_else(PoisonError::into_inner)),
    }
}

/// A run and its repetition, which must be the same run.
fn run_twice(scenario: &Scenario) -> Result<Outcome, String> {
    let first = simulate(scenario);
    if let Some(violation) = first.violation {
        return Err(violation);
    }
    let second = simulate(scenario);
    if first.trace_hash != second.trace_hash {
        return Err("two runs of this seed are not the same".to_owned());
    }
    Ok(second)
}

/// The run of a failing scenario with the fewest steps that still fails, and its trace.
pub fn shortest(scenario: &Scenario) -> (u32, Outcome) {
    let run = |steps| simulate(&Scenario { steps, keep_trace: true, ..*scenario });
    for steps in 0..scenario.steps {
        let outcome = run(steps);
        if outcome.violation.is_some() {
            return (steps, outcome);
        }
    }
    (scenario.steps, run(scenario.steps))
}
