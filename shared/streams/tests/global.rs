//! A global table on the embedded log: it follows all partitions, goes on where it was, and is
//! built anew where its records are no more.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use bps_streams::broker::embedded::EmbeddedBroker;
use bps_streams::broker::{Broker, CleanupPolicy, TopicDescription};
use bps_streams::global::{GlobalProcessor, GlobalTable, GlobalTableConfig, GlobalView, Rows};
use bps_streams::simulation::{Cluster, Effect, Fault, Faultless, Plan};
use bps_streams::store::rocks::MemoryBounds;
use bps_streams::{Outgoing, Record, store};

const PARTITIONS: u32 = 3;
const LAST: usize = 0;
const COUNTS: usize = 1;

/// The last value of each key, and how often it changed; tells of each record.
struct Fold {
    applied: Mutex<Vec<String>>,
}

impl GlobalProcessor for Fold {
    fn tables(&self) -> &[&'static str] {
        &["last", "counts"]
    }

    fn process(&self, record: &Record<'_>, rows: &mut Rows<'_>) -> store::Result<()> {
        let key = record.key.unwrap();
        match record.value {
            Some(value) => rows.put(LAST, key, value),
            None => rows.delete(LAST, key),
        }
        let count = rows.get(COUNTS, key)?.map_or(0, |row| row[0]);
        rows.put(COUNTS, key, [count + 1]);
        Ok(())
    }

    fn applied(&self, record: &Record<'_>) {
        let key = String::from_utf8_lossy(record.key.unwrap()).into_owned();
        self.applied.lock().unwrap().push(key);
    }
}

fn start(broker: &Arc<dyn Broker>, folder: &Path) -> (GlobalTable, Arc<Fold>) {
    let fold = Arc::new(Fold { applied: Mutex::default() });
    let config = GlobalTableConfig {
        name: "fold-1".to_owned(),
        folder: folder.to_owned(),
        topics: vec!["t".to_owned()],
        memory: MemoryBounds::default(),
    };
    let table = GlobalTable::start(broker.clone(), fold.clone(), config).unwrap();
    (table, fold)
}

fn embedded(folder: &Path) -> Arc<dyn Broker> {
    Arc::new(EmbeddedBroker::open(folder).unwrap())
}

fn append(broker: &dyn Broker, partition: u32, key: &str, value: Option<&str>) {
    let (sender, acks) = mpsc::channel();
    let record = Outgoing {
        topic: "t",
        partition,
        timestamp: 1,
        key: Some(key.as_bytes()),
        value: value.map(str::as_bytes),
        headers: &[],
    };
    let ack = Box::new(move |acked| sender.send(acked).unwrap());
    broker.appender().unwrap().append(record, ack).unwrap();
    acks.recv().unwrap().unwrap();
}

fn create(broker: &dyn Broker) {
    let description = TopicDescription {
        name: "t".to_owned(),
        partitions: PARTITIONS,
        cleanup: CleanupPolicy::Delete { retention_ms: None },
        future_max_ms: None,
    };
    broker.create_topic(&description).unwrap();
}

