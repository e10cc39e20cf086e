//! The writer of services: what it takes, what it refuses, what an ack means.

use std::collections::BTreeSet;
use std::sync::mpsc;

use bps_streams::Outgoing;
use bps_streams::broker::{Broker, BrokerError, CleanupPolicy};

use crate::harness::{
    COMMITTED, Fresh, UNCOMMITTED, Writer, append, at, end, ends_of, now, read, record, shown,
    texts, topic, topic_with, write, write_texts,
};

const KEPT: CleanupPolicy = CleanupPolicy::Delete { retention_ms: None };
const HOUR_MS: i64 = 3_600_000;

pub(crate) fn acks_bring_growing_offsets_and_order_is_kept(broker: &dyn Broker, fresh: &Fresh) {
    let topic = topic(broker, fresh, "t", 2);
    let numbers: Vec<String> = (0..1_000).map(|n| n.to_string()).collect();
    let records: Vec<_> =
        (0_u32..).zip(&numbers).map(|(n, text)| record(&topic, n % 2, text)).collect();
    let offsets = write(broker, &records);
    for partition in [0, 1] {
        let mine = |i: &usize| *i % 2 == partition;
        let acked: Vec<u64> = (0..1_000).filter(mine).map(|i| offsets[i]).collect();
        assert_eq!(acked, (0..500).collect::<Vec<u64>>());
        let sent: Vec<&String> = (0..1_000).filter(mine).map(|i| &numbers[i]).collect();
        let seen = read(broker, &at(&topic, partition as u32), 0, COMMITTED);
        assert_eq!(texts(&seen).iter().collect::<Vec<_>>(), sent);
    }
}

pub(crate) fn an_unknown_partition_is_refused(broker: &dyn Broker, fresh: &Fresh) {
    let topic = topic(broker, fresh, "t", 2);
    let appender = broker.appender().expect("an appender");
    append(&*appender, record(&topic, 1, "there")).expect("acknowledged");
    let refused = append(&*appender, record(&topic, 2, "not there")).expect_err("refused");
    assert!(
        matches!(&refused, BrokerError::UnknownPartition(p) if *p == at(&topic, 2)),
        "{refused}"
    );
}

pub(crate) fn an_unknown_topic_is_refused(broker: &dyn Broker, fresh: &Fresh) {
    let topic = fresh.name("unknown");
    let appender = broker.appender().expect("an appender");
    let refused = append(&*appender, record(&topic, 0, "x")).expect_err("refused");
    assert!(
        matches!(&refused, BrokerError::UnknownPartition(p) if *p == at(&topic, 0)),
        "{refused}"
    );
    assert_eq!(broker.describe_topics(&[&topic]).expect("an answer"), [None]);
}

pub(crate) fn what_is_stamped_too_far_ahead_is_refused(broker: &dyn Broker, fresh: &Fresh) {
    let topic = topic_with(broker, fresh, "t", 1, KEPT, Some(HOUR_MS as u64));
    let appender = broker.appender().expect("an appender");
    let ahead = |ms| Outgoing { timestamp: now().wall_ms + ms, ..record(&topic, 0, "x") };
    let refused = append(&*appender, ahead(HOUR_MS + 60_000)).expect_err("refused");
    assert!(
        matches!(&refused, BrokerError::Refused { partition, .. } if *partition == at(&topic, 0)),
        "{refused}"
    );
    assert_eq!(end(broker, &at(&topic, 0), UNCOMMITTED), 0);
    append(&*appender, ahead(HOUR_MS - 60_000)).expect("within the bound");
    append(&*appender, ahead(-20 * 365 * 24 * HOUR_MS)).expect("the past has no bound");
}

pub(crate) fn without_a_bound_nothing_is_too_far_ahead(broker: &dyn Broker, fresh: &Fresh) {
    let topic = topic_with(broker, fresh, "t", 1, KEPT, None);
    let timestamp = now().wall_ms + 10 * 365 * 24 * HOUR_MS;
    write(broker, &[Outgoing { timestamp, ..record(&topic, 0, "in ten years") }]);
    assert_eq!(read(broker, &at(&topic, 0), 0, COMMITTED)[0].timestamp, timestamp);
}

