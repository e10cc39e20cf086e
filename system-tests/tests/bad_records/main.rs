//! Bad records of every kind in one batch with good ones: each is dead-lettered or refused, once,
//! and nothing else is disturbed.
#![allow(missing_docs, clippy::unwrap_used)]

mod cases;

use std::collections::{BTreeSet, HashMap};

use bps_events::Topics;
use bps_streams::Outgoing;
use bps_streams::partitioner::partition_of;
use bps_streams::record::Header;
use serde_json::json;
use system_tests::backends::Make;
use system_tests::{Backend, Installation, Written, now_ms, on_every_backend_made};

use crate::cases::{Case, Dead, Granted, ITEM, Purchases, Refused, Rekeyed, Restocks, cases};

/// Bytes of a dead letter that are kept.
const KEPT: usize = 256 << 10;
/// As on a record that was sent on already.
const MOVED: [Header<'_>; 4] = [
    ("kind", Some(b"purchases")),
    ("topic", Some(b"elsewhere")),
    ("partition", Some(b"0")),
    ("offset", Some(b"7")),
];
/// Items of good records.
const ITEMS: usize = 8;
/// Units of each at first.
const SUPPLY: usize = 30;

/// A record of the batch.
struct Sent {
    topic: String,
    partition: u32,
    offset: u64,
    key: Vec<u8>,
    value: Option<Vec<u8>>,
    timestamp: i64,
}

/// The batch being put together; offsets are counted, as the topics are new.
#[derive(Default)]
struct Sheet {
    sent: Vec<Sent>,
    ends: HashMap<(String, u32), u64>,
}

impl Sheet {
    fn add(&mut self, topic: &str, partition: u32, key: &[u8], value: Option<Vec<u8>>, at: i64) {
        let end = self.ends.entry((topic.to_owned(), partition)).or_default();
        self.sent.push(Sent {
            topic: topic.to_owned(),
            partition,
            offset: *end,
            key: key.to_vec(),
            value,
            timestamp: at,
        });
        *end += 1;
    }

    fn send(&self, backend: &mut dyn Backend, from: usize) {
        let rekeyed = backend.topics().rekeyed;
        let records = self.sent[from..].iter().map(|sent| Outgoing {
            topic: &sent.topic,
            partition: sent.partition,
            timestamp: sent.timestamp,
            key: Some(&sent.key),
            value: sent.value.as_deref(),
            headers: if sent.topic == rekeyed { &MOVED } else { &[] },
        });
        backend.append_batch(&records.collect::<Vec<_>>());
    }
}

/// The batch, with what must come of it.
struct Plan {
    topics: Topics,
    partitions: u32,
    at: i64,
    sheet: Sheet,
    cases: Vec<Case>,
    /// Index in the sheet of each case's record.
    places: Vec<usize>,
}

impl Plan {
    fn home(&self, item: &str) -> u32 {
        partition_of(item.as_bytes(), self.partitions)
    }

