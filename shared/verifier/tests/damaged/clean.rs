//! A log as the processor leaves it, with everything that can come in.

use bps_events::Topics;
use bps_events::topics::Side;
use bps_streams::TestDriver;
use bps_streams::partitioner::partition_of;
use purchase_processor::{Settings, topology};

use crate::log::{Log, Part, Rec};

pub(crate) const PARTITIONS: u32 = 2;
pub(crate) const T0: i64 = 1_700_000_000_000;

/// Item number `n` of those that lie in a partition.
pub(crate) fn item(partition: u32, n: usize) -> String {
    let names = (0..).map(|n| format!("item-{n}"));
    let mut here = names.filter(|i| partition_of(i.as_bytes(), PARTITIONS) == partition);
    here.nth(n).expect("endless")
}

/// What goes in, beside what comes out.
pub(crate) struct Run {
    driver: TestDriver,
    pub(crate) topics: Topics,
    log: Log,
    pub(crate) now: i64,
}

impl Run {
    pub(crate) fn new(settings: &Settings) -> Run {
        let topology = topology(settings).expect("well wired");
        let mut driver = TestDriver::with_partitions(topology, PARTITIONS);
        driver.set_clock(T0 + 1_000_000);
        let t = settings.topics.clone();
        let mut log = Log { names: t.clone(), ..Log::default() };
        for (_, topic) in t.all() {
            log.topics.insert(topic.to_owned(), vec![Part::default(); PARTITIONS as usize]);
        }
        Run { driver, topics: t, log, now: T0 }
    }

    pub(crate) fn send(&mut self, topic: &str, partition: u32, value: &[u8], at: i64) {
        let key = Some(&b"key"[..]);
        self.driver.send_to(topic, partition, key, Some(value), at).expect("decided");
        let (key, value) = (key.map(<[u8]>::to_vec), Some(value.to_vec()));
        let record = Rec { timestamp: at, key, value, ..Rec::default() };
        if topic != self.topics.rekeyed {
            self.log.part(topic, partition).push(record);
        }
    }

    pub(crate) fn restock(&mut self, partition: u32, item: &str, rest: &str) {
        self.now += 10;
        let topic = self.topics.items_added.clone();
        let value = format!(r#"{{"itemId":"{item}",{rest}}}"#);
        self.send(&topic, partition, value.as_bytes(), self.now);
    }

    pub(crate) fn purchase(&mut self, partition: u32, item: &str, id: &str, quantity: &str) {
        self.now += 10;
        let topic = self.topics.purchase_created.clone();
        let ids = format!(r#""itemId":"{item}","purchaseId":"{id}""#);
        let value = format!(r#"{{{ids},"quantity":{quantity},"purchasedBy":"b\u0041"}}"#);
        self.send(&topic, partition, value.as_bytes(), self.now);
    }

    /// All topics, and the offsets that the group would have.
    pub(crate) fn log(mut self) -> Log {
        let t = self.topics.clone();
        for (_, topic) in t.all().filter(|(info, _)| info.side == Side::Output) {
            for read in self.driver.read(topic) {
                let (timestamp, key, value, headers) =
                    (read.timestamp, read.key, read.value, read.headers);
                let record = Rec { offset: 0, timestamp, key, value, headers };
                let offset = self.log.part(topic, read.partition).push(record);
                assert_eq!(offset, read.offset);
            }
        }
        let requests = t.all().filter(|(info, _)| info.side == Side::Input);
        for topic in requests.map(|(_, topic)| topic).chain([&*t.rekeyed]) {
            for partition in 0..PARTITIONS {
                let end = self.log.part(topic, partition).end();
                self.log.committed.insert((topic.to_owned(), partition), Some(end));
            }
        }
        self.log
    }
}

/// Everything that can come in.
pub(crate) fn everything() -> Log {
    let mut run = Run::new(&Settings::default());
    let (a, b, c) = (item(0, 0), item(0, 1), item(1, 0));
    run.restock(0, &a, r#""restockId":"r1","quantity":5,"description":"red""#);
    run.restock(0, &a, r#""restockId":"r2","quantity":5"#);
    run.restock(1, &c, r#""restockId":"r1","quantity":3"#);
    run.restock(0, &b, r#""quantity":7,"restockId":null,"x":{"y":[]}"#);
    run.restock(0, &a, r#""restockId":"r1","quantity":5,"description":"red""#);
    run.restock(0, &a, r#""restockId":"bad","quantity":"x""#);
    run.restock(0, &a, r#""restockId":7"#);
    // Of partition 1, sent to 0: it moves, and its id is where it came from.
    run.restock(0, &c, r#""quantity":2,"description":"gr\u00fcn""#);
    run.purchase(0, &a, "p1", "1");
    run.purchase(0, &a, "p2", "20");
    run.purchase(0, &a, "p3", "0");
    run.purchase(0, &a, "p4", "\"two\"");
    run.purchase(0, &item(0, 7), "p5", "1");
    run.purchase(0, &a, "p1", "1");
    run.purchase(0, &a, "p1", "4");
    run.purchase(1, &a, "moved", "2");
    run.purchase(1, &c, "q1", "3");
    run.purchase(1, &c, "q2", "3");
    run.purchase(1, &c, "q3", "2");
    let (purchases, rekeyed) = (run.topics.purchase_created.clone(), run.topics.rekeyed.clone());
    run.send(&purchases, 0, b"{", T0);
    run.send(&purchases, 0, b"\xff", T0);
    let future = format!(r#"{{"itemId":"{a}","purchaseId":"late"}}"#);
    run.send(&purchases, 0, future.as_bytes(), T0 + 10_000_000);
    run.purchase(0, &b, "p6", "7");
    run.purchase(0, &b, "p7", "9223372036854775808");
    run.purchase(0, &a, "p8", "1");
    run.purchase(0, &a, "p1", "1");
    run.send(&rekeyed, 0, b"a stranger's", T0);
    let mut log = run.log();
    // What the stranger wrote to the topic of moved records.
    let part = log.part(&rekeyed, 0);
    let stranger = Rec {
        timestamp: T0,
        key: Some(b"key".to_vec()),
        value: Some(b"a stranger's".to_vec()),
        ..Rec::default()
    };
    let offset = part.push(stranger);
    log.committed.insert((rekeyed, 0), Some(offset + 1));
    // What an older program left in the ledger, and the markers of transactions.
    let ledger = log.names.purchase_finished.clone();
    let part = log.part(&ledger, 0);
    part.records.iter_mut().for_each(|r| r.offset = 1 + r.offset * 2);
    part.records.insert(0, Rec { value: Some(b"{}".to_vec()), ..Rec::default() });
    log
}
