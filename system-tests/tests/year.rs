//! The real year of a grocer, result by result against a naive oracle: on the test driver, on the
//! embedded log, and as a backlog on Kafka (which prints the rate).
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stderr)]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bps_streams::TestDriver;
use bps_streams::broker::{Broker, TopicPartition};
use bps_streams::partitioner::partition_of;
use purchase_processor::{Settings, topology};
use system_tests::Installation;
use system_tests::backends::{embedded, kafka};
use system_tests::budget::is_asked;
use system_tests::damaged::{Damage, Damaged};
use system_tests::oracle::{Event, decide, tally};
use system_tests::year;

/// As the binaries have it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Results = HashMap<(String, String), String>;

/// Takes one result into the account; each purchase may have one only.
fn take(results: &mut Results, value: &[u8]) {
    let json: serde_json::Value = serde_json::from_slice(value).unwrap();
    let text = |field: &str| json[field].as_str().unwrap_or("SUCCESS").to_owned();
    let key = (text("itemId"), text("purchaseId"));
    let former = results.insert(key, text("reason"));
    assert_eq!(former, None, "a second result: {json}");
}

fn compare(results: &Results, expected: &HashMap<(String, String), &'static str>, sold: i64) {
    assert_eq!(results.len(), expected.len());
    for (key, expected) in expected {
        assert_eq!(results[key], **expected, "{key:?}");
    }
    let tally = tally(results.values().map(String::as_str));
    let year =
        [("INSUFFICIENT_STOCK", 125_949), ("INVALID_QUANTITY", 8_869), ("SUCCESS", 1_334_489)];
    assert_eq!(tally.into_iter().collect::<Vec<_>>(), year);
    assert_eq!(sold, 122_283_949);
}

/// Merged events, the oracle's results, and the units sold.
fn year() -> (Vec<Event>, HashMap<(String, String), &'static str>, i64) {
    let merged = year::events();
    let (expected, sold) = decide(&merged);
    (merged, expected, sold)
}

#[test]
fn the_real_year_on_the_test_driver() {
    let (merged, expected, sold) = year();
    compare(&driven(&merged), &expected, sold);
}

#[test]
fn the_real_year_on_the_embedded_log() {
    let (merged, expected, sold) = year();
    let folder = tempfile::tempdir().unwrap();
    compare(&backlog(embedded(folder.path()), "embedded", &merged), &expected, sold);
}

#[test]
fn the_real_year_on_kafka() {
    let Some(broker) = kafka() else {
        return eprintln!("the real year did not run on Kafka (BPS_NO_KAFKA)");
    };
    let (merged, expected, sold) = year();
    compare(&backlog(broker, "kafka", &merged), &expected, sold);
}

fn driven(merged: &[Event]) -> Results {
    let settings = Settings::default();
    let (restocked, purchased) = (&settings.topics.items_added, &settings.topics.purchase_created);
    let mut driver = TestDriver::new(topology(&settings).unwrap());
    for e in merged {
        let topic = if e.is_purchase { purchased } else { restocked };
        driver.send(topic, e.item.as_bytes(), e.value().as_bytes(), e.at).unwrap();
    }
    let mut results = Results::new();
    for result in driver.read(&settings.topics.purchase_finished) {
        take(&mut results, &result.value.unwrap());
    }
    results
}

/// Everything lies in the topics before the processor starts, with two workers.
fn backlog(broker: Arc<dyn Broker>, name: &str, merged: &[Event]) -> Results {
    let mut installation = Installation::new(broker, "year", 4);
    let topics = installation.settings.topics.clone();
    for chunk in merged.chunks(10_000) {
        let values: Vec<String> = chunk.iter().map(Event::value).collect();
        let record = |(e, value): (&'_ Event, &'_ String)| {
            let topic = if e.is_purchase { &topics.purchase_created } else { &topics.items_added };
            (topic.clone(), partition_of(e.item.as_bytes(), 4), e.item.clone(), value.clone(), e.at)
        };
        let records: Vec<_> = chunk.iter().zip(&values).map(record).collect();
        let borrowed: Vec<_> = records
            .iter()
            .map(|(t, p, key, value, at)| (t.as_str(), *p, key.as_str(), value.as_bytes(), *at))
            .collect();
        installation.append(&borrowed);
    }
    installation.config.workers = 2;
    let started = Instant::now();
    installation.start();
    let running = wait_processed(&installation, merged.len() as u64);
    let rate = merged.len() as f64 / running.as_secs_f64();
    eprintln!(
        "{name}: a backlog of {} records decided in {:.1} s: {rate:.0} records/s, two workers \
         ({:.1} s with the start)",
        merged.len(),
        running.as_secs_f64(),
        started.elapsed().as_secs_f64(),
    );
    let results = read_results(&installation);
    installation.end().unwrap();
    let started = Instant::now();
    let read = installation.verify().records_read;
    eprintln!("{name}: {read} records verified in {:.1} s", started.elapsed().as_secs_f64());
    // On the embedded log no offset is free, where a result could stand once more.
    if is_asked() && name == "kafka" {
        damaged_results_are_found(&installation);
    }
    results
}

/// One byte changed in one result, one result dropped, one there twice: each is found and named.
fn damaged_results_are_found(installation: &Installation) {
    let topic = &installation.settings.topics.purchase_finished;
    for damage in [Damage::ByteChanged, Damage::Dropped, Damage::Doubled] {
        let at = TopicPartition::new(topic, 2);
        let view = Damaged::new(installation.broker.clone(), damage, at, 100_000);
        let report = installation.report_through(&view, true);
        let touched = view.touched().unwrap();
        let lines: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
        eprintln!("{damage:?}, {topic}-2@{touched}: {:#?}", &lines[..lines.len().min(3)]);
        // What is not there is named by the purchase that it would be the result of.
        let place = match damage {
            Damage::Dropped => format!("C1 {}-2@", installation.settings.topics.purchase_created),
            Damage::ByteChanged | Damage::Doubled => format!(" {topic}-2@{touched}: "),
        };
        assert!(lines[0].contains(&place), "{damage:?}: {place} is not in {}", lines[0]);
    }
}

/// Waits until all is decided; returns the time since the first commit's transaction began.
fn wait_processed(installation: &Installation, count: u64) -> Duration {
    let deadline = Instant::now() + Duration::from_secs(300);
    let mut first = None;
    loop {
        let statuses = installation.application().status().workers;
        let processed: u64 = statuses.values().map(|s| s.processed).sum();
        let running = statuses.values().any(|s| !s.tasks.is_empty());
        if running && first.is_none() {
            first = Some(Instant::now());
        }
        if processed >= count {
            return first.unwrap().elapsed();
        }
        assert!(!installation.application().is_finished(), "the processor has ended");
        assert!(Instant::now() < deadline, "{processed} of {count}: {statuses:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Reads the ledger without keeping it.
fn read_results(installation: &Installation) -> Results {
    let topic = &installation.settings.topics.purchase_finished;
    let from: Vec<_> = (0..4).map(|p| (TopicPartition::new(topic, p), 0)).collect();
    let mut results = Results::new();
    installation.scan(&from, |_, record| take(&mut results, record.value.unwrap()));
    results
}
