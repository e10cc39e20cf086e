//! A cluster, one process on it, and the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bps_streams::broker::{
    Broker, CommittedOffset, Consumer, ConsumerOptions, Isolation, Now, OffsetSpec, TopicPartition,
};
use bps_streams::record::Batch;
use bps_streams::simulation::{Cluster, Effect, Fault, Plan};
use bps_streams::store::Store;
use bps_streams::topology::as_it_is;
use bps_streams::worker::{Activity, TaskStatus, Worker, WorkerConfig};
use bps_streams::{
    Context, Error, Layout, Message, Node, Outgoing, ProcessResult, Processor, Record, Sink,
    SinkId, Source, Store as StoreOf, StoreId, Topology, TopologyBuilder, prepare_topics,
};

pub(crate) const PARTITIONS: u32 = 1;
/// The process that looks on.
const OUTSIDE: u32 = 1_000;
/// When it begins (ms since 1970).
const BEGIN_MS: i64 = 1_780_000_000_000;
/// Steps until what must happen has happened.
const STEPS_MAX: u32 = 2_000;

pub(crate) const INPUT: &str = "input";
pub(crate) const ROWS: &str = "rows";
pub(crate) const CHANGELOG: &str = "rows-changelog";
pub(crate) const LEDGER: &str = "ledger";

/// Puts and deletes rows, and tells of each in the ledger.
pub(crate) struct Register {
    rows: StoreId,
    ledger: SinkId,
}

impl Processor for Register {
    type Input<'a> = Record<'a>;

    fn process(&mut self, record: Record<'_>, context: &mut Context<'_>) -> ProcessResult {
        let key = record.key.unwrap_or_default();
        let sequence = match record.value {
            Some(value) => context.put(self.rows, key, value)?,
            None => {
                context.delete(self.rows, key)?;
                0
            }
        };
        let value = record.value.unwrap_or_default();
        context.send(self.ledger, Message::new(key, value).sequence(sequence))?;
        Ok(())
    }
}

/// What the tests' topologies have in common.
pub(crate) fn beginning() -> TopologyBuilder {
    Topology::named("register").store(StoreOf::new(ROWS, CHANGELOG)).sink(Sink::new(LEDGER, LEDGER))
}

/// A processor that reads these topics, and keeps these stores beside its rows.
pub(crate) fn node(topics: &[&str], ledgers: &'static [&str]) -> Node<Register> {
    node_with(topics, ledgers, &[])
}

/// One that may also write these sinks, and does not.
pub(crate) fn node_with(
    topics: &[&str],
    ledgers: &'static [&str],
    sinks: &'static [&str],
) -> Node<Register> {
    let node = Node::new("register", move |wiring| {
        for ledger in ledgers {
            wiring.ledger(ledger);
        }
        for sink in sinks {
            wiring.sink(sink);
        }
        Register { rows: wiring.store(ROWS), ledger: wiring.sink(LEDGER) }
    });
    topics.iter().fold(node, |node, topic| node.reads(Source::new(*topic, *topic, as_it_is)))
}

/// Reads an input, keeps rows, and has a ledger.
pub(crate) fn register() -> Topology {
    beginning().processor(node(&[INPUT], &[])).build().unwrap()
}

/// What goes wrong, for all effects until it is set back.
#[derive(Clone, Default)]
pub(crate) struct Trouble {
    /// The end of a transaction gets no answer, though it comes.
    pub(crate) commits_unanswered: Arc<AtomicBool>,
    /// A fetch brings one record at most.
    pub(crate) one_by_one: Arc<AtomicBool>,
    /// A fetch brings nothing.
    pub(crate) silent: Arc<AtomicBool>,
}

impl Plan for Trouble {
    fn fault(&mut self, effect: &Effect) -> Fault {
        match effect.name == "commit" && self.commits_unanswered.load(Ordering::Relaxed) {
            true => Fault::Unacknowledged,
            false => Fault::None,
        }
    }

    fn choose(&mut self, what: &'static str, _: u32) -> u32 {
        match what {
            "fetch" if self.silent.load(Ordering::Relaxed) => 1,
            "fetch" if self.one_by_one.load(Ordering::Relaxed) => 2,
            _ => 0,
        }
    }
}

pub(crate) fn set(switch: &AtomicBool, on: bool) {
    switch.store(on, Ordering::Relaxed);
}