pub(crate) fn what_is_stamped_before_the_earliest_time_is_refused(
    broker: &dyn Broker,
    fresh: &Fresh,
) {
    let to = at(&topic(broker, fresh, "t", 1), 0);
    let appender = broker.appender().expect("an appender");
    let stamped = |timestamp| Outgoing { timestamp, ..record(&to.topic, 0, "x") };
    let mut writer = Writer::start(broker, fresh);
    for timestamp in [0, -1, -1_000, i64::MIN] {
        let by_appender = append(&*appender, stamped(timestamp)).expect_err("refused");
        let sent = writer.producer.send(stamped(timestamp));
        for refused in [by_appender, sent.expect_err("refused")] {
            let told = format!("{to}: the record is refused (timestamp {timestamp} is before 1");
            assert!(refused.to_string().starts_with(&told), "{refused}");
        }
    }
    append(&*appender, stamped(1)).expect("acknowledged");
    writer.producer.send(stamped(1)).expect("taken");
    ends_of(writer.commit());
    assert_eq!(shown(broker, &to, 2).len(), 2);
    let seen = read(broker, &to, 0, COMMITTED);
    assert_eq!(seen.iter().map(|s| s.timestamp).collect::<Vec<_>>(), [1, 1]);
}

pub(crate) fn a_compacted_topic_refuses_a_record_without_key(broker: &dyn Broker, fresh: &Fresh) {
    let topic = topic_with(broker, fresh, "t", 1, CleanupPolicy::Compact, None);
    let appender = broker.appender().expect("an appender");
    let keyless = Outgoing { key: None, ..record(&topic, 0, "x") };
    let refused = append(&*appender, keyless).expect_err("refused");
    assert!(matches!(refused, BrokerError::Refused { .. }), "{refused}");
    assert_eq!(end(broker, &at(&topic, 0), UNCOMMITTED), 0);
    let empty = Outgoing { key: Some(b""), ..record(&topic, 0, "x") };
    append(&*appender, empty).expect("an empty key is a key");
}

pub(crate) fn a_refusal_does_not_stop_what_comes_after(broker: &dyn Broker, fresh: &Fresh) {
    let topic = topic_with(broker, fresh, "t", 1, KEPT, Some(1_000));
    let appender = broker.appender().expect("an appender");
    for round in 0..3 {
        let text = round.to_string();
        append(&*appender, record(&topic, 0, &text)).expect("acknowledged");
        let timestamp = now().wall_ms + HOUR_MS;
        let ahead = Outgoing { timestamp, ..record(&topic, 0, "refused") };
        append(&*appender, ahead).expect_err("refused");
    }
    append(&*appender, record(&topic, 0, "last")).expect("acknowledged");
    assert_eq!(texts(&read(broker, &at(&topic, 0), 0, COMMITTED)), ["0", "1", "2", "last"]);
}

pub(crate) fn null_and_empty_are_told_apart(broker: &dyn Broker, fresh: &Fresh) {
    let topic = topic(broker, fresh, "t", 1);
    let fields: [Option<&[u8]>; 3] = [None, Some(b""), Some(b"\0\xff")];
    let pairs = fields.map(|key| fields.map(|value| (key, value))).concat();
    let with = |&(key, value)| Outgoing { key, value, ..record(&topic, 0, "") };
    let records: Vec<_> = pairs.iter().map(with).collect();
    write(broker, &records);
    let seen = read(broker, &at(&topic, 0), 0, COMMITTED);
    let seen: Vec<_> = seen.iter().map(|s| (s.key.as_deref(), s.value.as_deref())).collect();
    assert_eq!(seen, pairs);
}

pub(crate) fn headers_survive(broker: &dyn Broker, fresh: &Fresh) {
    let topic = topic(broker, fresh, "t", 1);
    let binary: Vec<u8> = (0..=255).collect();
    let headers = [
        ("again", Some(&b"first"[..])),
        ("null", None),
        ("empty", Some(&b""[..])),
        ("again", Some(&b"second"[..])),
        ("binary", Some(&binary[..])),
        ("größe", Some("größe".as_bytes())),
        ("", Some(&b"no name"[..])),
    ];
    let with = Outgoing { headers: &headers, ..record(&topic, 0, "with") };
    write(broker, &[with, record(&topic, 0, "without")]);
    let seen = read(broker, &at(&topic, 0), 0, COMMITTED);
    let expected: Vec<(String, Option<Vec<u8>>)> =
        headers.iter().map(|(n, v)| ((*n).to_owned(), v.map(<[u8]>::to_vec))).collect();
    assert_eq!(seen[0].headers, expected);
    assert_eq!(seen[1].headers, []);
}

