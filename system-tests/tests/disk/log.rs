//! Damage to the embedded log: it is the truth, so nothing of it is left out silently, and
//! nothing of it is changed. The error says where the damage is.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bps_streams::Application;
use bps_streams::broker::embedded::EmbeddedBroker;
use bps_streams::broker::{Broker, BrokerError, Isolation, OffsetSpec, TopicPartition};
use bps_streams::record::Batch;
use purchase_processor::topology;
use system_tests::installation::PATIENCE;
use system_tests::processes::{Process, Work, free_address, tell};

use crate::files::Harm::*;
use crate::files::{File, Harm, Manifest, Named, Rows, Wal, harm, names};
use crate::side_by_side;
use crate::workload::{Base, PARTITIONS, install};

/// What must come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// It is not opened.
    Refused,
    /// It is not opened, or whoever reads there is told topic, partition and offset, as the file
    /// happens to be laid out.
    Either,
    /// It is not opened, but only RocksDB's whole reading of it told so: the damaged file and all
    /// others with records stay as they are, while its notes do not.
    Late,
    /// Nothing of it counts.
    Nothing,
}
use Due::{Either, Late, Nothing, Refused};

struct Case(File, Harm, Due);

fn cases() -> Vec<Case> {
    vec![
        // The last row of each partition is read when it is opened.
        Case(Rows("records"), Flip(10), Either),
        Case(Rows("records"), Flip(400), Either),
        Case(Rows("records"), Flip(700), Either),
        Case(Rows("records"), FlipFromEnd(10), Refused),
        Case(Rows("records"), FlipFromEnd(60), Refused),
        Case(Rows("records"), Cut(500), Refused),
        Case(Rows("records"), CutOff(1), Refused),
        Case(Rows("records"), Zeros, Refused),
        Case(Rows("records"), Empty, Refused),
        Case(Rows("records"), Missing, Refused),
        Case(Rows("records"), SwappedWith(Rows("latest")), Refused),
        Case(Rows("meta"), Flip(0), Either),
        Case(Rows("meta"), Missing, Refused),
        Case(Wal, Flip(0), Refused),
        Case(Wal, Flip(500), Refused),
        Case(Wal, FlipFromEnd(1), Refused),
        Case(Wal, Zeros, Late),
        Case(Wal, Missing, Refused),
        // A crash tears off what was not synced. This was.
        Case(Wal, CutOff(3), Late),
        Case(Wal, Cut(500), Late),
        Case(Wal, Empty, Late),
        Case(Manifest, Flip(500), Refused),
        Case(Manifest, FlipFromEnd(1), Refused),
        Case(Manifest, CutOff(1), Refused),
        Case(Manifest, Cut(300), Refused),
        Case(Manifest, Missing, Refused),
        Case(Named("CURRENT"), Missing, Refused),
        Case(Named("CURRENT"), Empty, Refused),
        Case(Named("CURRENT"), Text("MANIFEST-000001\n"), Refused),
        Case(Named("SEAL"), Missing, Nothing),
        Case(Named("REACHED"), Missing, Nothing),
        Case(Named("REACHED"), Text("0000"), Nothing),
    ]
}

/// Every record, by partition.
type Records = BTreeMap<TopicPartition, Vec<(u64, Option<Vec<u8>>, Option<Vec<u8>>)>>;

fn read_all(broker: &EmbeddedBroker) -> Result<Records, BrokerError> {
    let mut found = Records::new();
    for topic in broker.describe_topics(&[])?.into_iter().flatten() {
        for partition in 0..topic.partitions {
            let at = TopicPartition::new(&topic.name, partition);
            let asked = std::slice::from_ref(&at);
            let end = broker.offsets(asked, OffsetSpec::End(Isolation::ReadCommitted))?[0];
            let start = broker.offsets(asked, OffsetSpec::Start)?[0];
            let mut reader = broker.reader(&[(at.clone(), start)], Isolation::ReadCommitted)?;
            let (mut position, mut records) = (start, Vec::new());
            while position < end {
                let mut batch = Batch::default();
                position = reader.fetch(0, 1 << 20, &mut batch)?;
                for index in 0..batch.len() {
                    let record = batch.get(index, &topic.name, partition);
                    let bytes = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
                    records.push((record.offset, bytes(record.key), bytes(record.value)));
                }
            }
            found.insert(at, records);
        }
    }
    Ok(found)
}

/// The files that hold records, and what is in them.
fn data(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let is_data = |name: &String| {
        name.ends_with(".sst") || name.ends_with(".log") || name.starts_with("MANIFEST")
    };
    let names = names(folder).into_iter().filter(|name| is_data(name) || name == "CURRENT");
    names.map(|name| (name.clone(), fs::read(folder.join(&name)).unwrap())).collect()
}

