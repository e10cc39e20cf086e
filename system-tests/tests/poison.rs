//! Ten thousand bad records among good ones, from a seed: each comes to its one dead letter or its
//! one answer, nothing waits behind it, and the good ones are decided as if it had not been there.
//!
//! (`bad_records` looks at each kind closely; this one is about their mass, their mixture, and
//! what only a real log carries: null keys, headers, a megabyte.)
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use bps_streams::Outgoing;
use bps_streams::broker::Broker;
use bps_streams::record::Header;
use system_tests::installation::PATIENCE;
use system_tests::processes::{Process, Random, Work, free_address, is_long, tell};
use system_tests::rigs::{embedded, kafka};
use system_tests::{Installation, Written, now_ms};

const SEED: u64 = 0xbad_beef;
const PARTITIONS: u32 = 4;
const GOOD: usize = 4_000;
const ITEMS: usize = 40;

fn poisons() -> usize {
    if is_long() { 100_000 } else { 10_000 }
}

/// What must become of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Dead(&'static str),
    /// FAILED, with this reason.
    Refused(&'static str),
    Granted,
}
use Fate::{Dead, Granted, Refused};

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

/// A text of this many bytes, not all of them letters.
fn noise(random: &mut Random, length: u64) -> Vec<u8> {
    (0..length).map(|_| random.below(256) as u8).collect()
}

