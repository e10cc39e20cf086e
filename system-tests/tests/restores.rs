//! A worker with an empty disk restores a few of its partitions at a time, so that what a restore takes
//! does not grow with their number.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use bps_streams::broker::embedded::EmbeddedBroker;
use bps_streams::broker::{Broker, Now};
use bps_streams::partitioner::partition_of;
use bps_streams::store::rocks::{MemoryBounds, RocksStore};
use bps_streams::worker::{TaskStatus, Worker, WorkerConfig};
use bps_streams::{Outgoing, prepare_topics};
use purchase_processor::{Settings, topology};

const PARTITIONS: u32 = 12;
const ITEMS: usize = 240;
const BEGIN_MS: i64 = 1_735_689_600_000;

fn restock(broker: &dyn Broker, topic: &str) {
    let (sender, acks) = channel();
    let appender = broker.appender().unwrap();
    for n in 0..ITEMS {
        let item = format!("item-{n}");
        let value = format!(r#"{{"restockId":"r-{n}","itemId":"{item}","quantity":20}}"#);
        let record = Outgoing {
            topic,
            partition: partition_of(item.as_bytes(), PARTITIONS),
            timestamp: BEGIN_MS,
            key: Some(item.as_bytes()),
            value: Some(value.as_bytes()),
            headers: &[],
        };
        let sender = sender.clone();
        appender.append(record, Box::new(move |acked| sender.send(acked).unwrap())).unwrap();
    }
    assert!(acks.iter().take(ITEMS).all(|acked| acked.is_ok()));
}

/// Partitions whose tasks run, with rows that were restored.
fn restored(worker: &Worker) -> usize {
    let is_restored =
        |task: &&TaskStatus| matches!(task, TaskStatus::Running { restored } if *restored > 0);
    worker.status().tasks.values().filter(is_restored).count()
}

#[test]
fn an_empty_disk_is_restored_few_partitions_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let broker: Arc<dyn Broker> =
        Arc::new(EmbeddedBroker::open(&folder.path().join("log")).unwrap());
    let settings = Settings::default();
    let topology = Arc::new(topology(&settings).unwrap());
    let topics = prepare_topics(&*broker, &topology, PARTITIONS).unwrap();
    restock(&*broker, &settings.topics.items_added);
    let worker = |store: &Path| {
        let tables = topology.tables();
        let store = RocksStore::open(store, &tables, MemoryBounds::default()).unwrap();
        let (broker, topology) = (broker.clone(), topology.clone());
        Worker::on(broker, topology, Arc::new(store), topics, WorkerConfig::new("worker")).unwrap()
    };
    let clock = |step: i64| Now { monotonic_ms: step as u64 * 20, wall_ms: BEGIN_MS + step * 20 };

    let mut first = worker(&folder.path().join("first"));
    let decides = (0..10_000).any(|step| {
        first.step(clock(step), Duration::from_millis(1)).unwrap();
        first.status().processed == ITEMS as u64
    });
    assert!(decides, "{:?}", first.status());
    drop(first);

    let mut second = worker(&folder.path().join("second"));
    let mut steps = vec![0];
    for step in 10_000..20_000 {
        second.step(clock(step), Duration::from_millis(1)).unwrap();
        steps.push(restored(&second));
        if steps.last() == Some(&(PARTITIONS as usize)) {
            break;
        }
    }
    steps.dedup();
    assert_eq!(steps, [0, 4, 8, 12], "one chunk is all of a partition here");
}
