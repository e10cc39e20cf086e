//! Durations, counted by how long they were.

/// Durations, counted by how long they were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; Histogram::BOUNDS_MS.len() + 1],
    sum_ms: u64,
}

impl Histogram {
    /// Upper bounds of the buckets, included (ms); the last bucket has none.
    pub const BOUNDS_MS: [u64; 15] =
        [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000];

    /// Counts a duration (ms).
    pub fn observe(&mut self, ms: u64) {
        self.counts[Self::BOUNDS_MS.partition_point(|bound| *bound < ms)] += 1;
        self.sum_ms = self.sum_ms.saturating_add(ms);
    }

    /// How many fell into each bucket (not into it and those below).
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// All of them together (ms).
    pub fn sum_ms(&self) -> u64 {
        self.sum_ms
    }

    /// Adds the durations of another.
    pub fn add(&mut self, other: &Histogram) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.sum_ms = self.sum_ms.saturating_add(other.sum_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_takes_it() {
        let mut histogram = Histogram::default();
        for ms in [0, 1, 2, 3, 60_000, 60_001] {
            histogram.observe(ms);
        }
        let mut expected = [0; 16];
        (expected[0], expected[1], expected[2], expected[14], expected[15]) = (2, 1, 1, 1, 1);
        assert_eq!((histogram.counts(), histogram.sum_ms()), (&expected[..], 120_007));
        let mut twice = histogram.clone();
        twice.add(&histogram);
        assert_eq!((twice.counts()[0], twice.sum_ms()), (4, 240_014));
    }
}
