//! A worker: one consumer, one producer, some tasks, one thread. It is a state machine that
//! [`Worker::step`] moves on; [`Worker::run`] (`run.rs`) merely repeats the step.
//!
//! ```text
//!   poll -> open (assigned) -> restore -> fetch -> order -> process -> commit -> apply
//!   [open.rs, takeover.rs]  [restore.rs, positions.rs]  [process.rs]  [commit.rs]
//! ```
//!
//! A task is created when its partition is assigned, restores while its store is behind its
//! topics, runs, and is closed when its partition goes or a transaction is dropped:
//!
//! ```text
//!   Created ──▶ Restoring ──▶ Running ──▶ Closed
//!      └──────────────────────────┴─────────▲
//! ```

mod assignment;
mod commit;
mod conclude;
mod config;
#[cfg(feature = "mutants")]
mod mutant;
mod open;
mod positions;
mod process;
mod restore;
mod run;
mod standstill;
mod takeover;
mod ticks;
mod told;
mod topic_ids;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use self::commit::{Commit, Concluded};
pub use self::config::{CommitPolicy, Guarantee, TaskStatus, WorkerConfig, WorkerStatus};
#[cfg(feature = "mutants")]
pub use self::mutant::Mutant;
use self::open::{Assigned, Opening};
use self::standstill::Standstill;
use crate::broker::{
    Broker, Consumer, ConsumerOptions, GroupEvent, Now, Producer, ProducerMode, TopicPartition,
};
use crate::error::{Error, Result};

use crate::store::Store;
use crate::task::TaskEnv;
use crate::topology::{Layout, Topology};

/// Whether a step found something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Step again at once.
    Busy,
    /// Nothing to do until something comes.
    Idle,
}

/// See the module's documentation.
pub struct Worker {
    broker: Arc<dyn Broker>,
    env: Arc<TaskEnv>,
    config: WorkerConfig,
    group: String,
    consumer: Box<dyn Consumer>,
    producer: Box<dyn Producer>,
    producer_ready: bool,
    opening: Option<Opening>,
    assignment: Vec<TopicPartition>,
    tasks: BTreeMap<u32, Assigned>,
    /// Partitions that it has committed positions of: the operator's word to skip gaps was for those
    /// that were there at the start.
    committed: BTreeSet<u32>,
    /// Partition and input of each slot of the consumer.
    slots: Vec<(u32, usize)>,
    /// Why a slot could not be read when all were last tried.
    unread: Option<String>,
    /// Questions for end offsets asked so far.
    asked: u64,
    /// When the last one was (monotonic ms).
    asked_ms: u64,
    /// When the open transaction began (monotonic ms).
    transaction_since: Option<u64>,
    commit: Option<Commit>,
    /// What was committed in the step before.
    concluded: Option<Concluded>,
    /// The partitions go back as soon as nothing is open.
    releasing: bool,
    /// No new work after a failure until this moment (monotonic ms).
    resume_at_ms: u64,
    refreshed_ms: Option<u64>,
    /// No tick is written before (monotonic ms).
    ticks_from_ms: u64,
    /// For how long the assignment has lacked an input.
    incomplete: Option<Standstill>,
    /// Whether it has joined as another member since then.
    has_joined_anew: bool,
    status: WorkerStatus,
}

/// Pause after a dropped transaction, so that a broken broker is not hammered.
const ABORT_PAUSE_MS: u64 = 100;

impl Worker {
    /// A worker on a store of the caller's, to be stepped by the caller. [`crate::Application`] does
    /// the rest that a real run needs.
    ///
    /// # Errors
    /// When the broker gives it no consumer or no producer.
    pub fn on(
        broker: Arc<dyn Broker>,
        topology: Arc<Topology>,
        store: Arc<dyn Store>,
        topics: Layout,
        config: WorkerConfig,
    ) -> Result<Worker> {
        Self::new(broker, Arc::new(TaskEnv::new(topology, store, topics)), config)
    }

