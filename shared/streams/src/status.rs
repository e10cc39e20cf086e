//! What a running application is doing, as plain numbers: for people, tests and whatever exports
//! them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::broker::{Broker, Isolation, OffsetSpec, TopicPartition};
use crate::store::{MemoryUse, Store};
use crate::worker::WorkerStatus;

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

/// What an application is doing.
#[derive(Clone, Debug, Default)]
pub struct ApplicationStatus {
    /// Of each worker.
    pub workers: BTreeMap<u32, WorkerStatus>,
    /// Records between what was processed and the ends of the inputs, of the partitions that run
    /// here; looked at about once a second.
    pub lag: BTreeMap<TopicPartition, u64>,
    /// Memory of the store; looked at about once a second.
    pub memory: MemoryUse,
    /// Why it should not be relied on although it goes on.
    pub trouble: Option<String>,
}

impl ApplicationStatus {
    /// The workers begin anew, and count on.
    pub(crate) fn forget_tasks(&mut self) {
        self.lag.clear();
        for worker in self.workers.values_mut() {
            worker.tasks.clear();
            worker.positions.clear();
        }
    }
}

/// Looks at an application from any thread, also when it has ended.
#[derive(Clone, Default)]
pub struct Observer(Arc<Mutex<ApplicationStatus>>);

impl Observer {
    /// What it is doing.
    pub fn status(&self) -> ApplicationStatus {
        self.lock().clone()
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, ApplicationStatus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes why it should not be relied on, and logs it once.
    pub(crate) fn tell_trouble(&self, trouble: Option<String>) {
        let mut status = self.lock();
        if let Some(trouble) = trouble.as_ref().filter(|_| status.trouble != trouble) {
            tracing::error!("{trouble}");
        }
        status.trouble = trouble;
    }

    /// Looks at what no worker tells of itself. While the broker is away, what was known stays.
    pub(crate) fn measure(&self, broker: &dyn Broker, store: &dyn Store) {
        let memory = store.memory();
        let positions: BTreeMap<TopicPartition, u64> = {
            let mut status = self.lock();
            status.memory = memory;
            let positions = status.workers.values().flat_map(|worker| &worker.positions);
            positions.map(|(partition, at)| (partition.clone(), *at)).collect()
        };
        let partitions: Vec<_> = positions.keys().cloned().collect();
        let end = OffsetSpec::End(Isolation::ReadCommitted);
        let Ok(ends) = broker.offsets(&partitions, end) else {
            return;
        };
        let lag = |((partition, position), end): ((_, u64), u64)| {
            (partition, end.saturating_sub(position))
        };
        self.lock().lag = positions.into_iter().zip(ends).map(lag).collect();
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
