//! A topic is deleted and made anew in the simulated cluster: whatever is known of the former one,
//! the worker names it and goes no further; where nothing is wrong, it goes on.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use bps_events::Topics;
use bps_streams::broker::{Broker, Isolation, Now, OffsetSpec, TopicPartition};
use bps_streams::simulation::{Cluster, Faultless};
use bps_streams::store::{StoreBatch, TopicIds};
use bps_streams::worker::{Worker, WorkerConfig};
use bps_streams::{Layout, Outgoing, Topology, prepare_topics};
use purchase_processor::{Settings, topology};

const OUTSIDE: u32 = 1_000;
const BEGIN_MS: i64 = 1_700_000_000_000;

struct World {
    cluster: Cluster,
    outside: Arc<dyn Broker>,
    topics: Topics,
    topology: Arc<Topology>,
    now: Now,
}

impl World {
    /// Process 0 has decided three purchases of one partition.
    fn begin() -> World {
        let settings = Settings::default();
        let topology = Arc::new(topology(&settings).unwrap());
        let cluster = Cluster::new(Faultless);
        let (outside, _) = cluster.boot(OUTSIDE);
        let now = Now { monotonic_ms: 0, wall_ms: BEGIN_MS };
        cluster.set_time(now);
        prepare_topics(&*outside, &topology, 1).unwrap();
        let topics = settings.topics;
        let mut world = World { cluster, outside, topics, topology, now };
        let mut worker = world.boot(0);
        world.restock("r");
        ["a", "b", "c"].iter().for_each(|id| world.purchase(id));
        world.run(&mut worker, |world| world.results() == 3).unwrap();
        world
    }

    fn boot(&self, process: u32) -> Worker {
        let (broker, store) = self.cluster.boot(process);
        let topics = Layout { partitions: 1, dead_letter_partitions: 1 };
        let config = WorkerConfig::new(format!("worker-{process}"));
        Worker::on(broker, self.topology.clone(), store, topics, config).unwrap()
    }

    fn append(&self, topic: &str, value: &str) {
        let (key, value) = (Some(&b"1"[..]), Some(value.as_bytes()));
        let timestamp = self.now.wall_ms;
        let record = Outgoing { topic, partition: 0, timestamp, key, value, headers: &[] };
        let written = |outcome: Result<u64, _>| assert!(outcome.is_ok());
        self.outside.appender().unwrap().append(record, Box::new(written)).unwrap();
    }

