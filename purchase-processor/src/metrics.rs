//! The processor's numbers, and whether it should be relied on.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bps_service::health::Trouble;
use bps_service::metrics::{Metrics, Sheet, Source};
use bps_streams::worker::{TaskStatus, WorkerStatus};
use bps_streams::{ApplicationStatus, Histogram, Observer};

/// Shows a processor among these numbers from now on.
pub fn watch(metrics: &Metrics, observer: &Observer) {
    let memory = observer.clone();
    metrics.watch_store("purchase-processor", move || memory.status().memory);
    metrics.watch(Numbers(observer.clone()));
}

/// Why a processor should not be relied on: it restores, waits, or is this far behind (records).
pub fn trouble(observer: &Observer, lag_max: u64) -> Trouble {
    let observer = observer.clone();
    // When it last had tasks, or was started.
    let busy = Mutex::new(Instant::now());
    Arc::new(move || {
        let status = observer.status();
        let mut busy = busy.lock().unwrap_or_else(PoisonError::into_inner);
        let Tasks { running, restoring, .. } = Tasks::of(&status);
        if running + restoring > 0 {
            *busy = Instant::now();
        }
        trouble_of(&status, busy.elapsed(), lag_max)
    })
}

/// As [`trouble`], of what was seen. `idle` is for how long there has been no task: others may have
/// them all, or the group may not have been asked yet.
fn trouble_of(status: &ApplicationStatus, idle: Duration, lag_max: u64) -> Option<String> {
    if let Some(trouble) = &status.trouble {
        return Some(trouble.clone());
    }
    if let Some(waits) = status.workers.values().find_map(|w| w.waiting_for.as_ref()) {
        return Some(format!("a worker waits: {waits}"));
    }
    let Tasks { running, restoring, remaining, .. } = Tasks::of(status);
    if running + restoring == 0 {
        return (idle < SETTLED).then(|| "it has no partitions yet".to_owned());
    }
    if restoring > 0 {
        return Some(format!("{restoring} tasks restore, {remaining} records are left"));
    }
    let mut positions = status.workers.values().flat_map(|worker| worker.positions.keys());
    if positions.any(|partition| !status.lag.contains_key(partition)) {
        return Some("how much waits to be decided is not known yet".to_owned());
    }
    let lag: u64 = status.lag.values().sum();
    (lag > lag_max).then(|| format!("{lag} records wait to be decided"))
}

/// Without partitions for longer, it is ready to take over from others.
const SETTLED: Duration = Duration::from_secs(10);

struct Numbers(Observer);

#[derive(Default)]
struct Tasks {
    running: u64,
    restoring: u64,
    restored: u64,
    remaining: u64,
}

impl Tasks {
    fn of(status: &ApplicationStatus) -> Tasks {
        let mut tasks = Tasks::default();
        for task in status.workers.values().flat_map(|worker| worker.tasks.values()) {
            match task {
                TaskStatus::Running { restored } => {
                    tasks.running += 1;
                    tasks.restored += restored;
                }
                TaskStatus::Restoring { restored, remaining } => {
                    tasks.restoring += 1;
                    tasks.restored += restored;
                    tasks.remaining += remaining;
                }
            }
        }
        tasks
    }
}

impl Source for Numbers {
    fn write(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let status = self.0.status();
        let sum = |of: &dyn Fn(&WorkerStatus) -> u64| status.workers.values().map(of).sum::<u64>();
        let counted = |name: &str| sum(&|worker| worker.counters.get(name).copied().unwrap_or(0));
        let durations = |of: &dyn Fn(&WorkerStatus) -> &Histogram| {
            let mut all = Histogram::default();
            status.workers.values().for_each(|worker| all.add(of(worker)));
            all
        };
        let processed = [([], sum(&|worker| worker.processed))];
        sheet.counter("records", "Records processed by committed transactions", &processed)?;
        let names = status.workers.values().flat_map(|worker| worker.counters.keys());
        let names: std::collections::BTreeSet<_> = names.collect();
        let decision = |name: &&'static str| {
            let (kind, outcome) = name.split_once(' ')?;
            Some(([("kind", kind), ("outcome", outcome)], counted(name)))
        };
        let decisions: Vec<_> = names.into_iter().filter_map(decision).collect();
        sheet.counter("decisions", "Decisions in committed transactions", &decisions)?;
        let letters = [([], counted("dead_letters"))];
        sheet.counter("dead_letters", "Records that could not be read", &letters)?;
        let rekeyed = [([], counted("rekeyed"))];
        sheet.counter("rekeyed", "Records that lay in a wrong partition", &rekeyed)?;
        let transactions = [
            ([("outcome", "committed")], sum(&|worker| worker.commits)),
            ([("outcome", "dropped")], sum(&|worker| worker.aborts)),
        ];
        sheet.counter("transactions", "Transactions", &transactions)?;
        let commit = durations(&|worker| &worker.commit_time);
        sheet.durations(
            "commit_duration",
            "From the begin of a commit to the rows that stand for it",
            &commit,
        )?;
        let latency = durations(&|worker| &worker.latency);
        let help = "From a record's timestamp to the commit of what came of it";
        sheet.durations("latency", help, &latency)?;
        let partitions: Vec<_> = status.lag.keys().map(|at| at.partition.to_string()).collect();
        let lag = status.lag.iter().zip(&partitions).map(|((at, lag), partition)| {
            ([("topic", at.topic.as_str()), ("partition", partition.as_str())], *lag)
        });
        let lag: Vec<_> = lag.collect();
        sheet.gauge("lag_records", "Records not yet processed", &lag)?;
        let tasks = Tasks::of(&status);
        let states =
            [([("state", "running")], tasks.running), ([("state", "restoring")], tasks.restoring)];
        sheet.gauge("tasks", "Tasks of this process", &states)?;
        let restored = [([], tasks.restored)];
        sheet.gauge("restored_records", "Records its tasks were restored with", &restored)?;
        let remaining = [([], tasks.remaining)];
        sheet.gauge("restore_remaining_records", "Offsets still to be passed", &remaining)?;
        let waiting = [([], sum(&|worker| u64::from(worker.waiting_for.is_some())))];
        sheet.gauge("workers_waiting", "Workers that cannot go on", &waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_ready_when_it_decides_and_is_not_far_behind() {
        let told = |tasks: &[TaskStatus], lag: Option<u64>, idle_s: u64| {
            let at = bps_streams::broker::TopicPartition::new("t", 0);
            let mut worker = WorkerStatus::default();
            worker.tasks.extend((0..).zip(tasks.iter().copied()));
            worker.positions.extend((!tasks.is_empty()).then(|| (at.clone(), 0)));
            let mut status = ApplicationStatus::default();
            status.workers.insert(0, worker);
            status.lag.extend(lag.map(|lag| (at, lag)));
            trouble_of(&status, Duration::from_secs(idle_s), 10)
        };
        let runs = TaskStatus::Running { restored: 0 };
        let restores = TaskStatus::Restoring { restored: 1, remaining: 7 };
        for (trouble, expected) in [
            (told(&[], None, 0), Some("it has no partitions yet")),
            (told(&[], None, 11), None),
            (told(&[runs, restores], None, 0), Some("1 tasks restore, 7 records are left")),
            (told(&[runs], None, 0), Some("how much waits to be decided is not known yet")),
            (told(&[runs], Some(11), 0), Some("11 records wait to be decided")),
            (told(&[runs], Some(10), 0), None),
        ] {
            assert_eq!(trouble.as_deref(), expected);
        }
    }
}
