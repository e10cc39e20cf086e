//! What only the embedded broker can be asked: its folder, its clock, its compaction.

use std::path::Path;

use bps_streams::Outgoing;
use bps_streams::broker::embedded::EmbeddedBroker;
use bps_streams::broker::{Broker, BrokerError, CleanupPolicy, Now, OffsetSpec};

use crate::harness::{
    COMMITTED, Fresh, STEP, Writer, at, committed, ends_of, producer, read, record, take, texts,
    topic, topic_with, until, write, write_texts,
};

const DAY_MS: u64 = 86_400_000;
/// In 2017.
const THEN: i64 = 1_488_326_400_000;

fn open(folder: &Path) -> EmbeddedBroker {
    EmbeddedBroker::open(folder).expect("a log")
}

pub(crate) fn a_folder_opened_again_holds_everything(_: &dyn Broker, fresh: &Fresh) {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = open(folder.path());
    let cluster = broker.cluster_id().expect("an id");
    let to = at(&topic_with(&broker, fresh, "t", 2, CleanupPolicy::Compact, Some(5_000)), 1);
    let mut writer = Writer::start(&broker, fresh);
    writer.send(&to, &["a", "b"]);
    ends_of(writer.commit_at(7, "v1:x"));
    let (group, input, id) = (writer.group.clone(), writer.input.clone(), writer.id.clone());
    let before = read(&broker, &to, 0, COMMITTED);
    let topics = broker.describe_topics(&[]).expect("topics");
    let ids = broker.identify_topics(&[&to.topic, &input.topic]).expect("topics");
    drop((writer, broker));

    let broker = open(folder.path());
    assert_eq!(broker.cluster_id().expect("an id"), cluster);
    assert_eq!(broker.describe_topics(&[]).expect("topics"), topics);
    let again = broker.identify_topics(&[&to.topic, &input.topic]).expect("topics");
    assert_eq!(again, ids);
    let other = tempfile::tempdir().expect("a folder");
    let other = open(other.path());
    let other_to = topic(&other, fresh, "other", 1);
    assert_ne!(other.identify_topics(&[&other_to]).expect("topics")[0], ids[0]);
    assert_eq!(committed(&broker, &group, &input), Some((7, "v1:x".to_owned())));
    assert_eq!(read(&broker, &to, 0, COMMITTED), before);
    assert_eq!(write_texts(&broker, &to, &["c"]), [2]);
    producer(&broker, &id);
}

pub(crate) fn the_second_to_open_is_told_the_owner(_: &dyn Broker, _: &Fresh) {
    let folder = tempfile::tempdir().expect("a folder");
    let first = open(folder.path());
    let Err(refused) = EmbeddedBroker::open(folder.path()) else { panic!("two owners") };
    let refused = refused.to_string();
    assert!(refused.contains(&std::process::id().to_string()), "{refused}");
    let clone = first.clone();
    drop(first);
    assert!(EmbeddedBroker::open(folder.path()).is_err(), "a clone owns it as well");
    drop(clone);
    open(folder.path());
}

pub(crate) fn an_open_transaction_does_not_survive_its_process(_: &dyn Broker, fresh: &Fresh) {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = open(folder.path());
    let to = at(&topic(&broker, fresh, "t", 1), 0);
    let mut writer = Writer::start(&broker, fresh);
    writer.send(&to, &["left open"]);
    drop((writer, broker));
    let broker = open(folder.path());
    assert!(read(&broker, &to, 0, COMMITTED).is_empty());
    assert_eq!(write_texts(&broker, &to, &["first"]), [0]);
}

/// A topic with a record a day for five days, kept for two; all written at once.
fn aged(broker: &dyn Broker, fresh: &Fresh) -> String {
    let cleanup = CleanupPolicy::Delete { retention_ms: Some(2 * DAY_MS) };
    let topic = topic_with(broker, fresh, "aged", 1, cleanup, None);
    let names = ["day 0", "day 1", "day 2", "day 3", "day 4"];
    let mut writer = Writer::start(broker, fresh);
    for (day, text) in (0..).zip(names) {
        let timestamp = THEN + day * DAY_MS as i64;
        let record = Outgoing { timestamp, ..record(&topic, 0, text) };
        writer.producer.send(record).expect("taken");
    }
    ends_of(writer.commit());
    topic
}

fn maintain(broker: &dyn Broker, day: i64) {
    let now = Now { monotonic_ms: 0, wall_ms: THEN + day * DAY_MS as i64 };
    broker.maintain(now).expect("maintained");
}

fn start(broker: &dyn Broker, topic: &str) -> u64 {
    broker.offsets(&[at(topic, 0)], OffsetSpec::Start).expect("a start")[0]
}

