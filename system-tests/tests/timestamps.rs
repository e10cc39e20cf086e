//! Records that other programs stamped with no time: they count as of the earliest one, whatever
//! becomes of them, and the checker and a replay agree.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use bps_streams::broker::{
    Appender, Broker, CommittedOffset, Consumer, ConsumerOptions, GroupEvent, Isolation,
    Membership, Now, OffsetCommit, OffsetSpec, Producer, ProducerMode, Reader, Result,
    TopicDescription, TopicPartition,
};
use bps_streams::record::{Batch, TIME_MIN};
use bps_streams::replay::Replay;
use bps_streams::store::memory::MemoryStore;
use purchase_processor::topology;
use system_tests::backends::embedded;
use system_tests::{Backend, Installation};

/// What Kafka's own clients can write, and ours cannot: no record of the earliest time or the one
/// after it is stamped with it.
const STAMPED: [(i64, i64); 2] = [(TIME_MIN, 0), (TIME_MIN + 1, -1)];

/// A log on which the inputs are stamped like that.
struct Unstamped(Arc<dyn Broker>);

fn are_inputs(from: &[(TopicPartition, u64)]) -> Vec<bool> {
    let inputs = ["items-added", "purchase-created"];
    from.iter().map(|(at, _)| inputs.iter().any(|input| at.topic.ends_with(input))).collect()
}

/// Reads by `fetch`, and takes the stamps off.
fn unstamped(batch: &mut Batch, fetch: impl FnOnce(&mut Batch) -> Result<u64>) -> Result<u64> {
    let mut found = Batch::default();
    let position = fetch(&mut found)?;
    for index in 0..found.len() {
        let r = found.get(index, "", 0);
        let stamped = STAMPED.iter().find(|(from, _)| *from == r.timestamp);
        let timestamp = stamped.map_or(r.timestamp, |(_, to)| *to);
        batch.push(r.offset, timestamp, r.key, r.value, r.headers.iter());
    }
    Ok(position)
}

struct Read<T: ?Sized> {
    /// By slot.
    is_input: Vec<bool>,
    inner: Box<T>,
}

impl Reader for Read<dyn Reader> {
    fn wait(&mut self, wait: Duration) -> Result<()> {
        self.inner.wait(wait)
    }

    fn fetch(&mut self, slot: usize, bytes_max: usize, batch: &mut Batch) -> Result<u64> {
        match self.is_input[slot] {
            true => unstamped(batch, |batch| self.inner.fetch(slot, bytes_max, batch)),
            false => self.inner.fetch(slot, bytes_max, batch),
        }
    }
}

impl Consumer for Read<dyn Consumer> {
    fn poll(&mut self, now: Now, wait: Duration) -> Result<GroupEvent> {
        self.inner.poll(now, wait)
    }

    fn assign(&mut self, from: &[(TopicPartition, u64)]) -> Result<()> {
        self.is_input = are_inputs(from);
        self.inner.assign(from)
    }

    fn fetch(&mut self, slot: usize, bytes_max: usize, batch: &mut Batch) -> Result<u64> {
        match self.is_input[slot] {
            true => unstamped(batch, |batch| self.inner.fetch(slot, bytes_max, batch)),
            false => self.inner.fetch(slot, bytes_max, batch),
        }
    }

    fn release(&mut self) -> Result<()> {
        self.inner.release()
    }

    fn membership(&self) -> Membership {
        self.inner.membership()
    }

    fn commit(&mut self, offsets: &[OffsetCommit]) -> Result<()> {
        self.inner.commit(offsets)
    }

    fn leave(&mut self, now: Now) -> Result<()> {
        self.inner.leave(now)
    }
}

impl Broker for Unstamped {
    fn cluster_id(&self) -> Result<String> {
        self.0.cluster_id()
    }

    fn consumer(&self, options: ConsumerOptions) -> Result<Box<dyn Consumer>> {
        let inner = self.0.consumer(options)?;
        Ok(Box::new(Read::<dyn Consumer> { is_input: Vec::new(), inner }))
    }

    fn producer(&self, mode: ProducerMode) -> Result<Box<dyn Producer>> {
        self.0.producer(mode)
    }

    fn appender(&self) -> Result<Box<dyn Appender>> {
        self.0.appender()
    }

    fn reader(
        &self,
        from: &[(TopicPartition, u64)],
        isolation: Isolation,
    ) -> Result<Box<dyn Reader>> {
        let inner = self.0.reader(from, isolation)?;
        Ok(Box::new(Read::<dyn Reader> { is_input: are_inputs(from), inner }))
    }

    fn offsets(&self, partitions: &[TopicPartition], spec: OffsetSpec) -> Result<Vec<u64>> {
        self.0.offsets(partitions, spec)
    }

    fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<CommittedOffset>>> {
        self.0.committed(group, partitions)
    }

    fn describe_topics(&self, names: &[&str]) -> Result<Vec<Option<TopicDescription>>> {
        self.0.describe_topics(names)
    }

    fn create_topic(&self, topic: &TopicDescription) -> Result<()> {
        self.0.create_topic(topic)
    }

    fn delete_group(&self, group: &str) -> Result<()> {
        self.0.delete_group(group)
    }

    fn maintain(&self, now: Now) -> Result<()> {
        self.0.maintain(now)
    }
}

#[test]
fn records_of_no_time_count_as_of_the_earliest_one() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Arc::new(Unstamped(embedded(folder.path())));
    let mut installation = Installation::new(broker.clone(), "timestamps", 3);
    installation.start();
    let topics = installation.settings.topics.clone();
    for (n, (at, _)) in STAMPED.into_iter().enumerate() {
        installation.restock(&format!("r{n}"), "1", "5", at);
        installation.purchase(&format!("p{n}"), "1", "2", at);
        // One that belongs elsewhere, and one that nobody can read.
        let astray = (installation.partition("1") + 1) % 3;
        let value =
            format!(r#"{{"itemId":"1","purchaseId":"q{n}","quantity":1,"purchasedBy":"b"}}"#);
        let moved = (&*topics.purchase_created, astray, "1", value.as_bytes(), at);
        installation.append(&[moved, (&topics.purchase_created, 0, "x", b"no JSON", at)]);
    }
    let results = installation.results(4);
    installation.wait_for(&topics.dead_letters, 2);
    assert!(results.iter().all(|r| r.timestamp == TIME_MIN), "{results:?}");
    let moved = installation.read(&topics.rekeyed);
    assert!(moved.len() == 2 && moved.iter().all(|r| r.timestamp == TIME_MIN), "{moved:?}");
    installation.stop();
    installation.verify();
    let topology = topology(&installation.settings).unwrap();
    let replay = Replay::new(&*broker, topology, Arc::new(MemoryStore::default())).unwrap();
    let report = replay.run(&|_, _| true).unwrap();
    assert!(report.differences.is_empty(), "{:?}", report.differences);
}
