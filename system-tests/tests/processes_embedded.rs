//! `bps up` as a process of its own, killed with -9 again and again while `bps import` sends it
//! files: every purchase is answered once, nothing is oversold, and the store survives.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bps_streams::broker::embedded::EmbeddedBroker;
use bps_streams::broker::{Isolation, OffsetSpec, TopicPartition};
use purchase_processor::Settings;
use system_tests::Installation;
use system_tests::accounting::{Found, Sent};
use system_tests::backends::embedded;
use system_tests::budget::is_ample;
use system_tests::installation::PATIENCE;
use system_tests::oracle::{Event, decide, merge};
use system_tests::processes::{Process, Random, Work, free_address, tell};

const SEED: u64 = 20_170_101;
const PARTITIONS: u32 = 8;
const ITEMS: u64 = 200;
/// 2025-01-01 UTC.
const BEGIN_MS: i64 = 1_735_689_600_000;
/// Milliseconds between two purchases.
const PACE_MS: i64 = 60;
/// Restocks that come with one stamp: one, which makes small requests, or many, by turns.
const WAVES: [u64; 2] = [1, 40];

#[test]
fn bps_up_killed_in_mid_import() {
    let (kills, restocks, purchases) = match is_ample() {
        true => (20, 12_000, 180_000),
        false => (3, 4_000, 60_000),
    };
    let work = Work::new("kill-embedded");
    let events = events(restocks, purchases);
    let sent = write_files(&work, &events);
    let addresses = [free_address(), free_address()];
    let mut up = Some(start_up(&work, &addresses, 0));
    let mut import = Process::start_import(&work, &addresses);
    let mut random = Random::new(SEED);
    for kill in 1..=kills {
        let mut running = up.take().unwrap();
        // Every third one dies while it starts.
        if kill % 3 != 0 {
            running.wait_line("bps up: ready");
        }
        random.sleep(50, 400);
        let (before, age) = (decided(&work), running.age());
        assert!(import.is_running(), "{kill}: the import has ended before: {}", import.log());
        running.kill();
        let mut next = start_up(&work, &addresses, kill);
        if kill % 3 != 2 {
            next.wait_line("bps up: ready");
            let restored = next.restored();
            tell(format_args!(
                "kill {kill} after {age:.1?}, {before} decided: the next start restored {restored}"
            ));
            assert_small(restored, before);
        }
        up = Some(next);
    }
    let patience = PATIENCE * if is_ample() { 4 } else { 1 };
    let status = import.wait(patience);
    assert!(status.success(), "the import: {status}: {}", import.log());
    wait_decided(&work, sent.purchases() as u64);
    up.unwrap().kill();
    let mut last = start_up(&work, &addresses, kills + 1);
    last.wait_line("bps up: ready");
    assert_small(last.restored(), sent.purchases() as u64);
    last.stop();
    settle(&work, &sent, events);
}

/// Far less is restored than the topics hold: the store was not wiped.
fn assert_small(restored: u64, decided: u64) {
    assert!(restored <= 5_000 + decided / 10, "{restored} restored of {decided} decided");
}

fn start_up(work: &Work, addresses: &[SocketAddr; 2], number: u64) -> Process {
    let [items, purchases] = addresses.map(|address| address.to_string());
    let (name, data) = (format!("up-{number}"), work.path("data"));
    let mut up = Process::start_up(work, &name, &data, addresses, &[]);
    assert_eq!(up.wait_line("items-service http://"), items);
    assert_eq!(up.wait_line("purchase-service http://"), purchases);
    up
}

