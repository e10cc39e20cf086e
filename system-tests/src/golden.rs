//! What a version of this program leaves behind: a log, and the state beside it. Some of it is
//! decided, some is still to be decided. Kept in `golden/`, it is opened by all later versions
//! (`tests/golden.rs`).

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bps_streams::broker::embedded::EmbeddedBroker;
use bps_streams::broker::{Broker, Bulk, CommittedOffset, Isolation, OffsetSpec, TopicPartition};
use bps_streams::partitioner::partition_of;
use bps_streams::{Application, ApplicationConfig, Outgoing, prepare_topics};
use purchase_processor::{Settings, topology};

/// Partitions of its topics.
pub const PARTITIONS: u32 = 2;
/// Items, `item-0` and so on; the last one is never restocked.
pub const ITEMS: u64 = 8;
/// Requests of the decided part, and of the rest.
pub const DECIDED: u64 = 400;
/// Requests that are not decided yet.
pub const UNDECIDED: u64 = 40;
/// When the first was sent (ms since 1970).
const BEGIN_MS: i64 = 1_780_000_000_000;

/// The log's folder, and the state's.
pub fn folders(folder: &Path) -> [std::path::PathBuf; 2] {
    ["log", "state"].map(|name| folder.join(name))
}

/// Decides all that is there, by a processor that is started for it.
pub fn decide(broker: &Arc<dyn Broker>, folder: &Path) {
    let application = start(broker, folder);
    settle(&**broker, &application);
    application.stop().unwrap();
}

/// A running processor on a folder.
fn start(broker: &Arc<dyn Broker>, folder: &Path) -> Application {
    let topology = topology(&Settings::default()).unwrap();
    let mut config = ApplicationConfig::new(&folders(folder)[1]);
    config.partitions = PARTITIONS;
    Application::start(broker.clone(), topology, config).unwrap()
}

/// Opens the log of a folder.
pub fn open(folder: &Path) -> Arc<dyn Broker> {
    Arc::new(EmbeddedBroker::open(&folders(folder)[0]).unwrap())
}

/// Waits until all that is there is decided.
fn settle(broker: &dyn Broker, application: &Application) {
    let settings = Settings::default();
    let topics = &settings.topics;
    let inputs = [&topics.items_added, &topics.purchase_created, &topics.rekeyed];
    let at = |topic: &&String| (0..PARTITIONS).map(|p| TopicPartition::new(*topic, p)).collect();
    let at: Vec<_> = inputs.iter().flat_map::<Vec<_>, _>(at).collect();
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let committed = broker.committed(&settings.application, &at).unwrap();
        let read = |c: &Option<CommittedOffset>| c.as_ref().map_or(0, |c| c.offset);
        let ends = broker.offsets(&at, OffsetSpec::End(Isolation::ReadCommitted)).unwrap();
        if committed.iter().map(read).eq(ends) {
            return;
        }
        assert!(!application.is_finished(), "the processor has ended");
        assert!(Instant::now() < deadline, "{committed:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Sends the requests of these numbers: restocks, purchases of which some are refused, the same
/// once more, some in the wrong partition, some that cannot be read.
pub fn send(broker: &dyn Broker, numbers: std::ops::Range<u64>) {
    let topics = Settings::default().topics;
    let appender = broker.appender().unwrap();
    let mut bulk = Bulk::new(&*appender, "golden");
    for number in numbers {
        let strayed = number % 13 == 0;
        // What lies in a wrong partition comes home at any time: an item of its own sees to it that
        // what becomes of it is always the same.
        let item = match strayed {
            true => format!("stray-{number}"),
            false => format!("item-{}", number * 7 % ITEMS),
        };
        let is_restock = number % 10 < 2 && number * 7 % ITEMS != ITEMS - 1;
        let (topic, value) = match is_restock {
            true => (
                &topics.items_added,
                format!(
                    r#"{{"restockId":"r-{number}","itemId":"{item}","description":"of {number}","quantity":{}}}"#,
                    number % 50 + 1
                ),
            ),
            false => (
                &topics.purchase_created,
                format!(
                    r#"{{"purchaseId":"p-{number}","itemId":"{item}","quantity":{},"purchasedBy":"b-{}"}}"#,
                    number % 9,
                    number % 5
                ),
            ),
        };
        let home = partition_of(item.as_bytes(), PARTITIONS);
        let record = Outgoing {
            topic,
            partition: if strayed { (home + 1) % PARTITIONS } else { home },
            timestamp: BEGIN_MS + number as i64 * 10,
            key: Some(item.as_bytes()),
            value: Some(value.as_bytes()),
            headers: &[],
        };
        bulk.append(record).unwrap();
        if number % 17 == 0 {
            bulk.append(record).unwrap();
        }
        if number % 29 == 0 {
            bulk.append(Outgoing { value: Some(b"{\"itemId\":7}"), ..record }).unwrap();
        }
    }
    bulk.finish().unwrap();
}

/// Writes a folder.
pub fn write(folder: &Path) {
    let broker = open(folder);
    prepare_topics(&*broker, &topology(&Settings::default()).unwrap(), PARTITIONS).unwrap();
    // Over a restart, so that stamps are of two incarnations.
    for numbers in [0..DECIDED / 2, DECIDED / 2..DECIDED] {
        send(&*broker, numbers);
        decide(&broker, folder);
    }
    send(&*broker, DECIDED..DECIDED + UNDECIDED);
}