    pub(crate) fn new(
        broker: Arc<dyn Broker>,
        env: Arc<TaskEnv>,
        config: WorkerConfig,
    ) -> Result<Worker> {
        #[cfg(feature = "mutants")]
        broker.mutate(config.mutant);
        let group = env.topology.name().to_owned();
        let consumer = broker.consumer(consumer_options(&env, &config, config.id.clone()))?;
        let producer = broker.producer(producer_mode(&config))?;
        Ok(Worker {
            broker,
            env,
            group,
            consumer,
            producer,
            producer_ready: false,
            opening: None,
            assignment: Vec::new(),
            tasks: BTreeMap::new(),
            committed: BTreeSet::new(),
            slots: Vec::new(),
            unread: None,
            asked: 0,
            asked_ms: 0,
            transaction_since: None,
            commit: None,
            concluded: None,
            releasing: false,
            resume_at_ms: 0,
            refreshed_ms: None,
            ticks_from_ms: 0,
            incomplete: None,
            has_joined_anew: false,
            status: WorkerStatus::default(),
            config,
        })
    }

    /// Does a bounded piece of work. `wait` is how long it may wait if there is none.
    ///
    /// # Errors
    /// What trying again will not mend. A broker that is away is waited for.
    pub fn step(&mut self, now: Now, wait: Duration) -> Result<Activity> {
        self.status.observe(self.concluded.take(), now);
        match self.advance(now, wait) {
            Err(Error::Broker(error)) if error.is_unavailable() => {
                self.wait_for(error.to_string());
                self.resume_at_ms = now.monotonic_ms + ABORT_PAUSE_MS;
                Ok(Activity::Idle)
            }
            Ok(activity) => {
                self.tell_progress(activity, now);
                Ok(activity)
            }
            other => other,
        }
    }

    fn advance(&mut self, now: Now, wait: Duration) -> Result<Activity> {
        self.producer.attend();
        let paused = now.monotonic_ms < self.resume_at_ms;
        if self.commit.is_some() {
            if paused {
                self.consumer_pause(wait);
                return Ok(Activity::Idle);
            }
            return self.settle(now);
        }
        if self.releasing {
            return self.release(now);
        }
        if !self.producer_ready && !paused {
            self.ready_producer()?;
        }
        let wait = if paused { wait } else { self.patience(now, wait) };
        let event = self.consumer.poll(now, wait)?;
        match event {
            GroupEvent::None => {}
            GroupEvent::Assigned(mut partitions) => {
                // Those that were added since have no others to go with.
                partitions.retain(|at| at.partition < self.env.partitions);
                tracing::info!(worker = %self.config.id, partitions = partitions.len(), "assigned");
                self.consumer.assign(&[])?;
                self.slots.clear();
                self.assignment = partitions.clone();
                self.opening = Some(Opening::new(partitions));
            }
            GroupEvent::Revoking => {
                self.releasing = true;
                return Ok(Activity::Busy);
            }
            GroupEvent::Lost => {
                tracing::warn!(worker = %self.config.id, "lost its partitions");
                self.tasks.clear();
                self.drop_transaction(now)?;
                self.opening = None;
                self.releasing = true;
                return Ok(Activity::Busy);
            }
        }
        if paused {
            return Ok(Activity::Idle);
        }
        self.open(now)?;
        let restoring = self.restore(now)?;
        let working = self.work(now)?;
        self.commit_if_due(now)?;
        Ok(if restoring || working { Activity::Busy } else { Activity::Idle })
    }

    /// How long the poll of a step at this time waits, of `wait` at most: not at all while there is work.
    pub fn patience(&self, now: Now, wait: Duration) -> Duration {
        let restoring = self.tasks.values().any(|t| matches!(t, Assigned::Restoring(_)));
        if restoring || self.has_work() {
            return Duration::ZERO;
        }
        if self.opening.is_some() || !self.producer_ready {
            return wait.min(Duration::from_millis(5));
        }
        let tick = self.running().filter_map(|task| task.wants_tick_in(now)).min();
        let wait = tick.map_or(wait, |ms| wait.min(Duration::from_millis(ms)));
        match self.transaction_since {
            None => wait,
            Some(since) => {
                let age = now.monotonic_ms.saturating_sub(since);
                wait.min(Duration::from_millis(self.config.commit.interval_ms.saturating_sub(age)))
            }
        }
    }

