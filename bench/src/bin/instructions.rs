//! Decides a small backlog on the embedded log in one thread, step by step on a clock of its own, so
//! that every run executes nearly the same instructions: `scripts/instructions` counts them.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use bps_service::exit::AnyError;
use bps_streams::broker::embedded::EmbeddedBroker;
use bps_streams::broker::{Broker, Now};
use bps_streams::partitioner::partition_of;
use bps_streams::store::rocks::{MemoryBounds, RocksStore};
use bps_streams::worker::{Worker, WorkerConfig};
use bps_streams::{Outgoing, prepare_topics};
use purchase_processor::{Settings, topology};
use system_tests::processes::Random;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PARTITIONS: u32 = 4;
const ITEMS: u64 = 4_000;
const PURCHASES: u64 = 36_000;
const BEGIN_MS: i64 = 1_735_689_600_000;
/// As the topology names them.
const TABLES: [&str; 3] = ["stock", "decided", "restocked"];

#[allow(clippy::print_stdout)] // what the script divides by
fn main() -> Result<(), AnyError> {
    let folder = tempfile::Builder::new().prefix("bps-instructions-").tempdir()?;
    let broker: Arc<dyn Broker> = Arc::new(EmbeddedBroker::open(&folder.path().join("log"))?);
    let settings = Settings::default();
    let topology = Arc::new(topology(&settings)?);
    let topics = prepare_topics(&*broker, &topology, PARTITIONS)?;
    fill(&*broker, &settings)?;
    let bounds = MemoryBounds::default();
    let store = Arc::new(RocksStore::open(&folder.path().join("store"), &TABLES, bounds)?);
    let mut worker = Worker::on(broker, topology, store, topics, WorkerConfig::new("worker"))?;
    decide(&mut worker, ITEMS + PURCHASES)?;
    println!("{}", ITEMS + PURCHASES);
    Ok(())
}

/// The part whose instructions are counted.
#[inline(never)]
fn decide(worker: &mut Worker, records: u64) -> Result<(), AnyError> {
    for ms in 0..100_000 {
        // Half a transaction's records or so in each step.
        let now = Now { monotonic_ms: ms * 20, wall_ms: BEGIN_MS + 1_000_000 };
        worker.step(now, Duration::ZERO)?;
        if worker.status().processed >= records {
            return Ok(());
        }
    }
    Err("it does not come to an end".into())
}

fn fill(broker: &dyn Broker, settings: &Settings) -> Result<(), AnyError> {
    let appender = broker.appender()?;
    let (sender, acks) = channel();
    let append = |topic: &str, item: u64, value: String, at: i64| {
        let item = format!("item-{item:08}");
        let record = Outgoing {
            topic,
            partition: partition_of(item.as_bytes(), PARTITIONS),
            timestamp: at,
            key: Some(item.as_bytes()),
            value: Some(value.as_bytes()),
            headers: &[],
        };
        let sender = sender.clone();
        appender.append(record, Box::new(move |acked| drop(sender.send(acked))))
    };
    let mut random = Random::new(1);
    for n in 0..ITEMS {
        let value = format!(r#"{{"restockId":"r-{n}","itemId":"item-{n:08}","quantity":20}}"#);
        append(&settings.topics.items_added, n, value, BEGIN_MS)?;
    }
    for n in 0..PURCHASES {
        let (item, quantity) = (random.below(ITEMS), 1 + random.below(3));
        let value = format!(
            r#"{{"purchaseId":"{n:032x}","itemId":"item-{item:08}","quantity":{quantity},"purchasedBy":"b-{}"}}"#,
            n % 1_000
        );
        append(&settings.topics.purchase_created, item, value, BEGIN_MS + 60_000 + n as i64)?;
    }
    for acked in acks.iter().take((ITEMS + PURCHASES) as usize) {
        acked?;
    }
    Ok(())
}
