//! The pause between a commit and the next transaction.
//!
//! A transaction that begins while the markers of the last one are still being written is refused
//! at first, and librdkafka tries again after a fixed 20 ms. How long markers take is the cluster's
//! affair (one warm node: a millisecond; a loaded one, or replicas far away: more), and nobody
//! tells; but a short transaction whose records all wait for 20 ms has met them.

use std::ops::Range;
use std::time::Duration;

const MIN: Duration = Duration::from_micros(1_500);
/// Half of what is saved: beyond it a pause would cost more.
const MAX: Duration = Duration::from_millis(10);
/// More, once markers were met.
const MORE: Duration = Duration::from_millis(1);
/// Less, each time that they were not: one transaction of 200 may meet them.
const LESS: Duration = Duration::from_micros(5);
/// From its begin to the end of its drain, a short transaction that was tried again. (In a longer
/// one the 20 ms pass while it is filled.)
const TRIED_AGAIN: Range<Duration> = Duration::from_millis(20)..Duration::from_millis(40);

/// How long to pause: longer after markers were met, else shorter and shorter.
#[derive(Debug)]
pub(super) struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(MIN)
    }
}

impl Pause {
    /// What is left of the pause, so long after the last commit.
    pub(super) fn left(&self, since_commit: Duration) -> Duration {
        self.0.saturating_sub(since_commit)
    }

    /// A transaction's records are delivered: this long after its begin, of which the wait for
    /// them was `drain`.
    pub(super) fn drained(&mut self, age: Duration, drain: Duration) {
        let met_markers = TRIED_AGAIN.contains(&age) && drain > age / 2;
        self.0 = match met_markers {
            true => (self.0 + MORE).min(MAX),
            false => (self.0 - LESS).max(MIN),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn it_grows_by_markers_that_were_met_and_shrinks_again() {
        let mut pause = Pause::default();
        assert_eq!(pause.left(ms(0)), MIN);
        assert_eq!(pause.left(ms(2)), ms(0));
        pause.drained(ms(22), ms(21));
        assert_eq!(pause.left(ms(0)), MIN + MORE);
        for _ in 0..100 {
            pause.drained(ms(22), ms(21));
        }
        assert_eq!(pause.left(ms(0)), MAX);
        for _ in 0..2_000 {
            pause.drained(ms(4), ms(3));
        }
        assert_eq!(pause.left(ms(0)), MIN);
    }

    #[test]
    fn a_long_transaction_or_one_that_was_filled_for_long_tells_nothing_of_markers() {
        let mut pause = Pause::default();
        pause.drained(ms(120), ms(21));
        pause.drained(ms(30), ms(10));
        pause.drained(ms(8), ms(8));
        assert_eq!(pause.left(ms(0)), MIN);
    }
}
