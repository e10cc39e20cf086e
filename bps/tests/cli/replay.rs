//! `bps replay`: the same again, and told apart from anything else.

use bps_streams::Record;
use bps_streams::broker::{Isolation, OffsetSpec, TopicPartition};
use bps_streams::record::Batch;

use super::verify::decide;
use super::*;

/// A record as it is to be written to the copy; `None`: it is left out.
pub(super) type Change = fn(&Record<'_>) -> Option<Vec<u8>>;

/// Opens a log. Another test may be starting a process: until that is itself, it has this one's
/// files, and with them the lock on the folder.
fn open(folder: &Path) -> EmbeddedBroker {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match EmbeddedBroker::open(folder) {
            Ok(broker) => return broker,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Copies a log, except for what `change` does to the values of `topic`.
pub(super) fn copy(from: &Path, to: &Path, topic: &str, change: Change) {
    let (from, to) = (open(from), open(to));
    let appender = to.appender().expect("an appender");
    for description in from.describe_topics(&[]).expect("topics").into_iter().flatten() {
        to.create_topic(&description).expect("created");
        for partition in 0..description.partitions {
            let at = TopicPartition::new(&description.name, partition);
            let end = OffsetSpec::End(Isolation::ReadCommitted);
            let end = from.offsets(std::slice::from_ref(&at), end).expect("an end")[0];
            let reader = from.reader(&[(at.clone(), 0)], Isolation::ReadCommitted);
            let (mut reader, mut batch) = (reader.expect("a reader"), Batch::default());
            while reader.fetch(0, 1 << 20, &mut batch).expect("a fetch") < end {}
            for index in 0..batch.len() {
                let record = batch.get(index, &at.topic, partition);
                let value = match at.topic == topic {
                    true => change(&record),
                    false => record.value.map(<[u8]>::to_vec),
                };
                let Some(value) = value else { continue };
                let headers: Vec<_> = record.headers.iter().collect();
                let (value, timestamp, key) =
                    (Some(value.as_slice()), record.timestamp, record.key);
                let topic = &at.topic;
                let record =
                    Outgoing { topic, partition, timestamp, key, value, headers: &headers };
                let (tell, told) = mpsc::channel();
                let ack = Box::new(move |outcome| drop(tell.send(outcome)));
                appender.append(record, ack).expect("taken");
                told.recv().expect("answered").expect("durable");
            }
        }
    }
}

fn contains(record: &Record<'_>, text: &str) -> bool {
    record.value.is_some_and(|v| String::from_utf8_lossy(v).contains(text))
}

fn replaced(record: &Record<'_>, old: &str, new: &str) -> Option<Vec<u8>> {
    record.value.map(|v| String::from_utf8_lossy(v).replace(old, new).into_bytes())
}

#[test]
fn a_replay_gives_the_same_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = text(folder.path());
    check(&["replay", "--data", data], 1, "", "no embedded log lies in");
    decide(folder.path());
    let same = "the same: 51 records again in ";
    check(&["replay", "--data", data], 0, same, "");
    let state = folder.path().join("state");
    let with_state = ["replay", "--data", data, "--state", text(&state)];
    check(&with_state, 0, " 45 results and answers and 55 rows compared, 0 differences", "");
    let into = folder.path().join("rebuilt");
    let kept = ["replay", "--data", data, "--into", text(&into), "--json"];
    check(&kept, 0, r#""differing":0,"differences":[]"#, "");
    check(&kept, 1, "", "holds a store: replay wants a fresh folder");
    let nothing = folder.path().join("nothing");
    check(&["replay", "--data", data, "--state", text(&nothing)], 1, "", "nothing holds no store");
}

#[track_caller]
fn check_changed(topic: &str, change: Change, stdout: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let (good, bad) = (folder.path().join("good"), folder.path().join("bad"));
    decide(&good);
    copy(&good, &bad, topic, change);
    check(&["replay", "--data", text(&bad)], 3, stdout, "");
}

#[test]
fn a_replay_names_what_is_not_the_same() {
    check_changed(
        "bps-purchase-finished",
        |r| replaced(r, r#""purchaseId":"p7""#, r#""purchaseId":"p8""#),
        r#": recorded p7 {"purchaseId":"p8""#,
    );
    check_changed(
        "bps-restock-finished",
        |r| r.value.filter(|_| !contains(r, r#""restockId":"r3""#)).map(<[u8]>::to_vec),
        r#"replayed r3 {"restockId":"r3""#,
    );
    check_changed(
        "bps-stock",
        |r| replaced(r, r#""supplied":8"#, r#""supplied":9"#),
        r#""supplied":9"#,
    );
    check_changed(
        "bps-items-added",
        |r| {
            replaced(
                r,
                r#""restockId":"r3","itemId":"i3","quantity":2"#,
                r#""restockId":"r3","itemId":"i3","quantity":1"#,
            )
        },
        r#"replayed r3 {"restockId":"r3","itemId":"i3","quantity":1"#,
    );
}

#[test]
fn another_store_is_not_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    decide(&one);
    copy(&one, &two, "bps-stock", |r| r.value.map(<[u8]>::to_vec));
    let rebuilt = folder.path().join("rebuilt");
    // The store of a replay is as good as any; one row is missing where an item is.
    check(&["replay", "--data", text(&two), "--into", text(&rebuilt)], 0, "the same", "");
    check(&["replay", "--data", text(&one), "--state", text(&rebuilt)], 0, "the same", "");
    let fewer = folder.path().join("fewer");
    copy(&one, &fewer, "bps-purchase-finished", |_| None);
    check(&["replay", "--data", text(&fewer), "--state", text(&rebuilt)], 3, "store decided-", "");
}
