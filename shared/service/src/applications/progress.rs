//! What was seen of an application so far: whether it is ready, and its rate, which is logged.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bps_streams::worker::{TaskStatus, WorkerStatus};

/// How often an active application tells its rate.
const TELL: Duration = Duration::from_secs(10);
/// An application that shares its group with others may have workers without a task: it counts as
/// ready when nothing has changed for this long.
const SETTLED: Duration = Duration::from_secs(3);

/// What was seen of the workers of an application.
pub(super) struct Progress {
    /// The topology's name, where it has to be told from others.
    topology: Option<&'static str>,
    tasks: BTreeMap<(u32, u32), TaskStatus>,
    changed: Instant,
    processed: u64,
    /// When the rate was last told, and what had been processed by then.
    told: (Instant, u64),
}

impl Progress {
    pub(super) fn new(topology: Option<&'static str>) -> Progress {
        let now = Instant::now();
        Progress { topology, tasks: BTreeMap::new(), changed: now, processed: 0, told: (now, 0) }
    }

    pub(super) fn look(&mut self, statuses: &BTreeMap<u32, WorkerStatus>) {
        let tasks: BTreeMap<(u32, u32), TaskStatus> = statuses
            .iter()
            .flat_map(|(worker, status)| {
                status.tasks.iter().map(|(partition, task)| ((*worker, *partition), *task))
            })
            .collect();
        if tasks.keys().ne(self.tasks.keys()) {
            self.changed = Instant::now();
        }
        self.tasks = tasks;
        self.processed = statuses.values().map(|status| status.processed).sum();
        self.tell_rate(statuses);
    }

    fn tell_rate(&mut self, statuses: &BTreeMap<u32, WorkerStatus>) {
        let (since, before) = self.told;
        let elapsed = since.elapsed();
        if elapsed < TELL {
            return;
        }
        let topology = self.topology;
        let records = self.processed.saturating_sub(before);
        if records > 0 {
            let rate = (records as f64 / elapsed.as_secs_f64()).round() as u64;
            let aborts: u64 = statuses.values().map(|status| status.aborts).sum();
            tracing::info!(topology, records, records_per_s = rate, aborts, "decided");
        }
        let restoring = self.tasks.values().filter_map(|task| match task {
            TaskStatus::Restoring { remaining, .. } => Some(*remaining),
            TaskStatus::Running { .. } => None,
        });
        let remaining: u64 = restoring.sum();
        if remaining > 0 {
            tracing::info!(topology, remaining, "restores");
        }
        self.told = (Instant::now(), self.processed);
    }

    pub(super) fn tell_end(&self) {
        tracing::info!(topology = self.topology, processed = self.processed, "processor ends");
    }

    pub(super) fn is_ready(&self, workers: u32) -> bool {
        let runs = |task: &TaskStatus| matches!(task, TaskStatus::Running { .. });
        let busy = (0..workers).filter(|n| self.tasks.keys().any(|(worker, _)| worker == n));
        !self.tasks.is_empty()
            && self.tasks.values().all(runs)
            && (busy.count() == workers as usize || self.changed.elapsed() > SETTLED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(tasks: &[(u32, TaskStatus)]) -> WorkerStatus {
        WorkerStatus { tasks: tasks.iter().copied().collect(), ..WorkerStatus::default() }
    }

    #[test]
    fn ready_is_when_every_worker_decides() {
        let runs = TaskStatus::Running { restored: 0 };
        let restores = TaskStatus::Restoring { restored: 1, remaining: 1 };
        let mut progress = Progress::new(None);
        progress.look(&BTreeMap::from([(0, status(&[(0, runs)])), (1, status(&[]))]));
        assert!(!progress.is_ready(2));
        progress.look(&BTreeMap::from([(0, status(&[(0, runs)])), (1, status(&[(1, restores)]))]));
        assert!(!progress.is_ready(2));
        progress.look(&BTreeMap::from([(0, status(&[(0, runs)])), (1, status(&[(1, runs)]))]));
        assert!(progress.is_ready(2));
    }
}