    fn restock(&self, id: &str) {
        let value = format!(r#"{{"restockId":"{id}","itemId":"1","quantity":9}}"#);
        self.append(&self.topics.items_added, &value);
    }

    fn purchase(&self, id: &str) {
        let value = format!(r#"{{"purchaseId":"{id}","itemId":"1","quantity":1}}"#);
        self.append(&self.topics.purchase_created, &value);
    }

    /// Steps, a millisecond each, until `done`.
    fn run(
        &mut self,
        worker: &mut Worker,
        done: impl Fn(&World) -> bool,
    ) -> bps_streams::Result<()> {
        for _ in 0..60_000 {
            if done(self) && !worker.is_in_transaction() {
                return Ok(());
            }
            self.now.monotonic_ms += 1;
            self.now.wall_ms += 1;
            self.cluster.set_time(self.now);
            worker.step(self.now, Duration::ZERO)?;
        }
        panic!("nothing comes: {:?}", worker.status());
    }

    /// A process that must not go on.
    #[track_caller]
    fn is_refused(&mut self, process: u32, topic: &str) {
        let mut worker = self.boot(process);
        let refused = self.run(&mut worker, |_| false).unwrap_err().to_string();
        let begin = format!("topic {topic}: ");
        assert!(refused.starts_with(&begin) && refused.contains("made anew"), "{refused}");
        drop(worker);
        self.cluster.kill(process);
    }

    /// How many records a topic holds (or held: markers count as well).
    fn end(&self, topic: &str) -> u64 {
        let at = TopicPartition::new(topic, 0);
        let end = OffsetSpec::End(Isolation::ReadCommitted);
        self.outside.offsets(&[at], end).unwrap()[0]
    }

    /// Results on the ledger.
    fn results(&self) -> usize {
        let at = TopicPartition::new(&self.topics.purchase_finished, 0);
        let mut reader = self.outside.reader(&[(at, 0)], Isolation::ReadCommitted).unwrap();
        let mut batch = Default::default();
        reader.fetch(0, 1 << 20, &mut batch).unwrap();
        batch.len()
    }

    /// Takes the ids of topics out of a store, as one has it that was written before they were kept.
    fn forget_ids(&self, process: u32) {
        let (_, store) = self.cluster.boot(process);
        let mut checkpoint = store.checkpoint(0).unwrap().unwrap();
        checkpoint.ids = TopicIds::default();
        let mut batch = StoreBatch::default();
        batch.checkpoint(0, checkpoint);
        store.apply(&batch).unwrap();
    }
}

#[test]
fn an_input_or_a_backing_topic_made_anew_is_refused_by_who_knew_the_former() {
    let topics: [fn(&Topics) -> &String; 5] = [
        |t| &t.items_added,
        |t| &t.purchase_created,
        |t| &t.rekeyed,
        |t| &t.stock,
        |t| &t.purchase_finished,
    ];
    for topic in topics {
        let mut world = World::begin();
        let topic = topic(&world.topics).clone();
        world.cluster.recreate_topic(&topic);
        (0..9).for_each(|n| world.purchase(&format!("p{n}")));
        world.is_refused(0, &topic);
        world.is_refused(0, &topic);
        assert!(world.cluster.quarantined(0).is_empty(), "its state is left as it is");
    }
}

#[test]
fn who_knows_no_id_is_warned_by_the_offsets_that_are_gone() {
    let mut world = World::begin();
    let topic = world.topics.purchase_created.clone();
    world.cluster.recreate_topic(&topic);
    (0..9).for_each(|n| world.purchase(&format!("p{n}")));
    // A new machine, twice; and one whose store is of before ids were kept.
    world.is_refused(1, &topic);
    world.is_refused(1, &topic);
    world.forget_ids(0);
    world.is_refused(0, &topic);
    assert_eq!(world.results(), 3);
}

#[test]
fn who_commits_after_the_topic_was_made_anew_says_which_one_it_had_read() {
    let mut world = World::begin();
    let topic = world.topics.purchase_created.clone();
    let mut worker = world.boot(0);
    let answers = |world: &World| world.end(&world.topics.restock_finished);
    let mut restock = |world: &mut World, id: &str| {
        let before = answers(world);
        world.restock(id);
        world.run(&mut worker, |world| answers(world) > before).unwrap();
    };
    restock(&mut world, "r2");
    // As many as were read of the former one: it goes on behind them.
    world.cluster.recreate_topic(&topic);
    (0..3).for_each(|n| world.purchase(&format!("p{n}")));
    restock(&mut world, "r3");
    drop(worker);
    world.cluster.kill(0);
    // It knows the position in the former topic, and nothing else.
    world.is_refused(1, &topic);
}

#[test]
fn a_store_of_before_ids_were_kept_is_read_and_learns_them() {
    let mut world = World::begin();
    world.forget_ids(0);
    world.purchase("d");
    let mut worker = world.boot(0);
    world.run(&mut worker, |world| world.results() == 4).unwrap();
    drop(worker);
    let topic = world.topics.purchase_created.clone();
    assert!(world.cluster.checkpoint(0, 0).unwrap().ids.contains_key(&topic));

    // Also where nothing is decided any more.
    world.forget_ids(0);
    let mut worker = world.boot(0);
    let ids = |world: &World| world.cluster.checkpoint(0, 0).unwrap().ids.len();
    world.run(&mut worker, |world| ids(world) == 6).unwrap();
}

#[test]
fn offsets_that_were_only_deleted_stop_nobody_who_knows_the_topic() {
    let mut world = World::begin();
    let topic = world.topics.purchase_created.clone();
    world.cluster.forget_offsets(&topic);
    world.purchase("d");
    let mut worker = world.boot(0);
    world.run(&mut worker, |world| world.results() == 4).unwrap();
    drop(worker);
    // Nor anybody where all of the group is gone.
    let all = [&world.topics.items_added, &world.topics.purchase_created, &world.topics.rekeyed];
    all.into_iter().for_each(|topic| world.cluster.forget_offsets(topic));
    world.purchase("e");
    let mut worker = world.boot(1);
    world.run(&mut worker, |world| world.results() == 5).unwrap();
}
