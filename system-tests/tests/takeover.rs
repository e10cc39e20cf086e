//! A worker that dies with its transaction open is gone with its session: its heir does not wait
//! for the transaction's time-out. In virtual time.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bps_streams::broker::{Broker, Isolation, Now, OffsetSpec, TopicPartition};
use bps_streams::partitioner::partition_of;
use bps_streams::record::Batch;
use bps_streams::simulation::{Cluster, Effect, Fault, Plan};
use bps_streams::worker::{TaskStatus, Worker, WorkerConfig};
use bps_streams::{Layout, Outgoing, Topology, prepare_topics};
use purchase_processor::{Settings, topology};

const OUTSIDE: u32 = 1_000;
const BEGIN_MS: i64 = 1_700_000_000_000;
const PARTITIONS: u32 = 2;
/// After the session of the dead one; far less than is left of its transaction's ten seconds.
const TAKEN_MS_MAX: u64 = 1_000;

/// What befalls a process.
#[derive(Default)]
struct Script {
    /// What becomes of its next effect of a name.
    faults: BTreeMap<(u32, &'static str), Fault>,
    /// A new producer of a worker's own does not get ready: the first one asked in a step is that.
    slow_init: bool,
    /// New producers asked in this step.
    asked: u32,
    /// Producers that got ready.
    inits: Vec<u32>,
}

#[derive(Clone, Default)]
struct Planned(Arc<Mutex<Script>>);

impl Plan for Planned {
    fn fault(&mut self, effect: &Effect) -> Fault {
        let mut script = self.0.lock().unwrap();
        if effect.name == "init producer" {
            script.inits.push(effect.process);
        }
        script.faults.remove(&(effect.process, effect.name)).unwrap_or_default()
    }

    fn choose(&mut self, what: &'static str, _: u32) -> u32 {
        if what != "slow init" {
            return 0;
        }
        let mut script = self.0.lock().unwrap();
        script.asked += 1;
        u32::from(script.slow_init && script.asked == 1)
    }
}

/// Processes of one worker each, by their number.
struct World {
    plan: Planned,
    cluster: Cluster,
    outside: Arc<dyn Broker>,
    settings: Settings,
    topology: Arc<Topology>,
    now: Now,
    workers: BTreeMap<u32, Worker>,
}

impl World {
    /// Process 0 decides a purchase in each partition.
    fn begin() -> World {
        let plan = Planned::default();
        let settings = Settings::default();
        let topology = Arc::new(topology(&settings).unwrap());
        let cluster = Cluster::new(plan.clone());
        let (outside, _) = cluster.boot(OUTSIDE);
        let now = Now { monotonic_ms: 0, wall_ms: BEGIN_MS };
        cluster.set_time(now);
        prepare_topics(&*outside, &topology, PARTITIONS).unwrap();
        let workers = BTreeMap::new();
        let mut world = World { plan, cluster, outside, settings, topology, now, workers };
        world.boot(0);
        for partition in 0..PARTITIONS {
            let restock = format!(
                r#"{{"restockId":"r-{partition}","itemId":"{}","quantity":9}}"#,
                item(partition)
            );
            world.append(&world.settings.topics.items_added, partition, &restock);
            world.purchase("before", partition);
            world.step_until(|world| world.shown(partition) == 1);
        }
        world
    }

    fn boot(&mut self, process: u32) {
        let (broker, store) = self.cluster.boot(process);
        let topics = Layout { partitions: PARTITIONS, dead_letter_partitions: PARTITIONS };
        let config = WorkerConfig::new(format!("worker-{process}"));
        let worker = Worker::on(broker, self.topology.clone(), store, topics, config);
        self.workers.insert(process, worker.unwrap());
    }

    fn append(&self, topic: &str, partition: u32, value: &str) {
        let (key, value) = (item(partition), Some(value.as_bytes()));
        let key = Some(key.as_bytes());
        let record = Outgoing { topic, partition, timestamp: BEGIN_MS, key, value, headers: &[] };
        let written = |outcome: Result<u64, _>| assert!(outcome.is_ok());
        self.outside.appender().unwrap().append(record, Box::new(written)).unwrap();
    }