    fn ready_producer(&mut self) -> Result<()> {
        match self.producer.poll_ready() {
            Ok(ready) => {
                self.producer_ready = ready;
                Ok(())
            }
            Err(error) => {
                self.replace_producer()?;
                Err(error.into())
            }
        }
    }

    /// Retires the producer: one of the same id takes its place and settles what it left open.
    fn replace_producer(&mut self) -> Result<()> {
        self.producer_ready = false;
        self.producer = self.broker.producer(producer_mode(&self.config))?;
        Ok(())
    }

    /// Gives the partitions back, once nothing is open.
    fn release(&mut self, now: Now) -> Result<Activity> {
        if self.transaction_since.is_some() {
            self.start_commit(now)?;
            if self.commit.is_some() {
                return Ok(Activity::Busy);
            }
        }
        self.close_tasks();
        self.assignment.clear();
        self.opening = None;
        self.consumer.release()?;
        self.releasing = false;
        Ok(Activity::Busy)
    }

    fn close_tasks(&mut self) {
        self.tasks.clear();
        self.slots.clear();
        self.unread = None;
    }

    /// Drops the open transaction, and closes the tasks whose state it held.
    fn drop_transaction(&mut self, now: Now) -> Result<()> {
        if self.transaction_since.take().is_some() {
            self.status.aborts += 1;
        }
        self.commit = None;
        #[cfg(feature = "mutants")]
        if self.is(Mutant::OverlayKept) {
            self.keep_overlay()?;
        }
        // What restores has no part in it.
        self.tasks.retain(|_, assigned| matches!(assigned, Assigned::Restoring(_)));
        self.reopen();
        self.resume_at_ms = now.monotonic_ms + ABORT_PAUSE_MS;
        let lost = self.producer.abort().is_err() || self.producer.is_tainted();
        #[cfg(feature = "mutants")]
        let lost = lost && !self.is(Mutant::TimeoutIsAbort);
        if lost {
            self.replace_producer()?;
        }
        Ok(())
    }

    /// What the worker is doing.
    pub fn status(&self) -> WorkerStatus {
        let (tasks, positions) = (self.tasks(), self.processed());
        let ahead = |(partition, assigned): (&u32, &Assigned)| match assigned {
            Assigned::Running(task, _) => Some((*partition, task.ticks_ahead_ms()?)),
            Assigned::Restoring(_) => None,
        };
        let ticks_ahead_ms = self.tasks.iter().filter_map(ahead).collect();
        WorkerStatus { tasks, positions, ticks_ahead_ms, ..self.status.clone() }
    }

    /// Whether a transaction is open, or its outcome is awaited.
    pub fn is_in_transaction(&self) -> bool {
        self.transaction_since.is_some()
    }

    /// What each of its tasks is doing, by partition.
    pub fn tasks(&self) -> BTreeMap<u32, TaskStatus> {
        let status = |assigned: &Assigned| match assigned {
            Assigned::Restoring(restore) => restore.status(),
            Assigned::Running(_, restored) => TaskStatus::Running { restored: *restored },
        };
        self.tasks.iter().map(|(partition, assigned)| (*partition, status(assigned))).collect()
    }
}

/// Its place in the group, under this name.
fn consumer_options(env: &TaskEnv, config: &WorkerConfig, instance: String) -> ConsumerOptions {
    ConsumerOptions {
        group: env.topology.name().to_owned(),
        instance,
        topics: env.inputs.clone(),
        partitions: env.partitions,
        session_timeout_ms: config.session_timeout_ms,
    }
}

fn producer_mode(config: &WorkerConfig) -> ProducerMode {
    match config.guarantee {
        Guarantee::ExactlyOnce => ProducerMode::Transactional { id: config.id.clone() },
        Guarantee::AtLeastOnce => ProducerMode::AtLeastOnce,
    }
}
