//! Two workers of one process share its store. One that was taken for dead between its commit and
//! the batch that stands for it must not write what the other has written on by then.

use std::sync::Arc;
use std::time::Duration;

use bps_streams::broker::embedded::EmbeddedBroker;
use bps_streams::broker::{Broker, Now, TopicPartition};
use bps_streams::store::Store;
use bps_streams::store::memory::MemoryStore;
use bps_streams::store::rocks::{MemoryBounds, RocksStore};
use bps_streams::worker::{Worker, WorkerConfig};
use bps_streams::{Outgoing, Topology, prepare_topics};

use super::rig::{INPUT, LEDGER, ROWS, Rig, register, set};

struct Pair {
    broker: Arc<dyn Broker>,
    topology: Arc<Topology>,
    store: Arc<dyn Store>,
    now: Now,
}

impl Pair {
    fn worker(&self, number: u32) -> Worker {
        let topics = prepare_topics(&*self.broker, &self.topology, 1).unwrap();
        let config = WorkerConfig::new(format!("register-{number}"));
        let (broker, store) = (self.broker.clone(), self.store.clone());
        Worker::on(broker, self.topology.clone(), store, topics, config).unwrap()
    }

    fn send(&self, value: &str) {
        let record = Outgoing {
            topic: INPUT,
            partition: 0,
            timestamp: 1,
            key: Some(b"k"),
            value: Some(value.as_bytes()),
            headers: &[],
        };
        let (sender, receiver) = std::sync::mpsc::channel();
        let ack = Box::new(move |outcome| drop(sender.send(outcome)));
        self.broker.appender().unwrap().append(record, ack).unwrap();
        receiver.recv().unwrap().unwrap();
    }

    fn committed(&self) -> u64 {
        let at = [TopicPartition::new(INPUT, 0)];
        let committed = self.broker.committed(self.topology.name(), &at).unwrap().remove(0);
        committed.map_or(0, |committed| committed.offset)
    }

    fn row(&self) -> Option<(u64, String)> {
        let mut row = Vec::new();
        let table = self.topology.tables().iter().position(|name| name == ROWS).unwrap();
        let there = self.store.get(table, 0, b"k", &mut row).unwrap();
        there.then(|| {
            let text = String::from_utf8(row[16..].to_vec()).unwrap();
            (u64::from_le_bytes(*row.first_chunk().unwrap()), text)
        })
    }

    /// Steps one until something is so.
    fn until(&mut self, worker: &mut Worker, done: impl Fn(&Pair, &Worker) -> bool) {
        for _ in 0..10_000 {
            if done(self, worker) {
                return;
            }
            self.now.monotonic_ms += 1;
            worker.step(self.now, Duration::ZERO).unwrap();
        }
        panic!("it does not come: {:?}", worker.status());
    }
}

fn check(store: Arc<dyn Store>) {
    let folder = tempfile::tempdir().unwrap();
    let broker: Arc<dyn Broker> = Arc::new(EmbeddedBroker::open(folder.path()).unwrap());
    let topology = Arc::new(register());
    let now = Now { monotonic_ms: 1, wall_ms: 1 };
    let mut pair = Pair { broker, topology, store, now };
    let (mut first, mut second) = (pair.worker(0), pair.worker(1));
    pair.send("old");
    // Its commit is on the log; the next step would bring it into the store.
    pair.until(&mut first, |pair, _| pair.committed() == 1);
    assert!(first.is_in_transaction() && pair.row().is_none());
    pair.now.monotonic_ms += 7_000;
    pair.send("new");
    pair.until(&mut second, |pair, _| pair.committed() == 2);
    pair.until(&mut second, |_, worker| !worker.is_in_transaction());
    let (row, checkpoint) = (pair.row(), pair.store.checkpoint(0).unwrap());
    assert_eq!(row, Some((2, "new".to_owned())));
    for _ in 0..5 {
        first.step(pair.now, Duration::ZERO).unwrap();
    }
    assert_eq!(pair.row(), row, "the first one's row");
    assert_eq!(pair.store.checkpoint(0).unwrap(), checkpoint, "the first one's checkpoint");
}

#[test]
fn a_batch_of_a_former_owner_changes_nothing() {
    check(Arc::new(MemoryStore::default()));
    let folder = tempfile::tempdir().unwrap();
    let tables = register();
    let tables = tables.tables();
    let store = RocksStore::open(&folder.path().join("store"), &tables, MemoryBounds::default());
    check(Arc::new(store.unwrap()));
}

#[test]
fn an_owner_whose_rows_were_claimed_opens_them_anew() {
    let mut rig = Rig::new(register());
    rig.boot();
    for (sequence, value) in [(1, "a"), (2, "b"), (3, "c"), (4, "d")] {
        rig.send(INPUT, "k", Some(value));
        rig.settle();
        assert_eq!(rig.row("k"), Some((sequence, value.to_owned())));
        // By a worker that has not heard yet that its place is gone; at times in a transaction.
        if sequence == 2 {
            rig.send(INPUT, "k2", Some(value));
            while !rig.worker().is_in_transaction() {
                rig.step(1).unwrap();
            }
        }
        rig.store.as_ref().unwrap().claim(0);
    }
    assert_eq!(rig.keys(LEDGER), ["k", "k", "k2", "k", "k"]);
    assert_eq!(rig.row("k2"), Some((1, "b".to_owned())));
}

#[test]
fn a_restore_whose_rows_were_claimed_begins_anew() {
    let mut rig = Rig::new(register());
    rig.boot();
    for n in 0..20 {
        rig.send(INPUT, &format!("k{n}"), Some("a"));
    }
    rig.settle();
    set(&rig.trouble.one_by_one, true);
    rig.move_on();
    for _ in 0..5 {
        rig.step(1).unwrap();
        rig.store.as_ref().unwrap().claim(0);
    }
    set(&rig.trouble.one_by_one, false);
    rig.settle();
    assert_eq!(rig.rows(0).len(), 20);
    assert_eq!(rig.keys(LEDGER).len(), 20);
}