    fn purchase(&self, id: &str, partition: u32) {
        let item = item(partition);
        let value = format!(r#"{{"purchaseId":"{id}","itemId":"{item}","quantity":1}}"#);
        self.append(&self.settings.topics.purchase_created, partition, &value);
    }

    /// Steps of all, a millisecond each, until `done`; how many it took.
    fn step_until(&mut self, done: impl Fn(&World) -> bool) -> u64 {
        let begun = self.now.monotonic_ms;
        while !done(self) {
            assert!(self.now.monotonic_ms < begun + 60_000, "nothing comes");
            self.now.monotonic_ms += 1;
            self.now.wall_ms += 1;
            self.cluster.set_time(self.now);
            for (process, worker) in &mut self.workers {
                self.plan.0.lock().unwrap().asked = 0;
                let stepped = worker.step(self.now, Duration::ZERO);
                assert!(stepped.is_ok() || self.cluster.is_dead(*process), "{:?}", stepped.err());
            }
            self.workers.retain(|process, _| !self.cluster.is_dead(*process));
        }
        self.now.monotonic_ms - begun
    }

    fn results(&self, partition: u32) -> TopicPartition {
        TopicPartition::new(&self.settings.topics.purchase_finished, partition)
    }

    /// Committed results.
    fn shown(&self, partition: u32) -> usize {
        let from = [(self.results(partition), 0)];
        let mut reader = self.outside.reader(&from, Isolation::ReadCommitted).unwrap();
        let mut batch = Batch::default();
        reader.fetch(0, 1 << 20, &mut batch).unwrap();
        batch.len()
    }

    fn is_left_open(&self, partition: u32) -> bool {
        let at = [self.results(partition)];
        let end = |isolation| self.outside.offsets(&at, OffsetSpec::End(isolation)).unwrap();
        end(Isolation::ReadCommitted) != end(Isolation::ReadUncommitted)
    }

    /// Partitions whose tasks run.
    fn running(&self, process: u32) -> Vec<u32> {
        let tasks = self.workers[&process].tasks().into_iter();
        let running = tasks.filter(|(_, task)| matches!(task, TaskStatus::Running { .. }));
        running.map(|(partition, _)| partition).collect()
    }

    fn set(&self, process: u32, effect: &'static str, fault: Fault) {
        self.plan.0.lock().unwrap().faults.insert((process, effect), fault);
    }
}

fn item(partition: u32) -> String {
    let mut items = (0..).map(|n| format!("item-{n}"));
    items.find(|item| partition_of(item.as_bytes(), PARTITIONS) == partition).unwrap()
}

#[test]
fn what_a_dead_worker_left_open_is_ended_by_its_heir() {
    // Without and with the group's offsets in it.
    for last in ["drain", "add offsets"] {
        let mut world = World::begin();
        world.set(0, last, Fault::CrashAfter);
        world.purchase("left open", 1);
        world.step_until(|world| world.workers.is_empty());
        assert!(world.is_left_open(1), "died after {last}: nothing is open");
        world.boot(1);
        let taken_ms = world.step_until(|world| world.running(1) == [0, 1]);
        let session_ms = WorkerConfig::new("").session_timeout_ms;
        assert!(taken_ms < session_ms + TAKEN_MS_MAX, "died after {last}: {taken_ms} ms");
        world.step_until(|world| world.shown(1) == 2);
        assert!(!world.is_left_open(1));
    }
}

#[test]
fn a_living_worker_is_not_fenced_for_what_another_left_open() {
    let mut world = World::begin();
    world.boot(1);
    world.step_until(|world| world.running(0).len() == 1 && world.running(1).len() == 1);
    let taken = world.running(1)[0];
    // Its first transaction in what it took over fails, and so does its abort; its next producer
    // ends it late. The last who committed there is the living one.
    world.set(1, "drain", Fault::Unacknowledged);
    world.set(1, "abort", Fault::Lost);
    world.purchase("doubtful", taken);
    {
        let mut script = world.plan.0.lock().unwrap();
        script.slow_init = true;
        script.inits.clear();
    }
    world.step_until(|world| world.is_left_open(taken));
    let until_ms = world.now.monotonic_ms + 3_000;
    world.step_until(|world| world.now.monotonic_ms == until_ms);
    assert!(world.is_left_open(taken));
    world.plan.0.lock().unwrap().slow_init = false;
    world.step_until(|world| world.shown(taken) == 2);
    let opened = &world.plan.0.lock().unwrap().inits;
    assert_eq!(opened, &[1, 1], "its own two producers are opened anew, and nobody else's");
}
