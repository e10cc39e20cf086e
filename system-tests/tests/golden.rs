//! What earlier versions left behind is opened as it is, and decided on (`golden/`, a folder a
//! version; `cargo run --bin golden FOLDER` writes what this version leaves behind).
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bps_streams::broker::Broker;
use bps_streams::replay::Replay;
use bps_streams::store::memory::MemoryStore;
use bps_verifier::Verifier;
use purchase_processor::{Settings, topology};
use system_tests::golden::{DECIDED, PARTITIONS, UNDECIDED, decide, folders, open, send};
use system_tests::reading::each_committed;
use tempfile::TempDir;

/// A copy of each version's folder.
fn copies() -> Vec<(String, TempDir)> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let versions = std::fs::read_dir(&golden).unwrap().map(|entry| entry.unwrap().path());
    let copies: Vec<_> = versions.filter(|path| path.is_dir()).map(|path| copy_of(&path)).collect();
    assert!(!copies.is_empty(), "{} is empty", golden.display());
    copies
}

fn copy_of(version: &Path) -> (String, TempDir) {
    let copy = tempfile::tempdir().unwrap();
    copy_folder(version, copy.path());
    (version.file_name().unwrap().to_string_lossy().into_owned(), copy)
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to: PathBuf = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_folder(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).unwrap()),
        }
    }
}

/// Key, value and time of all results and answers, by topic and partition.
type Answers = BTreeMap<(String, u32), Vec<(Vec<u8>, Vec<u8>, i64)>>;

fn answers(broker: &dyn Broker) -> Answers {
    let topics = Settings::default().topics;
    let mut found = Answers::new();
    for topic in [topics.purchase_finished, topics.restock_finished] {
        for partition in 0..PARTITIONS {
            let mut records = Vec::new();
            each_committed(broker, &topic, partition, |record| {
                let bytes = |part: Option<&[u8]>| part.unwrap_or_default().to_vec();
                records.push((bytes(record.key), bytes(record.value), record.timestamp));
            });
            found.insert((topic.clone(), partition), records);
        }
    }
    found
}

fn verify(broker: &dyn Broker, version: &str) {
    let settings = Settings::default();
    let report = Verifier::new(broker, settings.topics, &settings.application)
        .at_rest(true)
        .run(&|_| ControlFlow::Continue(()))
        .unwrap();
    assert!(report.findings.is_empty(), "{version}: {:#?}", report.findings);
}

/// Decides what is left, and then more; `then` is called after each of the two.
fn decide_the_rest(broker: &Arc<dyn Broker>, folder: &Path, then: impl Fn()) {
    for numbers in [0..0, DECIDED + UNDECIDED..DECIDED + 2 * UNDECIDED] {
        send(&**broker, numbers);
        decide(broker, folder);
        then();
    }
}

/// Decides what is left, and more; all must be as it would have been in one go.
fn go_on(folder: &Path, version: &str) {
    let broker = open(folder);
    let before = answers(&*broker);
    decide_the_rest(&broker, folder, || verify(&*broker, version));
    let after = answers(&*broker);
    for (at, former) in &before {
        assert_eq!(after[at][..former.len()], former[..], "{version}: {at:?}");
    }
    assert_eq!(sorted(after), sorted(decided_at_once()), "{version}");
    let replay = Replay::new(
        &*broker,
        topology(&Settings::default()).unwrap(),
        Arc::new(MemoryStore::default()),
    );
    let report = replay.unwrap().run(&|_, _| true).unwrap();
    assert_eq!(report.differing, 0, "{version}: {:#?}", report.differences);
}

/// Without the times, and in any order: these depend on when what had strayed comes home.
fn sorted(mut answers: Answers) -> Answers {
    for answers in answers.values_mut() {
        answers.iter_mut().for_each(|(_, _, time)| *time = 0);
        answers.sort();
    }
    answers
}

/// The same by this version alone.
fn decided_at_once() -> Answers {
    let folder = tempfile::tempdir().unwrap();
    system_tests::golden::write(folder.path());
    let broker = open(folder.path());
    decide_the_rest(&broker, folder.path(), || ());
    answers(&*broker)
}

/// Files beside the store that were moved aside.
fn moved_aside(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(&folders(folder)[1]).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|name| name.contains("quarantine")).collect()
}

#[test]
fn what_an_earlier_version_left_is_read_and_decided_on() {
    for (version, copy) in copies() {
        go_on(copy.path(), &version);
        assert_eq!(moved_aside(copy.path()), [""; 0], "{version}");
    }
}

#[test]
fn also_where_the_state_is_gone() {
    for (version, copy) in copies() {
        std::fs::remove_dir_all(&folders(copy.path())[1]).unwrap();
        go_on(copy.path(), &version);
    }
}

#[test]
fn also_where_the_state_and_the_offsets_are_gone() {
    for (version, copy) in copies() {
        std::fs::remove_dir_all(&folders(copy.path())[1]).unwrap();
        open(copy.path()).delete_group(&Settings::default().application).unwrap();
        go_on(copy.path(), &version);
    }
}
