//! A topology whose rows fall due: reminders that are set, set anew, taken back, and that fire, once or
//! several times, as one of the clocks comes to them. What was told, in the order of the log, must be what a
//! simple model tells.

mod model;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bps_streams::broker::{Broker, Isolation, OffsetSpec, TopicPartition};
use bps_streams::partitioner::partition_of;
use bps_streams::topology::as_it_is;
use bps_streams::{
    Clocks, Context, Due, DueRow, Ledger, Message, Node, Outgoing, ProcessResult, Processor,
    Record, Sink, SinkId, Source, Store, StoreId, Topology, TopologyError,
};

use self::model::Model;
use super::audit::replay;
use super::cluster_run::ClusterRun;
use super::random::Random;
use super::{Inputs, Outcome, PARTITIONS, Scenario, run};

/// The topic that is read: a key, and a reminder with a span in place of its due; without a value the
/// reminder is taken back.
pub const WANTED: &str = "wanted";
/// Ticks.
pub const TICKS: &str = "ticks";
/// All that was done, in the partition where it was.
pub const TOLD: &str = "told";
/// The store.
pub const REMINDERS: &str = "reminders";
/// Its changelog.
pub const CHANGELOG: &str = "reminders-changelog";
/// Keys in all.
const KEYS: u64 = 16;
/// How long after all is healed the last reminder may fire (ms).
const QUIET_MS: u64 = 120_000;

/// A row: `clock due every left`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reminder {
    /// When it fires.
    due: Due,
    /// Time from one to the next (ms); 0: it ends, and nobody is told.
    every: u64,
    /// How often it fires after that.
    left: u64,
}

impl Reminder {
    fn read(value: &[u8]) -> Option<Reminder> {
        let mut words = std::str::from_utf8(value).ok()?.split(' ');
        let clock = words.next()?;
        let mut number = || words.next()?.parse().ok();
        let due = match clock {
            "at" => Due::At(number()?),
            _ => Due::Running(number()?),
        };
        Some(Reminder { due, every: number()?, left: number()? })
    }

    fn write(self) -> String {
        let Reminder { due, every, left } = self;
        format!("{} {every} {left}", shown(due))
    }

    /// What becomes of it when it fires, by these clocks.
    fn next(self, clocks: Clocks) -> Option<Reminder> {
        let Reminder { due, every, left } = self;
        let due = match due {
            Due::At(at) => Due::At(at + every),
            Due::Running(_) => Due::Running(clocks.running_ms + every),
        };
        Some(Reminder { due, every, left: left.checked_sub(1)? })
    }
}

fn shown(due: Due) -> String {
    match due {
        Due::At(at) => format!("at {at}"),
        Due::Running(running) => format!("running {running}"),
    }
}

fn due(value: &[u8]) -> Option<Due> {
    Reminder::read(value).map(|reminder| reminder.due)
}

struct Remind {
    reminders: StoreId,
    told: SinkId,
}

impl Remind {
    fn tell(&self, key: &[u8], text: &str, context: &mut Context<'_>) -> ProcessResult {
        Ok(context.send(self.told, Message::new(key, text.as_bytes()))?)
    }
}

impl Processor for Remind {
    type Input<'a> = Record<'a>;

    fn process(&mut self, record: Record<'_>, context: &mut Context<'_>) -> ProcessResult {
        let key = record.key.unwrap_or_default();
        let Some(mut reminder) = record.value.and_then(Reminder::read) else {
            context.delete(self.reminders, key)?;
            return self.tell(key, "taken back", context);
        };
        reminder.due = match reminder.due {
            Due::At(span) => Due::At(span + record.timestamp as u64),
            Due::Running(span) => context.after(Duration::from_millis(span)),
        };
        context.put(self.reminders, key, reminder.write().as_bytes())?;
        self.tell(key, &format!("set {}", reminder.write()), context)
    }

    fn due(&mut self, fallen: DueRow<'_>, context: &mut Context<'_>) -> ProcessResult {
        let DueRow { key, row, .. } = fallen;
        let Some(reminder) = Reminder::read(row.value) else {
            return Err(context.broken("it is no reminder").into());
        };
        let Due::Running(running_ms) = context.backoff(Duration::ZERO) else { unreachable!() };
        match reminder.next(Clocks { due_ms: 0, running_ms }) {
            Some(next) => _ = context.put(self.reminders, key, next.write().as_bytes())?,
            None => context.delete(self.reminders, key)?,
        }
        match reminder.every {
            0 => Ok(()),
            _ => self.tell(key, &format!("fired {}", shown(reminder.due)), context),
        }
    }
}

/// The topology.
///
/// # Errors
/// Never: it is wired rightly.
pub fn topology() -> Result<Topology, TopologyError> {
    let remind = Node::new("remind", |wiring| {
        wiring.ledger("told");
        Remind { reminders: wiring.store(REMINDERS), told: wiring.sink("told") }
    });
    Topology::named("reminders")
        .store(Store::new(REMINDERS, CHANGELOG).due(1, due))
        .ledger(Ledger::new("told", TOLD, |_, _| None))
        .sink(Sink::new("told", TOLD))
        .processor(remind.reads(Source::new("wanted", WANTED, as_it_is)))
        .ticks(TICKS)
        .build()
}

