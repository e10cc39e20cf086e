//! The processes of a simulated run, and whether they did right.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bps_streams::broker::{
    Broker, BrokerError, CommittedOffset, Isolation, Now, OffsetSpec, TopicPartition,
};
use bps_streams::record::Batch;
use bps_streams::simulation::Cluster;
use bps_streams::store::StoreError;
use bps_streams::worker::{Activity, CommitPolicy, TaskStatus, Worker, WorkerConfig};
use bps_streams::{Error, Layout, Topology};
use purchase_processor::{Settings, topology};

use super::random::Random;

/// Processes at most at a time.
pub(super) const PROCESSES_MAX: u32 = 3;

pub(super) enum State {
    /// Its workers.
    Running(Vec<Worker>),
    /// As one that was stopped (SIGSTOP): alive, and silent until then (monotonic ms).
    Paused(Vec<Worker>, u64),
    /// It comes back then (monotonic ms).
    Down(u64),
}

/// All processes, and the time.
pub struct ClusterRun {
    pub(super) cluster: Cluster,
    pub(super) partitions: u32,
    pub(super) settings: Settings,
    pub(super) topology: Arc<Topology>,
    configure: fn(&mut WorkerConfig),
    /// What may wait in each queue of a worker (bytes).
    pub(super) queue_bytes: usize,
    pub(super) processes: BTreeMap<u32, State>,
    pub(super) begin_ms: i64,
    pub(super) now: Now,
    /// How far the clock of a process may be off (ms).
    pub(super) clocks_differ_ms: u64,
    /// How far that of each is ahead (ms), from its last start on.
    ahead_ms: BTreeMap<u32, i64>,
    pub(super) violation: Option<String>,
    /// Somebody has set offsets of the group, or deleted it, and nobody has committed since.
    pub(super) is_meddled_with: bool,
    pub(super) commits: u64,
}

impl ClusterRun {
    /// One with a single process, which runs the product's topology; its queues have this size
    /// (bytes each).
    pub fn new(
        cluster: Cluster,
        begin_ms: i64,
        partitions: u32,
        queue_bytes: usize,
        configure: fn(&mut WorkerConfig),
    ) -> ClusterRun {
        let topology = topology(&Settings::default()).unwrap();
        Self::of(cluster, topology, begin_ms, partitions, queue_bytes, configure)
    }

    /// One with a single process, which runs this topology.
    pub fn of(
        cluster: Cluster,
        topology: Topology,
        begin_ms: i64,
        partitions: u32,
        queue_bytes: usize,
        configure: fn(&mut WorkerConfig),
    ) -> ClusterRun {
        let (settings, topology) = (Settings::default(), Arc::new(topology));
        let mut cluster_run = ClusterRun {
            cluster,
            partitions,
            settings,
            topology,
            configure,
            queue_bytes,
            processes: BTreeMap::new(),
            begin_ms,
            now: Now { monotonic_ms: 0, wall_ms: begin_ms },
            clocks_differ_ms: 0,
            ahead_ms: BTreeMap::new(),
            violation: None,
            is_meddled_with: false,
            commits: 0,
        };
        cluster_run.cluster.set_time(cluster_run.now);
        cluster_run.boot(0);
        cluster_run
    }

    /// The settings of all.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The topology of all.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The virtual time.
    pub fn now(&self) -> Now {
        self.now
    }

    /// What was seen to be wrong.
    pub fn violation(&self) -> Option<String> {
        self.violation.clone()
    }

    /// Commits of the workers that have ended or live.
    pub fn commits(&self) -> u64 {
        self.commits
    }

