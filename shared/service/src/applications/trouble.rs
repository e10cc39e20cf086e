//! Whether the applications of a process should be relied on.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bps_streams::{ApplicationStatus, Observer};

use super::Watched;
use super::numbers::Tasks;
use crate::health::Trouble;

/// Without partitions for longer, it is ready to take over from others.
const SETTLED: Duration = Duration::from_secs(10);

/// Why applications should not be relied on: one of them restores, waits, or is this far behind
/// (records). Where there are several, it is named.
pub fn trouble(watched: &[Watched], lag_max: u64) -> Trouble {
    let is_one = watched.len() == 1;
    let each: Vec<_> =
        watched.iter().map(|one| (one.name, of_one(&one.observer, lag_max))).collect();
    Arc::new(move || {
        each.iter().find_map(|(name, trouble)| match trouble() {
            Some(trouble) if !is_one => Some(format!("topology {name}: {trouble}")),
            trouble => trouble,
        })
    })
}

fn of_one(observer: &Observer, lag_max: u64) -> Trouble {
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

#[cfg(test)]
mod tests {
    use bps_streams::worker::{TaskStatus, WorkerStatus};

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

    #[test]
    fn the_trouble_of_one_among_several_is_named() {
        let watched = |name| Watched { name, observer: Observer::default() };
        let told = |watched: &[Watched]| trouble(watched, 0)();
        let one = "it has no partitions yet";
        assert_eq!(told(&[watched("one")]).as_deref(), Some(one));
        let both = told(&[watched("one"), watched("two")]);
        assert_eq!(both, Some(format!("topology one: {one}")));
    }
}
