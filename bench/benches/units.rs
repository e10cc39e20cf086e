//! What the parts of a decision cost: `cargo bench --profile dev --workspace --bench units` (the one
//! profile, or RocksDB would be compiled once more).
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use bps_events::{Purchase, PurchaseFinished, Restock};
use bps_streams::broker::embedded::EmbeddedBroker;
use bps_streams::broker::{Broker, Now};
use bps_streams::store::rocks::{MemoryBounds, RocksStore};
use bps_streams::store::{Store, StoreBatch};
use bps_streams::worker::{Worker, WorkerConfig};
use bps_streams::{Outgoing, prepare_topics};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use purchase_processor::command::purchase::rule::decide;
use purchase_processor::memory::Remembered;
use purchase_processor::stock::Stock;
use purchase_processor::{Settings, topology};
use system_tests::processes::Random;

/// As the programs have it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PURCHASE: &[u8] = br#"{"purchaseId":"31198570044-1095275-1","itemId":"1095275","quantity":1,"purchasedBy":"900"}"#;
const RESTOCK: &[u8] = br#"{"restockId":"w1-32124","itemId":"32124","quantity":100}"#;
/// Rows of the store that is read, and of a batch that is written.
const STORED: u64 = 1_000_000;
const BATCH: u64 = 5_000;
/// A remembered id's: sequence, time, fingerprint of the content.
const ROW_BYTES: usize = 24;

fn rule(c: &mut Criterion) {
    let stock = Some(Stock { supplied: 120, booked: 37 });
    c.bench_function("rule", |b| b.iter(|| decide(black_box(stock), black_box(Some(2)))));
}

fn events(c: &mut Criterion) {
    c.bench_function("decode a purchase", |b| b.iter(|| Purchase::read(black_box(Some(PURCHASE)))));
    c.bench_function("decode a restock", |b| b.iter(|| Restock::read(black_box(Some(RESTOCK)))));
    let p = Purchase::read(Some(PURCHASE)).unwrap();
    let mut value = Vec::new();
    c.bench_function("encode a result", |b| {
        b.iter(|| {
            value.clear();
            PurchaseFinished {
                purchase_id: &p.purchase_id,
                item_id: &p.item_id,
                quantity: &p.quantity,
                purchased_by: &p.purchased_by,
                reason: None,
                item_quantity: 120,
                already_booked: 37,
                remaining: black_box(82),
                decided_at: 1_483_271_606_000,
            }
            .write(&mut value);
            value.len()
        });
    });
    c.bench_function("fingerprint", |b| {
        b.iter(|| Remembered::new(black_box(&p.item_id), &p.purchase_id, &["1", &p.purchased_by]));
    });
}

fn key(n: u64) -> [u8; 16] {
    let mut random = Random::new(n);
    let mut key = [0; 16];
    key[..8].copy_from_slice(&random.below(u64::MAX).to_be_bytes());
    key[8..].copy_from_slice(&n.to_be_bytes());
    key
}

fn rows(numbers: std::ops::Range<u64>) -> StoreBatch {
    let mut batch = StoreBatch::default();
    for n in numbers {
        batch.write(0, (n % 4) as u32, &key(n), Some(&[7; ROW_BYTES]));
    }
    batch
}

fn store(c: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let store =
        RocksStore::open(&folder.path().join("store"), &["rows"], MemoryBounds::default()).unwrap();
    for begin in (0..STORED).step_by(BATCH as usize) {
        store.apply(&rows(begin..begin + BATCH)).unwrap();
    }
    let (mut random, mut row) = (Random::new(1), Vec::new());
    let mut get = |n: u64| store.get(0, (n % 4) as u32, &key(n), &mut row).unwrap();
    c.bench_function("store: get, 1M rows", |b| b.iter(|| get(random.below(STORED))));
    let mut random = Random::new(2);
    c.bench_function("store: get, not there", |b| b.iter(|| get(STORED + random.below(STORED))));
    let mut next = STORED;
    let mut group = c.benchmark_group("store: put, for each row of 5,000");
    group.throughput(Throughput::Elements(BATCH));
    group.bench_function("apply", |b| {
        let mut batch = || {
            next += BATCH;
            rows(next..next + BATCH)
        };
        b.iter_batched(&mut batch, |batch| store.apply(&batch).unwrap(), BatchSize::PerIteration);
    });
    group.finish();
}

/// One purchase on the embedded log, from its append to its result: two synced writes.
fn commit(c: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let broker: Arc<dyn Broker> =
        Arc::new(EmbeddedBroker::open(&folder.path().join("log")).unwrap());
    let settings = Settings::default();
    let topology = Arc::new(topology(&settings).unwrap());
    let topics = prepare_topics(&*broker, &topology, 1).unwrap();
    let tables = ["stock", "decided", "restocked"];
    let store = folder.path().join("store");
    let store = Arc::new(RocksStore::open(&store, &tables, MemoryBounds::default()).unwrap());
    let appender = broker.appender().unwrap();
    let mut worker =
        Worker::on(broker.clone(), topology, store, topics, WorkerConfig::new("worker")).unwrap();
    let origin = Instant::now();
    let mut decided = 0;
    c.bench_function("append, decide and commit one, embedded", |b| {
        b.iter(|| {
            decided += 1;
            let value = format!(r#"{{"purchaseId":"p-{decided}","itemId":"1","quantity":1}}"#);
            let record = Outgoing {
                topic: &settings.topics.purchase_created,
                partition: 0,
                timestamp: 1_735_689_600_000,
                key: Some(b"1"),
                value: Some(value.as_bytes()),
                headers: &[],
            };
            let (sender, acks) = channel();
            appender.append(record, Box::new(move |ack| sender.send(ack).unwrap())).unwrap();
            acks.recv().unwrap().unwrap();
            while worker.status().processed < decided {
                let monotonic_ms = origin.elapsed().as_millis() as u64;
                let now = Now { monotonic_ms, wall_ms: 1_735_689_600_000 };
                worker.step(now, Duration::from_millis(1)).unwrap();
            }
        });
    });
}

criterion_group!(units, rule, events, store, commit);
criterion_main!(units);