    /// A process begins.
    pub fn boot(&mut self, process: u32) {
        let mut random = Random::new(self.now.monotonic_ms ^ u64::from(process) << 40);
        let ahead = random.below(2 * self.clocks_differ_ms + 1) as i64;
        self.ahead_ms.insert(process, ahead - self.clocks_differ_ms as i64);
        let (broker, store) = self.cluster.boot(process);
        let topics =
            Layout { partitions: self.partitions, dead_letter_partitions: self.partitions };
        let count = 1 + process % 2;
        let worker = |number: u32| {
            let id = format!("{}-p{process}-{number}", self.topology.name());
            let mut config = WorkerConfig::new(id);
            // Small bounds, so that few records make many transactions.
            config.commit = CommitPolicy { records_max: 7, ..CommitPolicy::default() };
            let queues = self.topology.inputs().len() * self.partitions as usize;
            config.queue_bytes_max = self.queue_bytes * queues;
            (self.configure)(&mut config);
            let (broker, store) = (broker.clone(), store.clone());
            Worker::on(broker, self.topology.clone(), store, topics, config)
        };
        let workers: Result<Vec<Worker>, Error> = (0..count).map(worker).collect();
        let state = match workers {
            Ok(workers) => State::Running(workers),
            Err(_) => State::Down(self.now.monotonic_ms + 50),
        };
        self.processes.insert(process, state);
    }

    pub(super) fn pass(&mut self, ms: u64) {
        self.now.monotonic_ms += ms;
        self.now.wall_ms += ms as i64;
        self.cluster.set_time(self.now);
    }

    /// A step of somebody, and a little time.
    pub fn step(&mut self, random: &mut Random) {
        self.pass(match random.below(400) {
            0 => 2_000 + random.below(14_000),
            1..=8 => 50 + random.below(400),
            9..=200 => random.below(6),
            _ => 0,
        });
        let numbers: Vec<u32> = self.processes.keys().copied().collect();
        let process = numbers[random.below(numbers.len() as u64) as usize];
        self.step_process(process, |workers| random.below(workers as u64) as usize);
    }

    fn step_process(&mut self, process: u32, choose: impl FnOnce(usize) -> usize) {
        let ahead_ms = self.ahead_ms.get(&process).copied().unwrap_or(0);
        let now = Now { wall_ms: self.now.wall_ms + ahead_ms, ..self.now };
        match self.processes.get_mut(&process) {
            Some(State::Running(workers)) => {
                let worker = choose(workers.len());
                let stepped = workers[worker].step(now, Duration::ZERO);
                self.after(process, stepped);
            }
            Some(State::Paused(_, until_ms)) if *until_ms <= now.monotonic_ms => {
                if let Some(State::Paused(workers, _)) = self.processes.remove(&process) {
                    self.processes.insert(process, State::Running(workers));
                }
            }
            Some(State::Down(until_ms)) if *until_ms <= now.monotonic_ms => self.boot(process),
            _ => {}
        }
    }

    /// A process ends by a crash, or by an error that a supervisor answers with a restart.
    fn after(&mut self, process: u32, stepped: Result<Activity, Error>) {
        let dead = self.cluster.is_dead(process);
        let error = match stepped {
            Ok(_) if !dead => return,
            Ok(_) => None,
            Err(error) => Some(error),
        };
        if let Some(error) = error
            && !dead
            && !is_expected(&error)
        {
            self.violation = Some(format!("process {process} stops: {error}"));
        }
        self.end(process, 20);
    }

    /// A process is killed, and comes back after this time (ms).
    pub fn end(&mut self, process: u32, after_ms: u64) {
        self.cluster.kill(process);
        let down = State::Down(self.now.monotonic_ms + after_ms);
        if let Some(State::Running(workers) | State::Paused(workers, _)) =
            self.processes.insert(process, down)
        {
            self.commits += commits_of(workers);
        }
    }

    /// Nothing is wrong any more, and everybody is there.
    pub fn heal(&mut self) {
        self.clocks_differ_ms = 0;
        self.ahead_ms.clear();
        for process in 0..PROCESSES_MAX {
            self.cluster.set_disk_full(process, false);
        }
        self.cluster.heal();
        let numbers: Vec<u32> = self.processes.keys().copied().collect();
        for process in numbers {
            match self.processes.remove(&process) {
                Some(State::Running(workers) | State::Paused(workers, _)) => {
                    self.processes.insert(process, State::Running(workers));
                }
                Some(State::Down(_)) | None => self.boot(process),
            }
        }
    }

