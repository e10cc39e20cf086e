//! What a running application is doing, as plain numbers: for people, tests and whatever exports
//! them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::broker::{Broker, Isolation, OffsetSpec, TopicPartition};
use crate::store::{MemoryUse, Store};
use crate::worker::WorkerStatus;

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
            worker.ticks_ahead_ms.clear();
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
