//! A cluster and disks in memory, under a plan of faults: for proofs, not for production.
//!
//! A [`Cluster`] is a model of Kafka with its unpleasant sides: open and aborted records lie in
//! the log, readers of committed records stop at the last stable offset, transactions end late,
//! twice or by time-out, acknowledgements get lost, groups rebalance, members are fenced. Each
//! process gets a [`broker`](crate::broker::Broker) and a [`store`](crate::store::Store) of its
//! own from it. All that a process does through them is numbered as an [`Effect`], and the
//! [`Plan`] says what becomes of it.
//!
//! What librdkafka can return from each call, and what is played of it, is a table in
//! ARCHITECTURE.md.
//!
//! It never: reads a clock, starts a thread, waits, or draws a number of its own; the same plan
//! and the same calls make the same run, and [`Cluster::trace_hash`] shows it.
//!
//! Reading order: [`Plan`], `world` (what there is), `log` (a partition), `transactions` (how
//! they end), `machine` (a process's way in), then producer, fetcher, consumer, reader and store.

mod consumer;
mod fetcher;
mod log;
mod machine;
mod plan;
mod producer;
mod reader;
mod store;
mod trace;
mod transactions;
mod world;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::machine::Machine;
pub use self::plan::{Effect, Fault, Faultless, Plan};
use self::store::SimulatedStore;
use self::world::World;
use crate::broker::{Broker, CommittedOffset, Now, Result, TopicPartition};
use crate::store::{Checkpoint, Store};

/// A simulated cluster, and the disks of the processes that use it. Clones share it.
#[derive(Clone)]
pub struct Cluster {
    world: Arc<Mutex<World>>,
}

impl Cluster {
    /// An empty cluster at time zero.
    pub fn new(plan: impl Plan + 'static) -> Cluster {
        Cluster { world: Arc::new(Mutex::new(World::new(Box::new(plan)))) }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a process (again): its ways to the cluster and to its disk. Those of an earlier
    /// life do nothing any more.
    pub fn boot(&self, process: u32) -> (Arc<dyn Broker>, Arc<dyn Store>) {
        let life = self.world().boot(process);
        let machine = Machine { world: self.world.clone(), process, life };
        (Arc::new(machine.clone()), Arc::new(SimulatedStore { machine }))
    }

    /// Ends a process at once, as `kill -9` does. What it had sent stays on its way.
    pub fn kill(&self, process: u32) {
        self.event(|| format!("process {process} is killed"));
        self.world().kill(process);
    }

    /// Whether the plan or [`Cluster::kill`] has ended it.
    pub fn is_dead(&self, process: u32) -> bool {
        self.world().is_dead(process)
    }

    /// Time passes: what is due arrives, what is open for too long is ended.
    pub fn set_time(&self, now: Now) {
        self.world().set_time(now);
    }

    /// Takes up to `batches` of the last batches off a dead process's disk: what a loss of power
    /// takes that was not synced.
    pub fn lose_power(&self, process: u32, batches: usize) {
        self.event(|| format!("the disk of process {process} loses up to {batches} batches"));
        if let Some(disk) = self.world().disks.get_mut(&process) {
            disk.fall_back(batches);
        }
    }

    /// Whether a process's disk takes no write.
    pub fn set_disk_full(&self, process: u32, full: bool) {
        self.event(|| format!("the disk of process {process} is full: {full}"));
        if let Some(disk) = self.world().disks.get_mut(&process) {
            disk.full = full;
        }
    }

    /// Nobody answers for this long (ms); what is on its way arrives.
    pub fn outage(&self, ms: u64) {
        self.event(|| format!("the cluster does not answer for {ms} ms"));
        let mut world = self.world();
        world.outage_until_ms = world.now.monotonic_ms + ms;
    }

    /// Everybody answers, and knows all that it holds.
    pub fn heal(&self) {
        self.event(|| "the cluster is well".to_owned());
        self.world().heal();
    }

    /// A partition loses what lies at or behind this offset, as one may whose leader was not chosen
    /// among those that had it.
    ///
    /// # Errors
    /// When there is no such partition.
    pub fn lose_tail(&self, at: &TopicPartition, end: u64) -> Result<()> {
        self.event(|| format!("{at} loses what lies behind {end}"));
        self.world().partition(at)?.lose_tail(end);
        Ok(())
    }

    /// Sets an offset of a group, as a tool does that resets it, or a foreign member.
    pub fn set_offset(&self, group: &str, at: TopicPartition, committed: CommittedOffset) {
        self.event(|| format!("somebody sets {group} to {} of {at}", committed.offset));
        self.world().groups.set_offset(group, at, committed);
    }

    /// Gives the epoch of a transactional id to somebody else, as a coordinator does that takes
    /// its producer for dead.
    pub fn fence(&self, transactional_id: &str) {
        self.event(|| format!("{transactional_id} is fenced"));
        self.world().init_producer(transactional_id);
    }

    /// Why partitions were moved aside on a process's disk, in order.
    pub fn quarantined(&self, process: u32) -> Vec<String> {
        let world = self.world();
        world.disks.get(&process).map(|d| d.quarantined.clone()).unwrap_or_default()
    }

    /// Every row of a partition on a process's disk: table, key, and the row as it is stored.
    pub fn rows(
        &self,
        process: u32,
        tables: usize,
        partition: u32,
    ) -> Vec<(usize, Vec<u8>, Vec<u8>)> {
        let world = self.world();
        world.disks.get(&process).map(|d| d.rows(tables, partition)).unwrap_or_default()
    }

    /// What the rows of a partition on a process's disk stand for.
    pub fn checkpoint(&self, process: u32, partition: u32) -> Option<Checkpoint> {
        self.world().disks.get(&process)?.checkpoint(partition).cloned()
    }

    /// Deletes a topic and makes it anew, as an operator may.
    pub fn recreate_topic(&self, topic: &str) {
        self.event(|| format!("topic {topic} is deleted and made anew"));
        self.world().remake_topic(topic);
    }

    /// Forgets what groups have committed of a topic, as an operator may.
    pub fn forget_offsets(&self, topic: &str) {
        self.event(|| format!("the offsets of {topic} are deleted"));
        self.world().groups.forget_topic(topic);
    }

    /// Effects so far.
    pub fn effects(&self) -> u64 {
        self.world().effects()
    }

    /// Keeps a line for each thing that happens from now on.
    pub fn keep_trace(&self) {
        self.world().trace.keep_lines();
    }

    /// Notes something that happens outside of the cluster.
    pub fn event(&self, text: impl FnOnce() -> String) {
        let mut world = self.world();
        let now = world.now;
        world.trace.event(now, text);
    }

    /// A number that two runs share only if the same things happened in the same order.
    pub fn trace_hash(&self) -> u64 {
        self.world().trace.hash()
    }

    /// The lines kept.
    pub fn trace(&self) -> Vec<String> {
        self.world().trace.lines().to_vec()
    }
}
