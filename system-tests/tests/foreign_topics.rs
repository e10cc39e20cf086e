//! Topics on a real Kafka that somebody else has made: what would lose or change records is refused
//! by name, the rest works.
#![allow(missing_docs, clippy::unwrap_used)]

use bps_events::Topics;
use system_tests::installation::Installation;
use system_tests::operator::Operator;
use system_tests::{Backend, now_ms};

const PARTITIONS: u32 = 2;

/// Fresh names on the Kafka of the run, if it has one; some topics may be made before the others.
fn bare(name: &str) -> Option<(Installation, Operator)> {
    let (operator, broker) = Operator::on_kafka(name)?;
    Some((Installation::bare(broker, name, PARTITIONS), operator))
}

type Topic = fn(&Topics) -> &String;
/// A topic, its settings, and a part of the setting that mends it.
type Row<'a> = (Topic, &'a [(&'a str, &'a str)], &'a str);

#[test]
fn a_topic_that_loses_or_changes_records_is_refused_by_name() {
    let items: Topic = |topics| &topics.items_added;
    let purchases: Topic = |topics| &topics.purchase_created;
    let results: Topic = |topics| &topics.purchase_finished;
    let stock: Topic = |topics| &topics.stock;
    let rows: [Row<'_>; 7] = [
        (purchases, &[("cleanup.policy", "compact,delete")], "cleanup.policy=delete"),
        (items, &[("cleanup.policy", "delete,compact")], "cleanup.policy=delete"),
        (purchases, &[("cleanup.policy", "compact")], "cleanup.policy=delete"),
        (stock, &[("cleanup.policy", "compact,delete")], "cleanup.policy=compact"),
        (purchases, &[("retention.bytes", "1000000")], "retention.bytes=-1"),
        (results, &[("message.timestamp.type", "LogAppendTime")], "type=CreateTime"),
        (results, &[("message.timestamp.before.max.ms", "1000")], "before.max.ms=9"),
    ];
    for (topic, settings, mend) in rows {
        let Some((mut installation, operator)) = bare("refused") else {
            return;
        };
        let topic = topic(&installation.settings.topics).clone();
        operator.create(&topic, PARTITIONS, settings);
        installation.start();
        let refused = installation.failure();
        let named = refused.starts_with(&format!("topic {topic}: ")) && refused.contains(mend);
        assert!(named && refused.contains("kafka-configs.sh"), "{settings:?}: {refused}");
    }
}

#[test]
fn inputs_that_the_broker_stamps_work() {
    let Some((mut installation, operator)) = bare("stamped") else {
        return;
    };
    let topics = installation.settings.topics.clone();
    for topic in [&topics.items_added, &topics.purchase_created] {
        let settings = [("message.timestamp.type", "LogAppendTime"), ("retention.ms", "-1")];
        operator.create(topic, PARTITIONS, &settings);
    }
    installation.prepare();
    installation.start();
    // A year ago: the broker says when it was.
    let long_ago = now_ms() - 31_536_000_000;
    installation.restock("r", "a", "3", long_ago);
    installation.wait_for(&topics.restock_finished, 1);
    installation.purchase("p", "a", "2", long_ago);
    let results = installation.results(1);
    assert!(results[0].message().contains("SUCCESS"), "{results:?}");
    assert!(results[0].timestamp > long_ago + 1_000, "{results:?}");
    installation.stop();
    installation.verify();
}

#[test]
fn what_is_created_depends_on_no_default_of_the_cluster() {
    let Some((mut installation, operator)) = bare("created") else {
        return;
    };
    installation.prepare();
    let topics = installation.settings.topics.clone();
    let unbounded = i64::MAX.to_string();
    for (topic, policy, future) in [
        (&topics.purchase_created, "delete", "10000"),
        (&topics.purchase_finished, "delete", unbounded.as_str()),
        (&topics.stock, "compact", unbounded.as_str()),
        (&topics.rekeyed, "delete", unbounded.as_str()),
        (&topics.dead_letters, "delete", unbounded.as_str()),
    ] {
        let expected = [
            ("cleanup.policy", policy),
            ("delete.retention.ms", "2592000000"),
            ("max.message.bytes", "1048588"),
            ("message.timestamp.after.max.ms", future),
            ("message.timestamp.before.max.ms", &unbounded),
            ("message.timestamp.type", "CreateTime"),
            ("min.insync.replicas", "1"),
            ("retention.bytes", "-1"),
            ("retention.ms", "-1"),
        ];
        let found = operator.settings(topic);
        let found = found.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        assert_eq!(found.collect::<Vec<_>>(), expected, "{topic}");
    }
}