pub(crate) fn retention_moves_the_start(broker: &dyn Broker, fresh: &Fresh) {
    let topic = aged(broker, fresh);
    let kept = crate::harness::topic(broker, fresh, "kept", 1);
    write(broker, &[Outgoing { timestamp: 1, ..record(&kept, 0, "of 1970") }]);
    maintain(broker, 2);
    assert_eq!(start(broker, &topic), 0, "none is older than two days");
    maintain(broker, 5);
    assert_eq!(start(broker, &topic), 3);
    let from_start = read(broker, &at(&topic, 0), 3, COMMITTED);
    assert_eq!(texts(&from_start), ["day 3", "day 4"]);
    let mut reader = broker.reader(&[(at(&topic, 0), 2)], COMMITTED).expect("a reader");
    let error = reader.fetch(0, 1_000, &mut Default::default()).expect_err("gone");
    let BrokerError::OffsetOutOfRange { offset, start: first, end, .. } = error else {
        panic!("{error}");
    };
    assert_eq!((offset, first, end), (2, 3, 5));
    assert_eq!(start(broker, &kept), 0, "kept for ever");
    maintain(broker, 50);
    assert_eq!(start(broker, &topic), 5);
    assert_eq!(write_texts(broker, &at(&topic, 0), &["next"]), [5], "no offset comes twice");
}

pub(crate) fn retention_survives_opening_again(_: &dyn Broker, fresh: &Fresh) {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = open(folder.path());
    let topic = aged(&broker, fresh);
    maintain(&broker, 5);
    drop(broker);
    let broker = open(folder.path());
    assert_eq!(start(&broker, &topic), 3);
    maintain(&broker, 50);
    drop(broker);
    let broker = open(folder.path());
    assert_eq!(start(&broker, &topic), 5);
    assert_eq!(write_texts(&broker, &at(&topic, 0), &["next"]), [5], "no offset comes twice");
}

pub(crate) fn compaction_keeps_the_last_of_each_key(broker: &dyn Broker, fresh: &Fresh) {
    let to = topic_with(broker, fresh, "t", 2, CleanupPolicy::Compact, None);
    let row = |partition, key: &'static str, value: &'static str| Outgoing {
        key: Some(key.as_bytes()),
        ..record(&to, partition, value)
    };
    // Two of a key in one batch, over batches, and the same key in another partition.
    write(broker, &[row(0, "a", "a1"), row(0, "b", "b1"), row(0, "a", "a2"), row(1, "a", "x")]);
    write(broker, &[row(0, "a", "a3"), row(0, "c", "c1")]);
    write(broker, &[Outgoing { value: None, ..row(0, "b", "") }]);
    broker.maintain(crate::harness::now()).expect("maintained");
    let seen = read(broker, &at(&to, 0), 0, COMMITTED);
    let rows: Vec<_> =
        seen.iter().map(|s| (s.offset, s.key.as_deref(), s.value.as_deref())).collect();
    let (a, b, c) = (Some(&b"a"[..]), Some(&b"b"[..]), Some(&b"c"[..]));
    let expected = [(3, a, Some(&b"a3"[..])), (4, c, Some(&b"c1"[..])), (5, b, None)];
    assert_eq!(rows, expected, "offsets stay, and a tombstone is a last record");
    assert_eq!(texts(&read(broker, &at(&to, 1), 0, COMMITTED)), ["x"]);
}

pub(crate) fn a_follower_sees_what_is_appended(_: &dyn Broker, fresh: &Fresh) {
    let folder = tempfile::tempdir().expect("a folder");
    assert!(EmbeddedBroker::follow(folder.path()).is_err(), "there is no log to follow");
    let broker = open(folder.path());
    let to = at(&topic(&broker, fresh, "t", 1), 0);
    write_texts(&broker, &to, &["before"]);
    let follower = EmbeddedBroker::follow(folder.path()).expect("a follower");
    let mut reader = follower.reader(&[(to.clone(), 0)]).expect("a reader");
    let mut batch = Default::default();
    let mut next = || {
        until("the next record", || {
            reader.wait(STEP).expect("a wait");
            reader.fetch(0, 1_000, &mut batch).expect("a fetch");
            (!batch.is_empty()).then(|| texts(&take(&mut batch)))
        })
    };
    assert_eq!(next(), ["before"]);
    for text in ["live", "and on"] {
        write_texts(&broker, &to, &[text]);
        assert_eq!(next(), [text]);
    }
    let later = topic(&broker, fresh, "later", 2);
    let described = follower.describe_topics(&[&later]).expect("an answer");
    assert_eq!(described[0].as_ref().map(|t| t.partitions), Some(2));
    let end = OffsetSpec::End(COMMITTED);
    assert_eq!(follower.offsets(std::slice::from_ref(&to), end).expect("an end"), [3]);
}