fn wait(view: &GlobalView, what: &str, until: impl Fn(&GlobalView) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !until(view) {
        assert!(Instant::now() < deadline, "{what}: {:?}", view.status());
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn row(view: &GlobalView, key: &str) -> Option<String> {
    let row = view.get(LAST, key.as_bytes()).unwrap();
    row.map(|row| String::from_utf8(row).unwrap())
}

fn count(view: &GlobalView, key: &str) -> u8 {
    view.get(COUNTS, key.as_bytes()).unwrap().map_or(0, |row| row[0])
}

#[test]
fn it_follows_all_partitions_and_goes_on_where_it_was() {
    let (log, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let broker = embedded(log.path());
    let (table, fold) = start(&broker, folder.path());
    let view = table.view();
    wait(&view, "a missing topic is named", |v| {
        v.status().trouble.is_some_and(|t| t.contains("topic t is not there"))
    });
    assert!(!view.status().is_caught_up);
    create(&*broker);
    for (partition, key) in [(0, "a"), (1, "b"), (2, "c")] {
        append(&*broker, partition, key, Some("1"));
    }
    append(&*broker, 1, "b", None);
    wait(&view, "rows", |v| count(v, "b") == 2 && count(v, "c") == 1 && count(v, "a") == 1);
    assert_eq!((row(&view, "a").as_deref(), row(&view, "b")), (Some("1"), None));
    assert!(view.status().is_caught_up);
    let mut keys = Vec::new();
    let visit = &mut |key: &[u8], _: &[u8]| {
        keys.push(key.to_vec());
        keys.len() < 2
    };
    view.scan(COUNTS, b"a", visit).unwrap();
    assert_eq!(keys, [b"a", b"b"]);
    wait(&view, "applied", |_| fold.applied.lock().unwrap().len() == 4);
    assert_eq!(view.positions().iter().map(|(_, offset)| offset).sum::<u64>(), 4);
    drop(table);

    append(&*broker, 0, "a", Some("2"));
    let (table, fold) = start(&broker, folder.path());
    let view = table.view();
    wait(&view, "it catches up", |v| v.status().is_caught_up);
    wait(&view, "the new record", |v| row(v, "a").as_deref() == Some("2"));
    // Had it begun anew, each would count twice.
    assert_eq!((count(&view, "a"), count(&view, "b"), count(&view, "c")), (2, 2, 1));
    wait(&view, "applied", |_| !fold.applied.lock().unwrap().is_empty());
    assert_eq!(*fold.applied.lock().unwrap(), ["a"]);
}

#[test]
fn another_log_has_a_table_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    for value in ["1", "2"] {
        let log = tempfile::tempdir().unwrap();
        let broker = embedded(log.path());
        create(&*broker);
        append(&*broker, 0, "a", Some(value));
        let (table, _) = start(&broker, folder.path());
        wait(&table.view(), "its row", |v| row(v, "a").as_deref() == Some(value));
        assert_eq!(count(&table.view(), "a"), 1);
    }
}

/// A look-up meets what the table itself would not read for long: its rows are made anew.
#[test]
fn damage_that_a_look_up_meets_is_moved_aside_and_the_rows_rebuilt() {
    let (log, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let broker = embedded(log.path());
    create(&*broker);
    let value = "x".repeat(500);
    let keys: Vec<String> = (0..100).map(|n| format!("key-{n:03}")).collect();
    for key in &keys {
        append(&*broker, 0, key, Some(&value));
    }
    let (table, _) = start(&broker, folder.path());
    wait(&table.view(), "rows", |v| count(v, "key-099") == 1);
    drop(table);
    // Opened again: what lay in the write-ahead log lies in files now, which nobody has read.
    let (table, _) = start(&broker, folder.path());
    let view = table.view();
    wait(&view, "it catches up", |v| v.status().is_caught_up);
    let store = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let store = store.into_iter().find(|path| path.is_dir()).unwrap();
    for entry in std::fs::read_dir(&store).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|kind| kind == "sst") {
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[..300].fill(0x55);
            let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 0).unwrap();
        }
    }
    assert!(view.get(LAST, keys[0].as_bytes()).is_err());
    wait(&view, "a new row", |v| v.get(LAST, keys[0].as_bytes()).is_ok_and(|row| row.is_some()));
    wait(&view, "all rows", |v| keys.iter().all(|key| row(v, key).as_deref() == Some(&*value)));
    assert!(keys.iter().all(|key| count(&view, key) == 1));
    let aside = format!("{}.quarantine-1", store.display());
    assert!(Path::new(&aside).is_dir(), "{aside}");
    assert_eq!(table.failure(), None);
}

/// The new one has more records than the former one had: the position alone shows nothing.
#[test]
fn rows_of_a_topic_that_was_made_anew_meanwhile_are_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::new(Faultless);
    let broker = cluster.boot(0).0;
    create(&*broker);
    append(&*broker, 0, "former", Some("1"));
    let (table, _) = start(&broker, folder.path());
    wait(&table.view(), "its row", |v| row(v, "former").as_deref() == Some("1"));
    drop(table);
    cluster.recreate_topic("t");
    ["a", "b", "c"].iter().for_each(|key| append(&*broker, 0, key, Some("2")));
    let (table, _) = start(&broker, folder.path());
    let view = table.view();
    wait(&view, "all rows of the new one", |v| {
        ["a", "b", "c"].iter().all(|key| count(v, key) == 1)
    });
    assert_eq!(row(&view, "former"), None);
}

/// Every other fetch brings half of what it could, then an error.
#[derive(Default)]
struct HalfFetched {
    fetches: u32,
}

impl Plan for HalfFetched {
    fn fault(&mut self, effect: &Effect) -> Fault {
        self.fetches += u32::from(effect.name == "fetch");
        match effect.name {
            "fetch" if self.fetches % 2 == 1 => Fault::Unacknowledged,
            _ => Fault::None,
        }
    }

    fn choose(&mut self, what: &'static str, count: u32) -> u32 {
        if what == "fetched behind an error" { count / 2 } else { 0 }
    }
}

#[test]
fn what_is_fetched_before_an_error_is_folded_once() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Cluster::new(HalfFetched::default()).boot(0).0;
    create(&*broker);
    let write = |from: u32| {
        (from..from + 6).for_each(|n| append(&*broker, 1, "a", Some(&n.to_string())));
    };
    write(0);
    let (table, fold) = start(&broker, folder.path());
    let view = table.view();
    wait(&view, "all rows", |v| count(v, "a") == 6);
    write(6);
    wait(&view, "the rest", |v| count(v, "a") == 12 && v.positions()[1].1 == 12);
    assert_eq!(row(&view, "a").as_deref(), Some("11"));
    wait(&view, "all are told of", |_| fold.applied.lock().unwrap().len() == 12);
    assert_eq!(count(&view, "a"), 12, "none comes twice");
}
