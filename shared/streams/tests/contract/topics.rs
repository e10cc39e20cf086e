//! Topics: created, described, kept; and the cluster they are in.

use bps_streams::broker::{
    Broker, CleanupPolicy, Isolation, OffsetSpec, Timestamps, TopicDescription,
};

use crate::harness::{COMMITTED, Fresh, UNCOMMITTED, at, read, texts, topic, write_texts};

fn described(broker: &dyn Broker, name: &str) -> Option<TopicDescription> {
    let mut answer = broker.describe_topics(&[name]).expect("an answer");
    assert_eq!(answer.len(), 1, "one answer for one name");
    answer.pop().flatten()
}

pub(crate) fn a_topic_is_described_as_it_was_created(broker: &dyn Broker, fresh: &Fresh) {
    let delete = |retention_ms| CleanupPolicy::Delete { retention_ms };
    let topics = [
        ("kept", 1, delete(None), None),
        ("week", 3, delete(Some(604_800_000)), Some(60_000)),
        ("compacted", 2, CleanupPolicy::Compact, None),
        ("bounded", 5, CleanupPolicy::Compact, Some(0)),
        ("both", 1, CleanupPolicy::CompactAndDelete { retention_ms: None }, None),
        ("day", 1, CleanupPolicy::CompactAndDelete { retention_ms: Some(86_400_000) }, None),
    ];
    let topics = topics.map(|(name, partitions, cleanup, future_max_ms)| {
        let name = fresh.name(name);
        TopicDescription { name, partitions, cleanup, future_max_ms }
    });
    for topic in &topics {
        broker.create_topic(topic).expect("created");
    }
    for topic in topics {
        assert_eq!(described(broker, &topic.name), Some(topic));
    }
}

pub(crate) fn a_topic_has_an_id_that_no_other_has(broker: &dyn Broker, fresh: &Fresh) {
    let (first, last) = (topic(broker, fresh, "first", 1), topic(broker, fresh, "last", 3));
    let unknown = fresh.name("unknown");
    let ask = || {
        let answer = broker.identify_topics(&[&last, &unknown, &first, &last]).expect("an answer");
        let answer =
            answer.into_iter().map(|found| found.map(|found| (found.id, found.partitions)));
        answer.collect::<Vec<_>>()
    };
    let found = ask();
    let id = |index: usize| found[index].clone().expect("it is there").0;
    assert_eq!(found, [Some((id(0), 3)), None, Some((id(2), 1)), Some((id(0), 3))]);
    assert!(!id(0).is_empty() && id(0) != id(2), "{found:?}");
    // It stands behind a blank, at the end of a line.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    assert!(id(0).chars().all(is_plain) && id(0).len() <= 64, "{found:?}");
    write_texts(broker, &at(&last, 2), &["more"]);
    assert_eq!(ask(), found);
    assert_eq!(broker.identify_topics(&[]).expect("an answer"), []);
    assert_eq!(described(broker, &unknown), None, "asking has not created it");
}

pub(crate) fn a_topic_changes_and_loses_nothing_by_itself(broker: &dyn Broker, fresh: &Fresh) {
    let kept = topic(broker, fresh, "kept", 2);
    let compacted = fresh.name("compacted");
    let cleanup = CleanupPolicy::Compact;
    let description =
        TopicDescription { name: compacted.clone(), partitions: 1, cleanup, future_max_ms: None };
    broker.create_topic(&description).expect("created");
    let settings = broker.topic_settings(&[&kept, &compacted]).expect("an answer");
    assert_eq!(settings.len(), 2);
    for settings in settings {
        assert_eq!(settings.timestamps, Timestamps::Create);
        assert_eq!((settings.retention_bytes, settings.past_max_ms), (None, None));
        // The largest value that is tested, and room for what surrounds it.
        assert!(settings.batch_bytes_max.is_none_or(|bytes| bytes > 1_000_000), "{settings:?}");
    }
    assert_eq!(broker.topic_settings(&[]).expect("an answer"), []);
}

pub(crate) fn creating_again_keeps_the_topic_as_it_is(broker: &dyn Broker, fresh: &Fresh) {
    let name = fresh.name("kept");
    let cleanup = CleanupPolicy::Delete { retention_ms: Some(3_600_000) };
    let first = TopicDescription { name, partitions: 2, cleanup, future_max_ms: Some(1_000) };
    broker.create_topic(&first).expect("created");
    write_texts(broker, &at(&first.name, 1), &["stays"]);
    broker.create_topic(&first).expect("the same again");
    let other = TopicDescription {
        partitions: 7,
        cleanup: CleanupPolicy::Compact,
        future_max_ms: None,
        ..first.clone()
    };
    broker.create_topic(&other).expect("left as it is");
    assert_eq!(texts(&read(broker, &at(&first.name, 1), 0, COMMITTED)), ["stays"]);
    assert_eq!(described(broker, &first.name.clone()), Some(first));
}

pub(crate) fn an_unknown_topic_is_described_as_none(broker: &dyn Broker, fresh: &Fresh) {
    let (first, last) = (topic(broker, fresh, "first", 1), topic(broker, fresh, "last", 2));
    let unknown = fresh.name("unknown");
    let answer = broker.describe_topics(&[&last, &unknown, &first]).expect("an answer");
    let names = answer.into_iter().map(|t| t.map(|t| (t.name, t.partitions)));
    assert_eq!(names.collect::<Vec<_>>(), [Some((last, 2)), None, Some((first, 1))]);
    assert_eq!(described(broker, &unknown), None, "asking has not created it");
}

pub(crate) fn an_empty_list_of_names_asks_for_all(broker: &dyn Broker, fresh: &Fresh) {
    let mine = ["a", "b", "c"].map(|name| topic(broker, fresh, name, 1));
    let all = broker.describe_topics(&[]).expect("an answer");
    for name in mine {
        let found = all.iter().flatten().filter(|t| t.name == name).count();
        assert_eq!(found, 1, "{name}");
    }
    assert!(all.iter().all(Option::is_some), "none is listed that is not there");
}

pub(crate) fn a_new_topic_is_empty_and_can_be_used_at_once(broker: &dyn Broker, fresh: &Fresh) {
    let topic = topic(broker, fresh, "new", 3);
    let partitions = [0, 1, 2].map(|p| at(&topic, p));
    let specs = [OffsetSpec::Start, OffsetSpec::End(COMMITTED), OffsetSpec::End(UNCOMMITTED)];
    for spec in specs {
        assert_eq!(broker.offsets(&partitions, spec).expect("offsets"), [0, 0, 0], "{spec:?}");
    }
    assert_eq!(write_texts(broker, &partitions[2], &["first"]), [0]);
    assert_eq!(texts(&read(broker, &partitions[2], 0, Isolation::ReadCommitted)), ["first"]);
}

pub(crate) fn a_topic_without_partitions_is_refused(broker: &dyn Broker, fresh: &Fresh) {
    let name = fresh.name("none");
    let cleanup = CleanupPolicy::Compact;
    let topic =
        TopicDescription { name: name.clone(), partitions: 0, cleanup, future_max_ms: None };
    let refused = broker.create_topic(&topic).expect_err("refused");
    assert!(!refused.is_unavailable(), "it will never do: {refused}");
    assert_eq!(described(broker, &name), None);
}

pub(crate) fn the_cluster_keeps_its_id(broker: &dyn Broker, fresh: &Fresh) {
    let id = broker.cluster_id().expect("an id");
    assert!(!id.is_empty());
    topic(broker, fresh, "any", 1);
    assert_eq!(broker.cluster_id().expect("an id"), id);
}