/// The scenario of a seed.
pub fn scenario(seed: u64) -> Scenario {
    let steps = 100 + Random::new(!seed).below(900) as u32;
    // Some are further ahead than a tick may be.
    Scenario { steps, play, clocks_differ_ms: 14_000, ..Scenario::new(seed) }
}

fn play(scenario: &Scenario) -> Outcome {
    run(scenario, topology().unwrap(), |broker| Writer { broker, acknowledged: Vec::new() })
}

/// Sets reminders and takes them back. What is not acknowledged may be there or not: the topic says.
struct Writer {
    broker: Arc<dyn Broker>,
    /// Partition and offset of what was acknowledged, and where its ticks ended by then.
    acknowledged: Vec<(u32, u64, u64)>,
}

impl Inputs for Writer {
    fn reconnect(&mut self, broker: Arc<dyn Broker>) {
        self.broker = broker;
    }

    fn act(&mut self, random: &mut Random, wall_ms: i64) {
        let key = format!("key-{}", random.below(KEYS));
        let (every, left) = match random.below(3) {
            0 => (0, 0),
            _ => (1 + random.below(3_000), random.below(4)),
        };
        let span = random.below(9_000);
        let due = if random.chance(1, 2) { Due::At(span) } else { Due::Running(span) };
        let reminder = Reminder { due, every, left }.write();
        let partition = partition_of(key.as_bytes(), PARTITIONS);
        let record = Outgoing {
            topic: WANTED,
            partition,
            // Clocks differ.
            timestamp: wall_ms + random.below(4_000) as i64 - 2_000,
            key: Some(key.as_bytes()),
            value: (!random.chance(1, 6)).then_some(reminder.as_bytes()),
            headers: &[],
        };
        let written = Arc::<Mutex<Option<u64>>>::default();
        let told = written.clone();
        let ack = move |outcome: Result<u64, _>| {
            *told.lock().unwrap_or_else(PoisonError::into_inner) = outcome.ok();
        };
        drop(self.broker.appender().unwrap().append(record, Box::new(ack)));
        let at = [TopicPartition::new(TICKS, partition)];
        let offset = *written.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(offset) = offset
            && let Ok(ends) = self.broker.offsets(&at, OffsetSpec::End(Isolation::ReadUncommitted))
        {
            self.acknowledged.push((partition, offset, ends[0]));
        }
    }

    fn settle(&mut self) -> bool {
        true
    }

    fn judge(&self, cluster_run: &mut ClusterRun, broker: &dyn Broker) -> Result<(), String> {
        // Nobody writes any more: ticks alone let the rest fire.
        let all_fired = |cluster_run: &ClusterRun| {
            cluster_run.is_settled(broker) && rows(cluster_run).is_empty()
        };
        until(cluster_run, all_fired)?;
        for partition in 0..PARTITIONS {
            let model = Model::of(broker, partition)?;
            if !model.rows.is_empty() {
                return Err(format!("partition {partition}: {:?} did not fire", model.rows));
            }
            for (_, offset, end) in self.acknowledged.iter().filter(|(p, ..)| *p == partition) {
                let ticks = model.ticks_before.get(offset).copied().unwrap_or(0);
                if ticks > *end {
                    return Err(format!(
                        "{WANTED}-{partition}@{offset} was acknowledged when its ticks ended at {end}, \
                         and decided after those up to {ticks}"
                    ));
                }
            }
        }
        cluster_run.audit_rows()?;
        // What a rebuild has left in the index of due rows is dropped by ticks.
        until(cluster_run, |cluster_run| cluster_run.is_settled(broker))?;
        replay(broker, topology().unwrap())
    }
}

/// Lets time pass until it is so.
fn until(cluster_run: &mut ClusterRun, is_so: impl Fn(&ClusterRun) -> bool) -> Result<(), String> {
    let deadline = cluster_run.now().monotonic_ms + QUIET_MS;
    while !is_so(cluster_run) {
        cluster_run.rounds(5);
        if let Some(violation) = cluster_run.violation() {
            return Err(violation);
        }
        if cluster_run.now().monotonic_ms > deadline {
            let left = rows(cluster_run);
            return Err(format!("after {QUIET_MS} ms of quiet there still is {left:?}"));
        }
    }
    Ok(())
}

/// All reminders that there are.
fn rows(cluster_run: &ClusterRun) -> Vec<String> {
    let owners = cluster_run.owners().into_iter();
    let rows = owners.flat_map(|(partition, owner)| cluster_run.cluster.rows(owner, 1, partition));
    rows.map(|(_, key, row)| format!("{} {}", text(&key), text(&row[16..]))).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
