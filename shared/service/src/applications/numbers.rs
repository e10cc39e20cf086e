//! The numbers of the applications of a process, each with the label `topology`.

use std::collections::BTreeSet;
use std::fmt;

use bps_streams::worker::{TaskStatus, WorkerStatus};
use bps_streams::{ApplicationStatus, Histogram};

use super::Watched;
use crate::metrics::{Metrics, Sheet, Source};

/// Shows applications among these numbers from now on: all of a process at once, as a number is
/// printed once, with a row for each of them.
pub fn watch(metrics: &Metrics, watched: &[Watched]) {
    for Watched { name, observer } in watched.iter().cloned() {
        metrics.watch_store(name, move || observer.status().memory);
    }
    metrics.watch(Numbers(watched.to_vec()));
}

struct Numbers(Vec<Watched>);

/// How many tasks of an application do what.
#[derive(Default)]
pub(super) struct Tasks {
    pub(super) running: u64,
    pub(super) restoring: u64,
    restored: u64,
    pub(super) remaining: u64,
}

impl Tasks {
    pub(super) fn of(status: &ApplicationStatus) -> Tasks {
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

/// All applications, as they were at one moment.
struct Looked(Vec<(&'static str, ApplicationStatus)>);

impl Source for Numbers {
    fn write(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let look = |one: &Watched| (one.name, one.observer.status());
        let looked = Looked(self.0.iter().map(look).collect());
        looked.write_work(sheet)?;
        looked.write_times(sheet)?;
        looked.write_tasks(sheet)
    }
}

fn sum(status: &ApplicationStatus, of: &dyn Fn(&WorkerStatus) -> u64) -> u64 {
    status.workers.values().map(of).sum()
}

fn counted(status: &ApplicationStatus, name: &str) -> u64 {
    sum(status, &|worker| worker.counters.get(name).copied().unwrap_or(0))
}

impl Looked {
    /// A row for each application.
    fn rows(&self, of: &dyn Fn(&ApplicationStatus) -> u64) -> Vec<([(&str, &str); 1], u64)> {
        self.0.iter().map(|(name, status)| ([("topology", *name)], of(status))).collect()
    }

    /// Two rows for each application, told from each other by this label.
    fn pairs(
        &self,
        label: &'static str,
        of: &dyn Fn(&ApplicationStatus) -> [(&'static str, u64); 2],
    ) -> Vec<([(&str, &str); 2], u64)> {
        let pair = |(name, status): &(&'static str, ApplicationStatus)| {
            let name = *name;
            of(status).map(|(value, number)| ([("topology", name), (label, value)], number))
        };
        self.0.iter().flat_map(pair).collect()
    }

    fn write_work(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let processed = self.rows(&|status| sum(status, &|worker| worker.processed));
        sheet.counter("records", "Records processed by committed transactions", &processed)?;
        let mut decisions = Vec::new();
        for (topology, status) in &self.0 {
            let names = status.workers.values().flat_map(|worker| worker.counters.keys());
            for name in names.collect::<BTreeSet<_>>() {
                if let Some((kind, outcome)) = name.split_once(' ') {
                    let labels = [("topology", *topology), ("kind", kind), ("outcome", outcome)];
                    decisions.push((labels, counted(status, name)));
                }
            }
        }
        sheet.counter("decisions", "Decisions in committed transactions", &decisions)?;
        let letters = self.rows(&|status| counted(status, "dead_letters"));
        sheet.counter("dead_letters", "Records that could not be read", &letters)?;
        let rekeyed = self.rows(&|status| counted(status, "rekeyed"));
        sheet.counter("rekeyed", "Records that lay in a wrong partition", &rekeyed)?;
        let transactions = self.pairs("outcome", &|status| {
            [
                ("committed", sum(status, &|worker| worker.commits)),
                ("dropped", sum(status, &|worker| worker.aborts)),
            ]
        });
        sheet.counter("transactions", "Transactions", &transactions)
    }

    fn write_times(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let durations = |of: &dyn Fn(&WorkerStatus) -> &Histogram| {
            let one = |(name, status): &(&'static str, ApplicationStatus)| {
                let mut all = Histogram::default();
                status.workers.values().for_each(|worker| all.add(of(worker)));
                ([("topology", *name)], all)
            };
            self.0.iter().map(one).collect::<Vec<_>>()
        };
        let commit = durations(&|worker| &worker.commit_time);
        sheet.durations(
            "commit_duration",
            "From the begin of a commit to the rows that stand for it",
            &commit,
        )?;
        let latency = durations(&|worker| &worker.latency);
        let help = "From a record's timestamp to the commit of what came of it";
        sheet.durations("latency", help, &latency)?;
        let lags = self.0.iter().flat_map(|(name, status)| {
            status.lag.iter().map(|(at, lag)| (*name, &*at.topic, at.partition.to_string(), *lag))
        });
        let lags: Vec<_> = lags.collect();
        let lag = lags.iter().map(|(name, topic, partition, lag)| {
            ([("topology", *name), ("topic", *topic), ("partition", &**partition)], *lag)
        });
        sheet.gauge("lag_records", "Records not yet processed", &lag.collect::<Vec<_>>())
    }

    fn write_tasks(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let states = self.pairs("state", &|status| {
            let tasks = Tasks::of(status);
            [("running", tasks.running), ("restoring", tasks.restoring)]
        });
        sheet.gauge("tasks", "Tasks of this process", &states)?;
        let restored = self.rows(&|status| Tasks::of(status).restored);
        sheet.gauge("restored_records", "Records its tasks were restored with", &restored)?;
        let remaining = self.rows(&|status| Tasks::of(status).remaining);
        sheet.gauge("restore_remaining_records", "Offsets still to be passed", &remaining)?;
        let waiting = self.rows(&|s| sum(s, &|worker| u64::from(worker.waiting_for.is_some())));
        sheet.gauge("workers_waiting", "Workers that cannot go on", &waiting)?;
        let ahead = self.0.iter().flat_map(|(name, status)| {
            let each = status.workers.values().flat_map(|worker| &worker.ticks_ahead_ms);
            each.map(|(partition, ms)| (*name, partition.to_string(), *ms))
        });
        let ahead: Vec<_> = ahead.collect();
        let rows = ahead
            .iter()
            .map(|(name, partition, ms)| ([("topology", *name), ("partition", &**partition)], *ms));
        let help = "How far ticks were ahead of the newest record, as it was processed (ms)";
        sheet.gauge("ticks_ahead_ms", help, &rows.collect::<Vec<_>>())
    }
}
