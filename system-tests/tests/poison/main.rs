//! Ten thousand bad records among good ones, from a seed: each comes to its one dead letter or its
//! one answer, nothing waits behind it, and the good ones are decided as if it had not been there.
//!
//! (`bad_records` looks at each kind closely; this one is about their mass, their mixture, and
//! what only a real log carries: null keys, headers, a megabyte.)
#![allow(missing_docs, clippy::unwrap_used)]

mod bodies;
mod kinds;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use bps_streams::Outgoing;
use bps_streams::broker::Broker;
use bps_streams::record::Header;
use system_tests::backends::{embedded, kafka};
use system_tests::budget::is_ample;
use system_tests::processes::{Random, tell};
use system_tests::{Installation, Written, now_ms};

use crate::kinds::{Dead, Fate, Granted, Refused, noise, poison};

const SEED: u64 = 0xbad_beef;
const PARTITIONS: u32 = 4;
const GOOD: usize = 4_000;
const ITEMS: usize = 40;
/// As long as Kafka's client lets a record be, with a key and headers.
const MEGABYTE: usize = 998_000;

fn poisons() -> usize {
    if is_ample() { 100_000 } else { 10_000 }
}

#[derive(Clone, Debug)]
struct Record {
    purchase: bool,
    /// Its id; good and answered ones only.
    id: String,
    partition: u32,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
    at: i64,
    fate: Fate,
    good: bool,
}

/// The whole batch: bad ones among good ones, in one order of sending.
fn records(home: &dyn Fn(&str) -> u32, now: i64) -> Vec<Record> {
    let mut random = Random::new(SEED);
    let mut all = vec![good(home, now, false, "plenty", 0, 1_000_000)];
    // Restocks first: between inputs stamps decide, and a bad record's stamp may be any.
    for n in 1..=ITEMS {
        all.push(good(home, now, false, &format!("good-{}", n % ITEMS), n, 120));
    }
    let every = poisons() / GOOD;
    let mut count = 0;
    for n in 0..poisons() {
        let purchase = random.below(2) == 0;
        let (mut value, mut fate, id) = poison(&mut random, n, purchase);
        let mut at = now;
        match random.below(250) {
            // Readable, but not yet.
            0 if !matches!(fate, Dead(_)) => {
                at = now + 3_600_000 + random.below(1 << 40) as i64;
                fate = Dead("FUTURE");
            }
            1 => {
                value = Some(vec![b'm'; MEGABYTE]);
                fate = Dead("TOO_LONG");
            }
            _ => {}
        }
        let key = match random.below(4) {
            0 => None,
            1 => Some(noise(&mut random, 40)),
            2 => Some(Vec::new()),
            _ => Some(b"plenty".to_vec()),
        };
        let headers = match random.below(6) {
            0 => vec![("stamp".to_owned(), Some(noise(&mut random, 30)))],
            1 => vec![("bps".to_owned(), None), ("é".to_owned(), Some(noise(&mut random, 300)))],
            2 => vec![("kind".to_owned(), Some(b"purchases".to_vec()))],
            _ => Vec::new(),
        };
        // Anywhere: what can be read is sent on to the partition of its item.
        let partition = random.below(u64::from(PARTITIONS)) as u32;
        let good_one = false;
        all.push(Record { purchase, id, partition, key, value, headers, at, fate, good: good_one });
        if n % every == 0 && count < GOOD {
            count += 1;
            let item = format!("good-{}", count % ITEMS);
            let units = 1 + random.below(3);
            all.push(good(home, now, true, &item, ITEMS + count, units));
        }
    }
    all
}