pub(crate) struct Rig {
    pub(crate) cluster: Cluster,
    pub(crate) trouble: Trouble,
    pub(crate) outside: Arc<dyn Broker>,
    pub(crate) topology: Arc<Topology>,
    /// The process that is tested: its number, and its store.
    process: u32,
    pub(crate) store: Option<Arc<dyn Store>>,
    worker: Option<Worker>,
    pub(crate) configure: fn(&mut WorkerConfig),
    pub(crate) now: Now,
    /// How far the worker's clock is ahead (ms).
    pub(crate) ahead_ms: i64,
}

impl Rig {
    /// Topics are there, nobody runs.
    pub(crate) fn new(topology: Topology) -> Rig {
        let trouble = Trouble::default();
        let cluster = Cluster::new(trouble.clone());
        let (outside, _) = cluster.boot(OUTSIDE);
        prepare_topics(&*outside, &topology, PARTITIONS).unwrap();
        let mut rig = Rig {
            cluster,
            trouble,
            outside,
            topology: Arc::new(topology),
            process: 0,
            store: None,
            worker: None,
            configure: |_| (),
            now: Now { monotonic_ms: 0, wall_ms: BEGIN_MS },
            ahead_ms: 0,
        };
        rig.pass(1);
        rig
    }

    pub(crate) fn pass(&mut self, ms: u64) {
        self.now.monotonic_ms += ms;
        self.now.wall_ms += ms as i64;
        self.cluster.set_time(self.now);
    }

    /// Writes an input; returns its offset.
    pub(crate) fn send(&self, topic: &str, key: &str, value: Option<&str>) {
        let record = Outgoing {
            topic,
            partition: 0,
            timestamp: self.now.wall_ms,
            key: Some(key.as_bytes()),
            value: value.map(str::as_bytes),
            headers: &[],
        };
        let written = |outcome: Result<u64, _>| assert!(outcome.is_ok());
        self.outside.appender().unwrap().append(record, Box::new(written)).unwrap();
    }

    /// A member of the group that is none of ours, and reads this topic. The first of the names, as it is,
    /// is assigned the only partition.
    pub(crate) fn stranger(&self, topic: &str, session_timeout_ms: u64) -> Box<dyn Consumer> {
        let options = ConsumerOptions {
            group: self.topology.name().to_owned(),
            instance: "a-stranger".to_owned(),
            topics: vec![topic.to_owned()],
            partitions: PARTITIONS,
            session_timeout_ms,
        };
        self.outside.consumer(options).unwrap()
    }

    /// The process begins.
    pub(crate) fn boot(&mut self) {
        let (broker, store) = self.cluster.boot(self.process);
        let topics = Layout { partitions: PARTITIONS, dead_letter_partitions: PARTITIONS };
        let mut config = WorkerConfig::new(format!("{}-0", self.topology.name()));
        (self.configure)(&mut config);
        self.store = Some(store.clone());
        self.worker =
            Some(Worker::on(broker, self.topology.clone(), store, topics, config).unwrap());
    }

    /// A topic loses all from this offset on: its end, or all of it (0).
    pub(crate) fn lose_tail(&self, topic: &str, end: u64) {
        self.cluster.lose_tail(&TopicPartition::new(topic, 0), end).unwrap();
    }

    /// The process is killed, and its disk loses its last batches.
    pub(crate) fn kill(&mut self, batches_lost: usize) {
        self.cluster.kill(self.process);
        self.worker = None;
        self.cluster.lose_power(self.process, batches_lost);
    }

    /// Another machine takes its place: one without a store.
    pub(crate) fn move_on(&mut self) {
        self.kill(0);
        self.process += 1;
        self.boot();
    }

    /// The next process has another topology.
    pub(crate) fn change_to(&mut self, topology: Topology) {
        prepare_topics(&*self.outside, &topology, PARTITIONS).unwrap();
        self.topology = Arc::new(topology);
    }

    pub(crate) fn worker(&self) -> &Worker {
        self.worker.as_ref().unwrap()
    }

    pub(crate) fn step(&mut self, ms: u64) -> Result<Activity, Error> {
        self.pass(ms);
        let now = Now { wall_ms: self.now.wall_ms + self.ahead_ms, ..self.now };
        self.worker.as_mut().unwrap().step(now, Duration::ZERO)
    }