    /// Everybody's turn, so many times.
    pub fn rounds(&mut self, count: u32) {
        for _ in 0..count {
            self.pass(10);
            self.round();
        }
    }

    /// Everybody's turn, in no time.
    pub(super) fn round(&mut self) {
        let numbers: Vec<u32> = self.processes.keys().copied().collect();
        for process in numbers {
            for worker in 0..2 {
                self.step_process(process, |workers| worker % workers);
            }
        }
    }

    /// Whether a store is being brought up to its topics.
    pub(super) fn is_restoring(&self) -> bool {
        let lacks = |status| matches!(status, TaskStatus::Restoring { remaining: 1.., .. });
        self.workers().any(|worker| worker.tasks().into_values().any(lacks))
    }

    pub(super) fn all_of(&self, topics: impl IntoIterator<Item = String>) -> Vec<TopicPartition> {
        let at = |topic: String| (0..self.partitions).map(move |p| TopicPartition::new(&topic, p));
        topics.into_iter().flat_map(at).collect()
    }

    /// Whether a topic has records of an open transaction.
    pub fn is_open(&self, broker: &dyn Broker) -> bool {
        let all = self.all_of(self.topology.topics(self.partitions).into_iter().map(|t| t.name));
        let ends = |isolation| broker.offsets(&all, OffsetSpec::End(isolation)).unwrap();
        ends(Isolation::ReadCommitted) != ends(Isolation::ReadUncommitted)
    }

    /// Whether every committed record has been taken into a committed transaction, and no worker
    /// waits for the outcome of one.
    pub fn is_settled(&self, broker: &dyn Broker) -> bool {
        // One that a dead process left open is ended by its heir, or by its time-out.
        if self.is_open(broker) || (self.is_meddled_with && !self.is_known_to_group()) {
            return false;
        }
        let inputs = self.all_of(self.topology.inputs());
        let Ok(committed) = broker.committed(self.topology.name(), &inputs) else {
            return false;
        };
        let is_taken = |at: &TopicPartition, committed: Option<CommittedOffset>| {
            let from = committed.map_or(0, |c| c.offset);
            let mut batch = Batch::default();
            let mut reader =
                broker.reader(&[(at.clone(), from)], Isolation::ReadCommitted).unwrap();
            reader.fetch(0, 1, &mut batch).unwrap();
            batch.is_empty()
        };
        self.owners().len() == self.partitions as usize
            && self.workers().all(|worker| !worker.is_in_transaction())
            && inputs.iter().zip(committed).all(|(at, committed)| is_taken(at, committed))
    }

    /// Every process gives its place up.
    pub(super) fn close(&mut self) {
        let numbers: Vec<u32> = self.processes.keys().copied().collect();
        for process in numbers {
            self.scale_down(process);
        }
    }

    /// The workers of running processes.
    fn workers(&self) -> impl Iterator<Item = &Worker> {
        self.processes
            .values()
            .filter_map(|s| match s {
                State::Running(workers) => Some(workers),
                _ => None,
            })
            .flatten()
    }

    /// Who runs each partition.
    pub(super) fn owners(&self) -> BTreeMap<u32, u32> {
        let mut owners = BTreeMap::new();
        for (process, state) in &self.processes {
            let State::Running(workers) = state else { continue };
            for worker in workers {
                for (partition, status) in worker.tasks() {
                    if matches!(status, TaskStatus::Running { .. }) {
                        owners.insert(partition, *process);
                    }
                }
            }
        }
        owners
    }
}

/// What a supervisor answers with a restart, and nothing else.
fn is_expected(error: &Error) -> bool {
    match error {
        // Its place was taken, as after a restart that it did not notice.
        Error::Broker(BrokerError::Fenced { .. }) => true,
        Error::Store(StoreError::Io { .. }) => true,
        _ => false,
    }
}

pub(super) fn commits_of(workers: Vec<Worker>) -> u64 {
    workers.into_iter().map(|worker| worker.status().commits).sum()
}