    fn restock(&mut self, id: &str, item: &str, quantity: usize) {
        let value = format!(r#"{{"restockId":"{id}","itemId":"{item}","quantity":{quantity}}}"#);
        let (topic, home) = (self.topics.items_added.clone(), self.home(item));
        let value = Some(value.into_bytes());
        self.sheet.add(&topic, home, item.as_bytes(), value, self.at);
    }

    fn purchase(&mut self, id: &str, item: &str, quantity: usize) {
        let value = format!(
            r#"{{"purchaseId":"{id}","itemId":"{item}","quantity":{quantity},"purchasedBy":"b"}}"#
        );
        let (topic, home) = (self.topics.purchase_created.clone(), self.home(item));
        let value = Some(value.into_bytes());
        self.sheet.add(&topic, home, item.as_bytes(), value, self.at);
    }

    /// Each bad record between two good ones.
    fn fill(&mut self) {
        for (n, case) in cases().into_iter().enumerate() {
            let topic = match case.topic {
                Restocks => self.topics.items_added.clone(),
                Purchases => self.topics.purchase_created.clone(),
                Rekeyed => self.topics.rekeyed.clone(),
            };
            let partition = match case.fate {
                Dead("MISROUTED") => (self.home(ITEM) + 1) % self.partitions,
                Dead(_) => n as u32 % self.partitions,
                Refused | Granted => self.home(ITEM),
            };
            let key = [b"key \xff ".as_slice(), case.name.as_bytes()].concat();
            let at = self.at + case.ahead;
            self.places.push(self.sheet.sent.len());
            self.sheet.add(&topic, partition, &key, case.value.clone(), at);
            self.purchase(&format!("good-{n}"), &format!("good-{}", n % ITEMS), n % 3 + 1);
            self.restock(&format!("fresh-{n}"), &format!("fresh-{}", n % ITEMS), n % 3 + 1);
            self.cases.push(case);
        }
    }

    fn count(&self, wanted: impl Fn(&Case) -> bool) -> usize {
        self.cases.iter().filter(|case| wanted(case)).count()
    }

    fn check_dead(&self, dead: &[Written]) {
        for (case, place) in self.cases.iter().zip(&self.places) {
            let sent = &self.sheet.sent[*place];
            let (partition, offset) = (sent.partition.to_string(), sent.offset.to_string());
            let from = [sent.topic.as_str(), &partition, &offset];
            let found: Vec<_> = dead
                .iter()
                .filter(|d| ["topic", "partition", "offset"].map(|name| d.header(name)) == from)
                .collect();
            let Dead(code) = case.fate else {
                assert_eq!(found.len(), 0, "{}", case.name);
                continue;
            };
            assert_eq!(found.len(), 1, "{} {:?}", case.name, case.topic);
            let length = sent.value.as_ref().map_or(0, Vec::len);
            let kept = sent.value.as_ref().map(|v| &v[..length.min(KEPT)]);
            let (headers, timestamp) = (["code", "length", "timestamp"], sent.timestamp);
            let expected = [code, &length.to_string(), &timestamp.to_string()];
            assert_eq!(headers.map(|h| found[0].header(h)), expected, "{}", case.name);
            assert_ne!(found[0].header("error"), "", "{}", case.name);
            assert_eq!(found[0].headers.len(), 7, "{}", case.name);
            assert!(found[0].raw.as_deref() == kept, "{}: other bytes", case.name);
            assert_eq!(found[0].key, String::from_utf8_lossy(&sent.key));
            // The test driver's clock stands still, and was set a moment before ours was read.
            let age = found[0].timestamp - self.at;
            assert!(age.abs() < 600_000, "stamped when it was written: {age}");
        }
    }

    /// Records that are answered though they are odd; `own` is the field of their id.
    fn check_odd(&self, answers: &[Written], topic: cases::Topic, own: &str) {
        for (case, place) in self.cases.iter().zip(&self.places) {
            let expected = match case.fate {
                Dead(_) => continue,
                Refused => json!(["FAILED", "INVALID_QUANTITY", ITEM]),
                Granted => json!(["SUCCESS", null, ITEM]),
            };
            if case.topic != topic {
                continue;
            }
            let value = self.sheet.sent[*place].value.as_deref().unwrap();
            let value = String::from_utf8_lossy(value);
            let id = value.split('"').nth(3).unwrap();
            let found: Vec<_> = answers.iter().filter(|a| a.key == id).collect();
            assert_eq!(found.len(), 1, "{}", case.name);
            let json = found[0].json();
            let fields = json!([json["status"], json["reason"], json["itemId"]]);
            assert_eq!((fields, &json[own]), (expected, &json!(id)), "{}", case.name);
        }
    }

    fn check_good(&self, results: &[Written], answers: &[Written]) {
        let (mut left, mut supplied) = ([SUPPLY; ITEMS], [0; ITEMS]);
        let by_key = |all: &[Written]| -> HashMap<String, serde_json::Value> {
            all.iter().map(|w| (w.key.clone(), w.json())).collect()
        };
        let (results, answers) = (by_key(results), by_key(answers));
        for n in 0..self.cases.len() {
            let (slot, quantity) = (n % ITEMS, n % 3 + 1);
            let enough = quantity <= left[slot];
            let booked = SUPPLY - left[slot];
            left[slot] -= if enough { quantity } else { 0 };
            let status = if enough { "SUCCESS" } else { "FAILED" };
            let result = &results[&format!("good-{n}")];
            let fields = ["status", "itemQuantity", "alreadyBooked", "remaining"];
            let fields = json!(fields.map(|f| result[f].clone()));
            assert_eq!(fields, json!([status, SUPPLY, booked, left[slot]]), "{result}");
            supplied[slot] += quantity;
            let answer = &answers[&format!("fresh-{n}")];
            let fields = json!([answer["status"], answer["supplied"]]);
            assert_eq!(fields, json!(["SUCCESS", supplied[slot]]), "{answer}");
        }
        assert!(left.iter().all(|left| *left < 3), "some had to be refused");
    }
}

fn bad_records_in_one_batch(backend: &mut dyn Backend) {
    let mut plan = Plan {
        topics: backend.topics(),
        partitions: backend.partitions(),
        at: now_ms(),
        sheet: Sheet::default(),
        cases: Vec::new(),
        places: Vec::new(),
    };
    for n in 0..ITEMS {
        plan.restock(&format!("first-{n}"), &format!("good-{n}"), SUPPLY);
    }
    plan.restock("first-odd", ITEM, 1_000);
    plan.sheet.send(backend, 0);
    let topics = plan.topics.clone();
    backend.wait_for(&topics.restock_finished, ITEMS + 1);

    let from = plan.sheet.sent.len();
    plan.fill();
    let bad = plan.cases.iter().filter(|c| c.fate != Granted);
    let kinds: BTreeSet<_> = bad.map(|c| c.name).collect();
    assert!(kinds.len() >= 50, "{} kinds", kinds.len());
    plan.sheet.send(backend, from);
    let answered = |topic| plan.count(|c| c.topic == topic && !matches!(c.fate, Dead(_)));
    let dead = plan.count(|c| matches!(c.fate, Dead(_)));
    let results = plan.cases.len() + answered(Purchases);
    let answers = ITEMS + 1 + plan.cases.len() + answered(Restocks);
    let counts = [dead, results, answers];
    let names = [&topics.dead_letters, &topics.purchase_finished, &topics.restock_finished];
    for (topic, count) in names.iter().zip(counts) {
        backend.wait_for(topic, count);
    }
    // One more of each in every partition: nothing else was on its way.
    let from = plan.sheet.sent.len();
    for p in 0..plan.partitions {
        let mut items = (0..).map(|n| format!("end-{n}"));
        let item = items.find(|item| plan.home(item) == p).unwrap();
        plan.restock(&format!("end-{p}"), &item, 1);
        plan.purchase(&format!("end-{p}"), &item, 5);
    }
    plan.sheet.send(backend, from);
    let ends = plan.partitions as usize;
    let expected = [dead, results + ends, answers + ends];
    let last = [1, 2].map(|at| backend.wait_for(names[at], expected[at]));
    let found = [backend.wait_for(names[0], dead), last[0].clone(), last[1].clone()];
    assert_eq!(found.each_ref().map(Vec::len), expected);
    plan.check_dead(&found[0]);
    plan.check_good(&found[1], &found[2]);
    plan.check_odd(&found[1], Purchases, "purchaseId");
    plan.check_odd(&found[2], Restocks, "restockId");
}

#[test]
fn bad_records_disturb_nothing() {
    let make: Make<'_> = &|broker, name, partitions| {
        let mut installation = Installation::without_door(broker, name, partitions);
        // On the topic of records that were moved, with headers that name none.
        installation.forged = 1;
        installation
    };
    on_every_backend_made("bad", make, bad_records_in_one_batch);
}
