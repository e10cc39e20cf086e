//! The long runs' time: `scripts/test --long=MINUTES` gives them so many minutes together (in
//! `BPS_LONG`), beyond what their short forms take, and each has its share. So the whole ends in
//! time on a slow machine too; each run prints how far it came.

use std::time::Duration;

/// A run that finds more the longer it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LongRun {
    /// All faults at random on real processes.
    Torture,
    /// Seeds of the simulator.
    Seeds,
    /// Crashes at two steps.
    Pairs,
    /// The processor against plain maps.
    Model,
}

/// What each has of a hundred parts.
const SHARES: [(LongRun, u32); 4] =
    [(LongRun::Torture, 55), (LongRun::Seeds, 18), (LongRun::Pairs, 17), (LongRun::Model, 10)];

/// From so many minutes on, tests of a fixed length are longer too: they take about as much more.
const AMPLE_MINUTES: f64 = 15.0;

fn minutes() -> Option<f64> {
    let minutes = std::env::var("BPS_LONG").ok()?;
    Some(minutes.parse().unwrap_or_else(|_| panic!("BPS_LONG={minutes}: no minutes")))
}

/// Whether long runs are asked for, however long.
pub fn is_asked() -> bool {
    minutes().is_some()
}

/// Whether what takes a fixed time has its longer form: there is time enough.
///
/// # Panics
/// As [`time`].
pub fn is_ample() -> bool {
    minutes().is_some_and(|minutes| minutes >= AMPLE_MINUTES)
}

/// How much longer than its short form a run may be; `None` where no long runs are asked for.
///
/// # Panics
/// When `BPS_LONG` is no number of minutes.
pub fn time(run: LongRun) -> Option<Duration> {
    let minutes = minutes()?;
    let (_, share) = SHARES[SHARES.iter().position(|(of, _)| *of == run)?];
    Some(Duration::from_secs_f64(minutes * 60.0 * f64::from(share) / 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_are_the_whole() {
        assert_eq!(SHARES.iter().map(|(_, share)| share).sum::<u32>(), 100);
    }
}