    /// As in an application: the poll waits, and what follows in the step goes by the time of before.
    pub(crate) fn step_and_wait(&mut self, wait: Duration) -> Result<Activity, Error> {
        // While a commit is under way there is no poll.
        let waits = match self.worker().is_in_transaction() {
            true => Duration::ZERO,
            false => self.worker().patience(self.now, wait),
        };
        let activity = self.step(0);
        self.pass(waits.as_millis() as u64);
        activity
    }

    /// Steps until all that is there is decided.
    #[track_caller]
    pub(crate) fn settle(&mut self) {
        if let Err(error) = self.try_to_settle() {
            panic!("it stops: {error}");
        }
    }

    /// As [`Rig::settle`].
    ///
    /// # Errors
    /// What the worker stops with.
    #[track_caller]
    pub(crate) fn try_to_settle(&mut self) -> Result<(), Error> {
        for _ in 0..STEPS_MAX {
            self.step(10)?;
            if self.is_settled() {
                return Ok(());
            }
        }
        panic!("not settled: {:?}", self.worker().status());
    }

    fn is_settled(&self) -> bool {
        let worker = self.worker();
        let runs = |status: &TaskStatus| matches!(status, TaskStatus::Running { .. });
        let tasks = worker.tasks();
        if tasks.len() != PARTITIONS as usize || !tasks.values().all(runs) {
            return false;
        }
        let (at, reached): (Vec<_>, Vec<_>) = worker.status().positions.into_iter().unzip();
        let ends = OffsetSpec::End(Isolation::ReadCommitted);
        !worker.is_in_transaction() && self.outside.offsets(&at, ends).unwrap() == reached
    }

    /// Steps until it stops by itself; returns its words.
    #[track_caller]
    pub(crate) fn words(&mut self) -> String {
        match self.try_to_settle() {
            Ok(()) => panic!("it goes on: {:?}", self.worker().status()),
            Err(error) => error.to_string(),
        }
    }

    /// Each of three starts ends with these words, and decides nothing.
    #[track_caller]
    pub(crate) fn stops_each_time(&mut self, expected: &[&str]) {
        let decided = self.keys(LEDGER).len();
        for _ in 0..3 {
            self.boot();
            let words = self.words();
            for expected in expected {
                assert!(words.contains(expected), "{expected:?} is not in {words:?}");
            }
            assert_eq!(self.keys(LEDGER).len(), decided, "it has decided something");
            self.kill(0);
        }
    }

    /// Why partitions were moved aside on its disk.
    pub(crate) fn quarantined(&self) -> Vec<String> {
        self.cluster.quarantined(self.process)
    }

    /// What the group has committed of an input.
    pub(crate) fn committed(&self, topic: &str) -> Option<CommittedOffset> {
        let at = [TopicPartition::new(topic, 0)];
        self.outside.committed(self.topology.name(), &at).unwrap().remove(0)
    }

    /// Keys of the committed records of a topic, in order.
    pub(crate) fn keys(&self, topic: &str) -> Vec<String> {
        let at = TopicPartition::new(topic, 0);
        let mut batch = Batch::default();
        let mut reader = self.outside.reader(&[(at, 0)], Isolation::ReadCommitted).unwrap();
        reader.fetch(0, 1 << 20, &mut batch).unwrap();
        let key = |index| batch.get(index, topic, 0).key.unwrap().to_vec();
        (0..batch.len()).map(|index| String::from_utf8(key(index)).unwrap()).collect()
    }

    /// The row of a key in the process's store: how often it changed, and its value.
    pub(crate) fn row(&self, key: &str) -> Option<(u64, String)> {
        self.rows(0)
            .into_iter()
            .find(|(k, ..)| k == key)
            .map(|(_, sequence, value)| (sequence, value))
    }

    /// The rows of a table: key, sequence, value.
    pub(crate) fn rows(&self, table: usize) -> Vec<(String, u64, String)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let rows = self.cluster.rows(self.process, table + 1, 0);
        rows.into_iter()
            .filter(|(t, ..)| *t == table)
            .map(|(_, key, row)| {
                (text(&key), u64::from_le_bytes(*row.first_chunk().unwrap()), text(&row[16..]))
            })
            .collect()
    }
}