/// A value of a kind that the number chooses; what must become of it, and its id.
fn poison(random: &mut Random, n: usize, purchase: bool) -> (Option<Vec<u8>>, Fate, String) {
    let own = if purchase { "purchaseId" } else { "restockId" };
    let id = format!("bad-{n}");
    let ids = format!(r#""{own}":"{id}","itemId":"plenty""#);
    let size = random.below(4_000) as usize;
    let filler = "y".repeat(size);
    let depth = 1 + random.below(2_000) as usize;
    let object = |fields: String, fate| (Some(format!("{{{fields}}}").into_bytes()), fate);
    let bad = "INVALID_QUANTITY";
    let (value, fate) = match random.below(30) {
        0 => (None, Dead("NO_VALUE")),
        1 => (Some(Vec::new()), Dead("NOT_JSON")),
        // The first byte alone makes it no UTF-8.
        2 => {
            let length = random.below(3_000);
            (Some([vec![0xff], noise(random, length)].concat()), Dead("NOT_UTF8"))
        }
        3 => (Some([ids.as_bytes(), b"\xed\xa0\x80"].concat()), Dead("NOT_UTF8")),
        4 => (Some(format!("{{{ids},\"x\":\"{filler}").into_bytes()), Dead("NOT_JSON")),
        5 => (Some(format!("{}{{{ids}}}", "[".repeat(depth)).into_bytes()), Dead("NOT_JSON")),
        6 => (Some(vec![0; size + 1]), Dead("NOT_JSON")),
        7 => (Some(format!("\"{filler}\"").into_bytes()), Dead("NOT_JSON")),
        8 => (Some(random.below(u64::MAX).to_string().into_bytes()), Dead("NOT_JSON")),
        9 => object(format!(r#"{ids},"quantity":1,"{own}":"{id}""#), Dead("FIELD_TWICE")),
        10 => object(format!(r#"{ids},"quantity":1,"quantity":{size}"#), Dead("FIELD_TWICE")),
        11 => object(format!(r#""{own}":{n},"itemId":"plenty""#), Dead("UNREADABLE_ID")),
        12 => object(format!(r#""{own}":"{id}","itemId":["plenty"]"#), Dead("UNREADABLE_ID")),
        13 => object(
            format!(r#""{own}":"{id}\u00{:02x}","itemId":"p""#, size % 32),
            Dead("UNREADABLE_ID"),
        ),
        14 => {
            let long = "z".repeat(257 + size % 1_000);
            object(format!(r#""{own}":"{long}","itemId":"p""#), Dead("UNREADABLE_ID"))
        }
        15 => object(format!(r#""{own}":"{id}""#), Dead("UNREADABLE_ID")),
        16 => object(
            format!(r#"{ids},"quantity":{}"#, 9_007_199_254_740_993 + size as u64),
            Refused(bad),
        ),
        17 => object(format!(r#"{ids},"quantity":1{}"#, "0".repeat(17 + size % 300)), Refused(bad)),
        18 => object(format!(r#"{ids},"quantity":-{}"#, size + 1), Refused(bad)),
        19 => object(format!(r#"{ids},"quantity":{}.0"#, size + 1), Refused(bad)),
        20 => object(format!(r#"{ids},"quantity":{}e{}"#, size, size % 400), Refused(bad)),
        21 => object(format!(r#"{ids},"quantity":"{size}""#), Refused(bad)),
        22 => object(
            format!(r#"{ids},"quantity":{}1{}"#, "[".repeat(depth), "]".repeat(depth)),
            Refused(bad),
        ),
        23 => object(format!(r#"{ids},"quantity":{{"n":{size}}}"#), Refused(bad)),
        24 => object(ids, Refused(bad)),
        25 => {
            let deep =
                format!("{}{}", "{\"a\":".repeat(depth), "null".to_owned() + &"}".repeat(depth));
            object(format!(r#"{ids},"quantity":1,"x":{deep}"#), Granted)
        }
        26 => object(format!(r#"{ids},"quantity":1,"purchasedBy":{n},"description":[]"#), Granted),
        27 => object(format!(r#"{ids},"quantity":1,"{filler}":true"#), Granted),
        28 => {
            let fate = if purchase { Refused("UNKNOWN_ITEM") } else { Granted };
            object(format!(r#""{own}":"{id}","itemId":"unknown-{n}","quantity":1"#), fate)
        }
        _ => {
            object(format!(r#"{ids},"quantity":1,"x":"{}""#, "w".repeat(66_000)), Dead("TOO_LONG"))
        }
    };
    (value, fate, id)
}

/// The whole batch: bad ones among good ones, in one order of sending.
fn records(home: &dyn Fn(&str) -> u32, now: i64) -> Vec<Record> {
    let mut random = Random::new(SEED);
    let mut all = vec![good(home, now, false, "plenty", 0, 1_000_000)];
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
                value = Some(vec![b'm'; 1_000_000]);
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
            let restock = count <= ITEMS || random.below(10) == 0;
            let units = if restock { 60 } else { 1 + random.below(3) };
            all.push(good(home, now, !restock, &item, count, units));
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
        let mut bytes = 0;
        let count = rest.iter().take_while(|r| {
            bytes += 200 + r.value.as_ref().map_or(0, Vec::len);
            bytes < 6_000_000
        });
        let (now, later) = rest.split_at(count.count().clamp(1, 2_000).min(rest.len()));
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

/// Waits until as many results, answers and dead letters are there as there must be, and some
/// more of each partition behind them.
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

/// The same values as bodies of requests: each is answered, 400 with the reason or 202, and the
/// service lives.
#[test]
fn the_services_answer_every_bad_body() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(bodies());
}

async fn bodies() {
    let work = Work::new("bodies");
    let addresses = [free_address(), free_address()].map(|a| a.to_string());
    let data = work.path("data").display().to_string();
    let args = ["up", "--data", &data, "--items-listen", &addresses[0], "--purchases-listen"];
    let mut up = Process::start(&work, "up", "bps", &[&args[..], &[&addresses[1]]].concat());
    up.wait_line("bps up: ready");
    let client = reqwest::Client::new();
    let urls =
        [format!("http://{}/items", addresses[0]), format!("http://{}/purchases", addresses[1])];
    let mut random = Random::new(SEED + 1);
    let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
    for n in 0..2_000 {
        let purchase = n % 2 == 1;
        let (value, fate, _) = poison(&mut random, n, purchase);
        let body = value.unwrap_or_default();
        let request = client.post(&urls[usize::from(purchase)]);
        let request = request.header("content-type", "application/json").body(body.clone());
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
        let text = response.text().await.unwrap();
        let shown = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
        *statuses.entry(status).or_default() += 1;
        let Dead(code) = fate else {
            assert_eq!(status, 202, "{shown}: {text}");
            continue;
        };
        assert_eq!((status, kind.as_str()), (400, "application/problem+json"), "{shown}: {text}");
        let problem: serde_json::Value = serde_json::from_str(&text).unwrap();
        let names_a_field = matches!(code, "FIELD_TWICE" | "UNREADABLE_ID");
        assert_eq!(problem["field"].is_string(), names_a_field, "{shown}: {text}");
        assert!(!problem["detail"].as_str().unwrap().is_empty());
    }
    // All of them as lines of one request: one answer for each.
    let mut random = Random::new(SEED + 2);
    let mut lines = Vec::new();
    let mut sent = 0;
    for n in 10_000..14_000 {
        let (value, ..) = poison(&mut random, n, true);
        let value = value.unwrap_or_default();
        if !value.contains(&b'\n') {
            lines.extend_from_slice(&value);
            lines.push(b'\n');
            sent += 1;
        }
    }
    let request = client.post(&urls[1]).header("content-type", "application/x-ndjson").body(lines);
    let text = request.send().await.unwrap().text().await.unwrap();
    let answers: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), sent);
    for (n, answer) in answers.iter().enumerate() {
        assert_eq!(answer["line"], n + 1);
        assert!([202, 400].contains(&answer["status"].as_u64().unwrap()), "{answer}");
    }
    // And a good one still goes through.
    let good = r#"{"purchaseId":"good","itemId":"plenty","quantity":1}"#;
    let request = client.post(&urls[1]).header("content-type", "application/json").body(good);
    assert_eq!(request.send().await.unwrap().status().as_u16(), 202);
    assert!(up.age() < PATIENCE, "it took {:?}", up.age());
    up.stop();
    tell(format_args!("2000 bad bodies: {statuses:?}, and {sent} lines in one request"));
}
