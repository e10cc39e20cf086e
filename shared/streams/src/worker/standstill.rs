//! For how long something has stood still that waits for the broker. Only time counts in which the
//! broker was there and nothing came: it is asked after each few seconds of silence. Where nobody
//! answers, and where this worker itself was away, the clock begins anew.

use crate::broker::Now;

/// After so long a silence the broker is asked (ms).
const SILENCE_MS: u64 = 5_000;

/// See the module's documentation.
pub(super) struct Standstill {
    /// When something came last, or the broker was asked (monotonic ms).
    since_ms: u64,
    /// Time in which nothing came, up to then (ms).
    counted_ms: u64,
}

impl Standstill {
    pub(super) fn new(now: Now) -> Standstill {
        Standstill { since_ms: now.monotonic_ms, counted_ms: 0 }
    }

    /// Whether nothing has come for so long that the broker is to be asked.
    pub(super) fn is_silent(&self, now: Now) -> bool {
        self.silent_ms(now) >= SILENCE_MS
    }

    fn silent_ms(&self, now: Now) -> u64 {
        now.monotonic_ms.saturating_sub(self.since_ms)
    }

    /// The broker has answered: what was silence so far counts. Returns all that counts (ms).
    pub(super) fn count(&mut self, now: Now) -> u64 {
        // Was it much longer, then nobody looked: this worker was away.
        self.counted_ms += self.silent_ms(now).min(2 * SILENCE_MS);
        self.since_ms = now.monotonic_ms;
        self.counted_ms
    }
}

#[cfg(feature = "mutants")]
impl Standstill {
    /// As [`Standstill::count`], for [`super::Mutant::AwayIsStandstill`].
    pub(super) fn count_all(&mut self, now: Now) -> u64 {
        self.counted_ms += self.silent_ms(now);
        self.since_ms = now.monotonic_ms;
        self.counted_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Now {
        Now { monotonic_ms: 1_000 * seconds, wall_ms: 0 }
    }

    #[test]
    fn only_time_counts_in_which_somebody_looked() {
        let mut standstill = Standstill::new(at(100));
        assert!(!standstill.is_silent(at(104)));
        assert!(standstill.is_silent(at(105)));
        assert_eq!(standstill.count(at(105)), 5_000);
        assert!(!standstill.is_silent(at(109)));
        assert_eq!(standstill.count(at(111)), 11_000);
        assert_eq!(standstill.count(at(911)), 21_000, "stopped for a quarter of an hour");
    }
}