fn good(
    home: &dyn Fn(&str) -> u32,
    at: i64,
    purchase: bool,
    item: &str,
    n: usize,
    units: u64,
) -> Record {
    let own = if purchase { "purchaseId" } else { "restockId" };
    let value = format!(r#"{{"{own}":"good-{n}","itemId":"{item}","quantity":{units}}}"#);
    Record {
        purchase,
        id: format!("good-{n}"),
        partition: home(item),
        key: Some(item.into()),
        value: Some(value.into_bytes()),
        headers: Vec::new(),
        // One after the other, so that with and without poison the order is the same.
        at: at - 600_000 + n as i64 * 10,
        fate: Granted,
        good: true,
    }
}

/// Appends them in requests that the buffers can hold.
fn send(installation: &Installation, records: &[&Record]) {
    let topics = &installation.settings.topics;
    let mut rest = records;
    while !rest.is_empty() {
        // Those of a megabyte alone: the embedded log's buffer holds 16 of them.
        let is_big = |r: &&&Record| r.value.as_ref().is_some_and(|v| v.len() > 500_000);
        let small = rest.iter().take(1_000).take_while(|r| !is_big(r)).count();
        let (now, later) = rest.split_at(small.max(1));
        rest = later;
        let headers: Vec<Vec<Header<'_>>> = now
            .iter()
            .map(|r| r.headers.iter().map(|(n, v)| (n.as_str(), v.as_deref())).collect())
            .collect();
        let outgoing = now.iter().zip(&headers).map(|(r, headers)| Outgoing {
            topic: if r.purchase { &topics.purchase_created } else { &topics.items_added },
            partition: r.partition,
            timestamp: r.at,
            key: r.key.as_deref(),
            value: r.value.as_deref(),
            headers,
        });
        installation.append_all(&outgoing.collect::<Vec<_>>());
    }
}

/// What was said to each id.
type Said = BTreeMap<(bool, String), serde_json::Value>;

/// Waits until as many results, answers and dead letters are there as there must be; more of them
/// than one for each is a failure.
fn decided(installation: &Installation, records: &[&Record]) -> (Said, Vec<Written>) {
    let topics = &installation.settings.topics;
    let count = |is_one: &dyn Fn(&Record) -> bool| records.iter().filter(|r| is_one(r)).count();
    let is_dead = |r: &Record| matches!(r.fate, Dead(_));
    let letters = installation.wait_for(&topics.dead_letters, count(&is_dead));
    let results =
        installation.wait_for(&topics.purchase_finished, count(&|r| r.purchase && !is_dead(r)));
    let answers =
        installation.wait_for(&topics.restock_finished, count(&|r| !r.purchase && !is_dead(r)));
    let mut said = Said::new();
    for (purchase, written) in [(true, results), (false, answers)] {
        for one in written {
            let former = said.insert((purchase, one.key.clone()), one.json());
            assert!(former.is_none(), "a second answer to {}", one.key);
        }
    }
    (said, letters)
}

fn check_letters(installation: &Installation, records: &[Record], letters: &[Written]) {
    let topics = &installation.settings.topics;
    let mut ends: HashMap<(bool, u32), u64> = HashMap::new();
    let mut expected = BTreeMap::new();
    for record in records {
        let end = ends.entry((record.purchase, record.partition)).or_default();
        if let Dead(code) = record.fate {
            let topic =
                if record.purchase { &topics.purchase_created } else { &topics.items_added };
            expected.insert((topic.clone(), record.partition, *end), code.to_owned());
        }
        *end += 1;
    }
    let mut found = BTreeMap::new();
    for letter in letters {
        let number = |name: &str| letter.header(name).parse::<u64>().unwrap();
        let place =
            (letter.header("topic").to_owned(), number("partition") as u32, number("offset"));
        let former = found.insert(place.clone(), letter.header("code").to_owned());
        assert!(former.is_none(), "a second dead letter of {place:?}");
    }
    assert_eq!(found.len(), expected.len());
    let other = expected.iter().find(|(place, code)| found.get(place) != Some(code));
    assert_eq!(other, None, "found: {:?}", other.and_then(|(place, _)| found.get(place)));
}

fn poisoned(broker: Arc<dyn Broker>, name: &str) -> Said {
    let begun = Instant::now();
    let mut installation = Installation::without_door(broker, "poison", PARTITIONS);
    let home = |item: &str| bps_streams::partitioner::partition_of(item.as_bytes(), PARTITIONS);
    let all = records(&home, now_ms());
    installation.start();
    let refs: Vec<&Record> = all.iter().collect();
    send(&installation, &refs);
    let (mut said, letters) = decided(&installation, &refs);
    installation.stop();
    let dead = installation.read(&installation.settings.topics.dead_letters.clone());
    assert_eq!(dead.len(), letters.len(), "dead letters came after the last one that was due");
    check_letters(&installation, &all, &letters);
    for record in all.iter().filter(|r| !r.good && !matches!(r.fate, Dead(_))) {
        let answer = said.remove(&(record.purchase, record.id.clone())).unwrap();
        let reason = answer["reason"].as_str();
        let expected = if let Refused(code) = record.fate { Some(code) } else { None };
        assert_eq!(reason, expected, "{answer}");
    }
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for record in all.iter().filter(|r| !r.good) {
        *kinds.entry(format!("{:?}", record.fate)).or_default() += 1;
    }
    let good = said.len();
    tell(format_args!(
        "{name}: {} bad records among {good} good ones in {:.1?}: {kinds:?}",
        poisons(),
        begun.elapsed()
    ));
    said
}

/// The same good ones with nothing between them.
fn undisturbed(now: i64) -> Said {
    let folder = tempfile::tempdir().unwrap();
    let mut installation = Installation::new(embedded(folder.path()), "pure", PARTITIONS);
    let home = |item: &str| bps_streams::partitioner::partition_of(item.as_bytes(), PARTITIONS);
    let all = records(&home, now);
    let good: Vec<&Record> = all.iter().filter(|r| r.good).collect();
    installation.start();
    send(&installation, &good);
    let (said, _) = decided(&installation, &good);
    installation.stop();
    said
}

/// Without what depends on the clock of the run.
fn timeless(said: Said) -> Said {
    let strip = |mut value: serde_json::Value| {
        value.as_object_mut().unwrap().remove("decidedAt");
        value
    };
    said.into_iter().map(|(key, value)| (key, strip(value))).collect()
}

#[test]
fn ten_thousand_bad_records_disturb_no_good_one() {
    let expected = timeless(undisturbed(now_ms()));
    let refused = expected.values().filter(|v| v["reason"] == "INSUFFICIENT_STOCK").count();
    assert!(refused > 10, "some had to be refused: {refused}");
    let folder = tempfile::tempdir().unwrap();
    assert!(timeless(poisoned(embedded(folder.path()), "embedded")) == expected, "embedded");
    match kafka() {
        Some(broker) => assert!(timeless(poisoned(broker, "kafka")) == expected, "kafka"),
        None => tell("the bad records did not run on Kafka (BPS_NO_KAFKA)"),
    }
}