pub(crate) fn timestamps_survive(broker: &dyn Broker, fresh: &Fresh) {
    let topic = topic(broker, fresh, "t", 1);
    // 1970, 2017, a moment that is no whole second, and backwards at that.
    let stamps = [1_500_000_000_000, 1, 1_488_326_400_123, now().wall_ms];
    let records = stamps.map(|timestamp| Outgoing { timestamp, ..record(&topic, 0, "x") });
    write(broker, &records);
    let seen = read(broker, &at(&topic, 0), 0, COMMITTED);
    assert_eq!(seen.iter().map(|s| s.timestamp).collect::<Vec<_>>(), stamps);
}

pub(crate) fn a_large_value_survives(broker: &dyn Broker, fresh: &Fresh) {
    let topic = topic(broker, fresh, "t", 1);
    // Of no pattern that compresses well.
    let mut state = 1_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let large: Vec<u8> = (0..900_000).map(|_| noise()).collect();
    let large = Outgoing { value: Some(&large), ..record(&topic, 0, "") };
    write(broker, &[record(&topic, 0, "before"), large, record(&topic, 0, "after")]);
    let seen = read(broker, &at(&topic, 0), 0, COMMITTED);
    assert!(seen[1].value.as_deref() == large.value, "another value came back");
    assert_eq!((seen[0].text(), seen[2].text()), ("before".to_owned(), "after".to_owned()));
}

pub(crate) fn what_is_acknowledged_is_readable(broker: &dyn Broker, fresh: &Fresh) {
    let topic = topic(broker, fresh, "t", 1);
    let appender = broker.appender().expect("an appender");
    for n in 0..20 {
        let text = n.to_string();
        let offset = append(&*appender, record(&topic, 0, &text)).expect("acknowledged");
        for isolation in [COMMITTED, UNCOMMITTED] {
            assert!(end(broker, &at(&topic, 0), isolation) > offset, "{isolation:?}");
        }
        assert_eq!(texts(&read(broker, &at(&topic, 0), offset, COMMITTED)), [text]);
    }
}

pub(crate) fn many_writers_lose_nothing_and_double_nothing(broker: &dyn Broker, fresh: &Fresh) {
    let topic = topic(broker, fresh, "t", 2);
    let shared = broker.appender().expect("an appender");
    let own = broker.appender().expect("an appender");
    let writers = [(0, &shared), (1, &shared), (2, &shared), (3, &own)];
    std::thread::scope(|scope| {
        for (writer, appender) in writers {
            let topic = &topic;
            scope.spawn(move || {
                let (sender, receiver) = mpsc::channel();
                for n in 0..500 {
                    let text = format!("{writer}/{n}");
                    let sender = sender.clone();
                    let ack = move |outcome| sender.send(outcome).expect("a listener");
                    let record = record(topic, n % 2, &text);
                    appender.append(record, Box::new(ack)).expect("taken");
                }
                drop(sender);
                let acked: Vec<u64> = receiver.iter().map(|o| o.expect("acknowledged")).collect();
                assert_eq!(acked.len(), 500);
            });
        }
    });
    let seen: Vec<String> =
        [0, 1].iter().flat_map(|p| texts(&read(broker, &at(&topic, *p), 0, COMMITTED))).collect();
    let different: BTreeSet<&String> = seen.iter().collect();
    assert_eq!((seen.len(), different.len()), (2_000, 2_000));
}

pub(crate) fn what_was_taken_is_written_before_the_appender_ends(
    broker: &dyn Broker,
    fresh: &Fresh,
) {
    let topic = topic(broker, fresh, "t", 1);
    let (sender, receiver) = mpsc::channel();
    let appender = broker.appender().expect("an appender");
    for n in 0..100 {
        let sender = sender.clone();
        let ack = move |outcome| sender.send(outcome).expect("a listener");
        appender.append(record(&topic, 0, &n.to_string()), Box::new(ack)).expect("taken");
    }
    drop((appender, sender));
    let acked: Vec<u64> = receiver.iter().map(|o| o.expect("acknowledged")).collect();
    assert_eq!(acked, (0..100).collect::<Vec<u64>>());
    assert_eq!(write_texts(broker, &at(&topic, 0), &["next"]), [100]);
}