/// Restocks in waves (not all items at the beginning, some of 0 units) and purchases (some of
/// nothing), in the order of decisions.
fn events(restocks: u64, purchases: u64) -> Vec<Event> {
    let mut random = Random::new(SEED + 1);
    let item = |n: u64| format!("item-{n}");
    let span = purchases as i64 * PACE_MS;
    let restocked = (0..restocks).map(|n| Event {
        is_purchase: false,
        id: format!("r{n}"),
        item: item(random.below(ITEMS)),
        quantity: if random.below(20) == 0 { 0 } else { random.below(50) as i64 },
        at: {
            let wave = WAVES[(n / 400 % 2) as usize];
            BEGIN_MS + (n / wave * wave) as i64 * span / restocks as i64
        },
    });
    let restocked: Vec<Event> = restocked.collect();
    let purchased = (0..purchases).map(|n| Event {
        is_purchase: true,
        id: format!("p{n}"),
        item: item(random.below(ITEMS)),
        quantity: random.below(5) as i64,
        at: BEGIN_MS + n as i64 * PACE_MS,
    });
    merge(restocked, purchased.collect())
}

/// Writes the files of an import, and the account of what is in them.
fn write_files(work: &Work, events: &[Event]) -> Sent {
    let create = |file| std::io::BufWriter::new(std::fs::File::create(work.path(file)).unwrap());
    let (mut restocks, mut purchases) = (create("restocks.jsonl"), create("purchases.jsonl"));
    let mut sent = Sent::default();
    for Event { is_purchase, id, item, quantity, at } in events {
        let at = jiff::Timestamp::from_millisecond(*at).unwrap();
        let rest = format!(r#""itemId":"{item}","quantity":{quantity},"timestamp":"{at}"}}"#);
        if *is_purchase {
            sent.purchase(item, id, *quantity);
            writeln!(purchases, r#"{{"purchaseId":"{id}","purchasedBy":"b",{rest}"#).unwrap();
        } else {
            sent.restock(item, id, *quantity);
            writeln!(restocks, r#"{{"restockId":"{id}",{rest}"#).unwrap();
        }
    }
    sent
}

/// How many results the log of the running process holds, seen from outside.
fn decided(work: &Work) -> u64 {
    let topic = Settings::default().topics.purchase_finished;
    let at: Vec<_> = (0..PARTITIONS).map(|p| TopicPartition::new(&topic, p)).collect();
    let end = OffsetSpec::End(Isolation::ReadCommitted);
    let look = || EmbeddedBroker::follow(&work.path("data"))?.offsets(&at, end);
    // Its files may be changing under the look, and at first the topic is not there.
    look().map_or(0, |ends| ends.iter().sum())
}

fn wait_decided(work: &Work, count: u64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let decided = decided(work);
        if decided >= count {
            return;
        }
        assert!(Instant::now() < deadline, "{decided} of {count} decided");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn settle(work: &Work, sent: &Sent, events: Vec<Event>) {
    let state = work.path("data").join("state");
    let folders: Vec<String> = std::fs::read_dir(&state)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    let aside = folders.iter().any(|name| name.contains("quarantine"));
    assert!(!aside, "a store was moved aside: {folders:?}");
    let broker = embedded(&work.path("data"));
    let mut installation = Installation::bare(broker, "kill", PARTITIONS);
    installation.settings = Settings::default();
    let topics = installation.settings.topics.clone();
    let found = Found::read(&topics, PARTITIONS, |topic| installation.read(topic));
    tell(found.settle(sent));

    // As the files are merged in the order of decisions, even a naive oracle knows them.
    let good = events.into_iter().filter(|e| e.is_purchase || e.quantity > 0);
    let (expected, _) = decide(&good.collect::<Vec<_>>());
    let result = |json: serde_json::Value| {
        let text = |field: &str| json[field].as_str().unwrap_or("SUCCESS").to_owned();
        ((text("itemId"), text("purchaseId")), text("reason"))
    };
    let results = installation.read(&topics.purchase_finished);
    let results: BTreeMap<_, _> = results.iter().map(|r| result(r.json())).collect();
    for (key, expected) in &expected {
        assert_eq!(results[key], *expected, "{key:?}");
    }
}