fn check(base: &Base, truth: &Records, Case(file, damage, due): &Case) {
    let (_folder, data_folder) = base.copy();
    let log = data_folder.join("log");
    let (name, bytes) = harm(&log, *file, *damage);
    let before = data(&log);
    let opened = EmbeddedBroker::open(&data_folder);
    let case = format!("{file:?} {damage:?}");
    let told = |error: &BrokerError| {
        let text = error.to_string();
        assert!(text.contains(log.to_str().unwrap()), "{case}: {text}");
        assert!(text.contains("is damaged"), "{case}: {text}");
        assert!(text.contains("put an intact copy"), "{case}: {text}");
        text
    };
    let broker = match (opened, *due) {
        (Err(error), Refused | Either | Late) => {
            told(&error);
            let after = data(&log);
            let rows = |(name, _): &(&String, &Vec<u8>)| name.ends_with(".sst");
            let kept =
                before.iter().filter(rows).all(|(name, bytes)| after.get(name) == Some(bytes));
            assert!(kept, "{case}: records were changed");
            assert!(*due != Refused || after == before, "{case}: the folder was changed");
            // It is refused as long as it is damaged.
            assert!(EmbeddedBroker::open(&data_folder).is_err(), "{case}");
            return;
        }
        (Err(error), _) => panic!("{case}: {error}"),
        (Ok(_), Refused | Late) => panic!("{case}: it was opened"),
        (Ok(broker), _) => broker,
    };
    match (read_all(&broker), *due) {
        (Err(error), Either) => {
            let text = told(&error);
            assert!(text.contains("offset "), "{case}: {text}");
            assert!(fs::read(log.join(&name)).ok() == bytes, "{case}: the file was changed");
        }
        (Err(error), _) => panic!("{case}: {error}"),
        (Ok(records), Nothing) => assert!(records == *truth, "{case}"),
        (Ok(_), _) => panic!("{case}: it was read as if nothing were"),
    }
}

/// As `Base`, with the log's records in files of rows and in the write-ahead log: a log that is
/// opened again moves the one to the other.
fn base() -> Base {
    let base = Base::build();
    let mut installation =
        install(system_tests::backends::embedded(base.path()), base.path(), &base.settings);
    installation.start();
    installation.wait_running();
    crate::workload::send(&installation, &crate::workload::purchases("more", 400));
    let topic = &base.settings.topics.purchase_finished;
    installation.wait_for(topic, crate::workload::PURCHASES + 400);
    installation.stop();
    base
}

#[test]
fn a_damaged_log_is_refused_and_left_as_it_is() {
    let base = base();
    let (_folder, intact) = base.copy();
    let broker = EmbeddedBroker::open(&intact).unwrap();
    let truth = read_all(&broker).unwrap();
    drop(broker);
    let cases = cases();
    let name = |Case(file, damage, _): &Case| format!("{file:?} {damage:?}");
    side_by_side(&cases, name, |case| check(&base, &truth, case));
    tell(format_args!("{} damaged logs: none is served wrong", cases.len()));
}

/// The processor on it ends, and says where.
#[test]
fn a_processor_ends_at_the_damage_and_names_it() {
    let base = base();
    let is_opened = |at| {
        let (folder, data) = base.copy();
        harm(&data.join("log"), Rows("records"), Flip(at));
        EmbeddedBroker::open(&data).is_ok().then_some((folder, data))
    };
    // How rows lie depends on which records were synced together; mostly one of the first will do.
    let mut places = (350..850).step_by(50).chain((20..980).step_by(17));
    let found = places.find_map(is_opened);
    let (_folder, data) = found.expect("a row that is no partition's last one");
    // Without its store it must read all of its topics.
    fs::remove_dir_all(data.join("state/store")).unwrap();
    let broker = EmbeddedBroker::open(&data).unwrap();
    let Err(damage) = read_all(&broker) else { panic!("it can be read") };
    let mut installation = install(std::sync::Arc::new(broker), &data, &base.settings);
    installation.partitions = PARTITIONS;
    let topology = topology(&installation.settings).unwrap();
    let started =
        Application::start(installation.broker.clone(), topology, installation.config.clone());
    let started = started.unwrap();
    let deadline = std::time::Instant::now() + PATIENCE;
    while !started.is_finished() {
        // Where the block holds inputs that were decided long ago, it is not even looked at.
        if started.status().workers.values().any(|s| s.tasks.len() == PARTITIONS as usize) {
            let running = |t: &bps_streams::worker::TaskStatus| {
                matches!(t, bps_streams::worker::TaskStatus::Running { .. })
            };
            let runs = started.status().workers.values().all(|s| s.tasks.values().all(running));
            assert!(!runs, "it runs on a damaged log: {damage}");
        }
        assert!(std::time::Instant::now() < deadline, "it goes on");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let error = started.stop().unwrap_err().to_string();
    assert!(error.contains("is damaged at ") && error.contains(", offset "), "{error}");
}

#[test]
fn bps_up_on_a_damaged_log_exits_1_and_says_what_helps() {
    let base = Base::build();
    let work = Work::new("damaged-log");
    crate::files::copy(base.path(), &work.path("data"));
    harm(&work.path("data/log"), Manifest, Cut(300));
    let listen = [free_address(), free_address()].map(|a| a.to_string());
    let mut up = Process::start_up(&work, "up", &work.path("data"), &listen, &[]);
    let status = up.wait(PATIENCE);
    assert_eq!(status.code(), Some(1), "{}", up.log());
    let log = up.log();
    assert!(log.contains("is cut short") && log.contains("put an intact copy"), "{log}");
}
