//! Runs the processor until its end is asked for, and tells what it is doing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bps_service::Shutdown;
use bps_service::settings::CommonSettings;
use bps_streams::broker::Broker;
use bps_streams::worker::{TaskStatus, WorkerStatus};
use bps_streams::{Application, Observer, Result};

use crate::flags::ProcessorSettings;

/// How often the processor is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How often an active processor tells its rate.
const TELL: Duration = Duration::from_secs(10);
/// A processor that shares its group with others may have workers without a task: it counts as
/// ready when nothing has changed for this long.
const SETTLED: Duration = Duration::from_secs(3);

/// Runs a processor until `shutdown`; then commits what is open. `ready` is called once, when
/// all its tasks have been restored and decide; `observed` when it can be looked at.
///
/// # Errors
/// What ended it.
pub fn run(
    broker: Arc<dyn Broker>,
    common: &CommonSettings,
    settings: &ProcessorSettings,
    shutdown: &Shutdown,
    observed: impl FnOnce(Observer),
    ready: impl FnOnce(),
) -> Result<()> {
    let topology = crate::topology(&settings.rule(common))?;
    let application = Application::start(broker, topology, settings.application(common))?;
    observed(application.observer());
    watch(&application, settings, shutdown, ready);
    match settings.leave {
        true => application.leave(),
        false => application.stop(),
    }
}

fn watch(
    application: &Application,
    settings: &ProcessorSettings,
    shutdown: &Shutdown,
    ready: impl FnOnce(),
) {
    let mut progress = Progress::default();
    let mut ready = Some(ready);
    while !shutdown.is_requested() && !application.is_finished() {
        std::thread::sleep(LOOK);
        let statuses = application.status().workers;
        progress.look(&statuses);
        if ready.is_some()
            && progress.is_ready(settings.workers)
            && let Some(ready) = ready.take()
        {
            ready();
        }
    }
    tracing::info!(processed = progress.processed, "processor ends");
}

/// What was seen of the workers so far.
struct Progress {
    tasks: BTreeMap<(u32, u32), TaskStatus>,
    changed: Instant,
    processed: u64,
    /// When the rate was last told, and what had been processed by then.
    told: (Instant, u64),
}

impl Default for Progress {
    fn default() -> Self {
        let now = Instant::now();
        Progress { tasks: BTreeMap::new(), changed: now, processed: 0, told: (now, 0) }
    }
}

impl Progress {
    fn look(&mut self, statuses: &BTreeMap<u32, WorkerStatus>) {
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
        let records = self.processed.saturating_sub(before);
        if records > 0 {
            let rate = (records as f64 / elapsed.as_secs_f64()).round() as u64;
            let aborts: u64 = statuses.values().map(|status| status.aborts).sum();
            tracing::info!(records, records_per_s = rate, aborts, "decided");
        }
        let restoring = self.tasks.values().filter_map(|task| match task {
            TaskStatus::Restoring { remaining, .. } => Some(*remaining),
            TaskStatus::Running { .. } => None,
        });
        let remaining: u64 = restoring.sum();
        if remaining > 0 {
            tracing::info!(remaining, "restores");
        }
        self.told = (Instant::now(), self.processed);
    }

    fn is_ready(&self, workers: u32) -> bool {
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
        let mut progress = Progress::default();
        progress.look(&BTreeMap::from([(0, status(&[(0, runs)])), (1, status(&[]))]));
        assert!(!progress.is_ready(2));
        progress.look(&BTreeMap::from([(0, status(&[(0, runs)])), (1, status(&[(1, restores)]))]));
        assert!(!progress.is_ready(2));
        progress.look(&BTreeMap::from([(0, status(&[(0, runs)])), (1, status(&[(1, runs)]))]));
        assert!(progress.is_ready(2));
    }
}
