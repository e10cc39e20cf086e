//! Transactions: what is in one shows together or never.

use std::time::Duration;

use bps_streams::Outgoing;
use bps_streams::broker::{
    Broker, BrokerError, CleanupPolicy, CommitStatus, OffsetSpec, ProducerMode,
};
use bps_streams::record::Batch;

use crate::harness::{
    COMMITTED, Fresh, Member, STEP, UNCOMMITTED, Writer, at, commit, end, ends_of, now, read,
    record, shown, take, texts, topic, topic_with, until, write_texts,
};

const KEPT: CleanupPolicy = CleanupPolicy::Delete { retention_ms: None };

pub(crate) fn open_records_are_invisible_until_the_commit(broker: &dyn Broker, fresh: &Fresh) {
    let to = at(&topic(broker, fresh, "t", 1), 0);
    let mut writer = Writer::start(broker, fresh);
    write_texts(broker, &to, &["before"]);
    let mut reader = broker.reader(&[(to.clone(), 0)], COMMITTED).expect("a reader");
    let mut batch = Batch::default();
    let mut seen = Vec::new();
    let mut look = |rounds: u32| {
        for _ in 0..rounds {
            reader.wait(STEP).expect("a wait");
            reader.fetch(0, 10_000, &mut batch).expect("a fetch");
            seen.extend(texts(&take(&mut batch)));
        }
        seen.clone()
    };
    writer.send(&to, &["one", "two"]);
    // Long enough for the records to reach the log, where there is one apart.
    assert_eq!(look(25), ["before"]);
    assert_eq!(end(broker, &to, COMMITTED), 1, "the last stable offset");
    ends_of(writer.commit());
    until("the records are shown", || (look(1).len() >= 3).then_some(()));
    assert_eq!(look(1), ["before", "one", "two"]);
}

pub(crate) fn a_commit_shows_all_topics_and_partitions(broker: &dyn Broker, fresh: &Fresh) {
    let (one, two) = (topic(broker, fresh, "one", 2), topic(broker, fresh, "two", 1));
    let mut writer = Writer::start(broker, fresh);
    let places = [at(&one, 0), at(&one, 1), at(&two, 0)];
    for place in &places {
        writer.send(place, &["first", "second"]);
    }
    for place in &places {
        assert!(read(broker, place, 0, COMMITTED).is_empty(), "{place} shows an open record");
    }
    ends_of(writer.commit());
    for place in &places {
        assert_eq!(shown(broker, place, 2), ["first", "second"], "{place}");
    }
}

pub(crate) fn aborted_records_are_never_seen(broker: &dyn Broker, fresh: &Fresh) {
    let to = at(&topic(broker, fresh, "t", 1), 0);
    let mut writer = Writer::start(broker, fresh);
    for round in 0..3 {
        writer.send(&to, &["aborted", "aborted too"]);
        // Not at once, so that they lie on the log where there is one apart.
        std::thread::sleep(STEP);
        writer.abort(broker);
        write_texts(broker, &to, &[&round.to_string()]);
    }
    assert_eq!(shown(broker, &to, 3), ["0", "1", "2"]);
}

pub(crate) fn the_transaction_after_an_abort_holds_only_its_own(
    broker: &dyn Broker,
    fresh: &Fresh,
) {
    let to = at(&topic(broker, fresh, "t", 1), 0);
    let mut writer = Writer::start(broker, fresh);
    writer.send(&to, &["aborted"]);
    writer.producer.abort().expect("aborted");
    // It costs no new producer.
    assert!(!writer.producer.is_tainted());
    writer.send(&to, &["kept"]);
    ends_of(writer.commit());
    writer.send(&to, &["aborted again"]);
    writer.abort(broker);
    writer.send(&to, &["kept as well"]);
    ends_of(writer.commit());
    assert_eq!(shown(broker, &to, 2), ["kept", "kept as well"]);
}

/// Aborts meet the transaction at every stage, and what comes next is taken at once.
pub(crate) fn many_aborts_in_a_row_leave_nothing_behind(broker: &dyn Broker, fresh: &Fresh) {
    const ROUNDS: u64 = 100;
    let to = at(&topic(broker, fresh, "t", 1), 0);
    let mut writer = Writer::start(broker, fresh);
    for round in 0..ROUNDS {
        writer.send(&to, &["aborted"]);
        std::thread::sleep(Duration::from_millis(round % 10));
        writer.abort(broker);
    }
    writer.send(&to, &["kept"]);
    ends_of(writer.commit());
    assert_eq!(shown(broker, &to, 1), ["kept"]);
}

pub(crate) fn an_abort_of_nothing_is_fine(broker: &dyn Broker, fresh: &Fresh) {
    let to = at(&topic(broker, fresh, "t", 1), 0);
    let mut writer = Writer::start(broker, fresh);
    writer.abort(broker);
    writer.abort(broker);
    writer.send(&to, &["kept"]);
    ends_of(writer.commit());
    writer.abort(broker);
    assert_eq!(shown(broker, &to, 1), ["kept"]);
}

pub(crate) fn a_commit_of_nothing_holds(broker: &dyn Broker, fresh: &Fresh) {
    let to = at(&topic(broker, fresh, "t", 1), 0);
    let mut writer = Writer::start(broker, fresh);
    assert_eq!(ends_of(writer.commit()), [0_u64; 0]);
    writer.send(&to, &["kept"]);
    ends_of(writer.commit());
    ends_of(writer.commit());
    assert_eq!(shown(broker, &to, 1), ["kept"]);
}

pub(crate) fn every_field_survives_a_transaction(broker: &dyn Broker, fresh: &Fresh) {
    let to = topic(broker, fresh, "t", 1);
    let mut writer = Writer::start(broker, fresh);
    let headers = [("h", Some(&b"\0\xff"[..])), ("null", None), ("h", Some(&b""[..]))];
    let full = Outgoing { timestamp: 1_488_326_400_123, headers: &headers, ..record(&to, 0, "x") };
    let bare = Outgoing { key: None, value: None, headers: &[], ..full };
    let empty = Outgoing { key: Some(b""), value: Some(b""), headers: &[], ..full };
    for record in [full, bare, empty] {
        writer.producer.send(record).expect("taken");
    }
    ends_of(writer.commit());
    assert_eq!(
        until("the commit shows", || {
            let end = end(broker, &at(&to, 0), COMMITTED);
            (end >= 3).then_some(3)
        }),
        3
    );
    let seen = read(broker, &at(&to, 0), 0, COMMITTED);
    let fields: Vec<_> = seen.iter().map(|s| (s.key.as_deref(), s.value.as_deref())).collect();
    let x = Some(&b"x"[..]);
    assert_eq!(fields, [(x, x), (None, None), (Some(&b""[..]), Some(&b""[..]))]);
    assert!(seen.iter().all(|s| s.timestamp == full.timestamp));
    let got: Vec<_> = seen[0].headers.iter().map(|(n, v)| (n.as_str(), v.as_deref())).collect();
    assert_eq!(got, headers);
    assert!(seen[1].headers.is_empty());
}

pub(crate) fn a_large_transaction_holds_whole(broker: &dyn Broker, fresh: &Fresh) {
    let to = topic(broker, fresh, "t", 2);
    let mut writer = Writer::start(broker, fresh);
    let numbers: Vec<String> = (0..20_000).map(|n| n.to_string()).collect();
    for (n, text) in (0_u32..).zip(&numbers) {
        writer.producer.send(record(&to, n % 2, text)).expect("taken");
    }
    ends_of(writer.commit());
    for partition in 0..2 {
        let seen = shown(broker, &at(&to, partition), 10_000);
        let sent: Vec<_> = numbers.iter().skip(partition as usize).step_by(2).collect();
        assert!(seen.iter().eq(sent), "partition {partition} holds something else");
    }
}

pub(crate) fn a_transaction_is_read_from_any_of_its_records(broker: &dyn Broker, fresh: &Fresh) {
    let to = at(&topic(broker, fresh, "t", 1), 0);
    let mut writer = Writer::start(broker, fresh);
    // However they are gathered on their way: more than one fits, and not all.
    let sent: Vec<String> = (0..12).map(|n| format!("{n:05000}")).collect();
    writer.send(&to, &sent.iter().map(String::as_str).collect::<Vec<_>>());
    ends_of(writer.commit());
    shown(broker, &to, sent.len());
    for offset in 0..sent.len() {
        let seen = read(broker, &to, offset as u64, COMMITTED);
        assert!(texts(&seen) == sent[offset..], "from offset {offset} it reads something else");
        assert_eq!(seen[0].offset, offset as u64);
    }
}

pub(crate) fn transactions_of_two_producers_interleave(broker: &dyn Broker, fresh: &Fresh) {
    let to = at(&topic(broker, fresh, "t", 1), 0);
    let mut one = Writer::named(broker, fresh, "one");
    let mut two = Writer::named(broker, fresh, "two");
    one.send(&to, &["one-a"]);
    two.send(&to, &["two-a"]);
    one.send(&to, &["one-b"]);
    two.send(&to, &["two-b"]);
    std::thread::sleep(STEP);
    two.abort(broker);
    two.send(&to, &["two-c"]);
    ends_of(two.commit());
    ends_of(one.commit());
    let mut seen = shown(broker, &to, 3);
    seen.sort();
    assert_eq!(seen, ["one-a", "one-b", "two-c"]);
}

pub(crate) fn transactions_of_many_threads_keep_their_order(broker: &dyn Broker, fresh: &Fresh) {
    const THREADS: u32 = 4;
    const ROUNDS: usize = 15;
    // One partition for each, and one for all.
    let to = topic(broker, fresh, "t", THREADS + 1);
    let writers: Vec<_> =
        (0..THREADS).map(|n| Writer::named(broker, fresh, &format!("w{n}"))).collect();
    let text = |thread: u32, round: usize| format!("{thread} {round}");
    std::thread::scope(|scope| {
        for (thread, mut writer) in (0..).zip(writers) {
            let (own, all) = (at(&to, thread), at(&to, THREADS));
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let text = text(thread, round);
                    writer.send(&own, &[&text, &text]);
                    writer.send(&all, &[&text]);
                    ends_of(writer.commit());
                }
            });
        }
    });
    let all = shown(broker, &at(&to, THREADS), THREADS as usize * ROUNDS);
    for thread in 0..THREADS {
        let own = shown(broker, &at(&to, thread), 2 * ROUNDS);
        assert!(own.iter().eq((0..2 * ROUNDS).map(|n| &own[n / 2 * 2])), "{own:?}");
        let expected: Vec<_> = (0..ROUNDS).map(|round| text(thread, round)).collect();
        let sent = |texts: &[String], step: usize| -> Vec<String> {
            let mine = format!("{thread} ");
            texts.iter().filter(|t| t.starts_with(&mine)).step_by(step).cloned().collect()
        };
        assert_eq!(sent(&own, 2), expected);
        assert_eq!(sent(&all, 1), expected);
    }
}

pub(crate) fn the_ends_lie_behind_the_transaction(broker: &dyn Broker, fresh: &Fresh) {
    let ledger = topic(broker, fresh, "ledger", 2);
    let other = topic(broker, fresh, "other", 1);
    let mut writer = Writer::start(broker, fresh);
    write_texts(broker, &at(&ledger, 0), &["foreign"]);
    let backing = [at(&ledger, 1), at(&other, 0), at(&ledger, 0)];
    for round in ["first", "second"] {
        writer.send(&backing[0], &[round, round]);
        writer.send(&backing[2], &[round]);
        let membership = writer.member.consumer.membership();
        let ends = ends_of(commit(&mut *writer.producer, &[], &membership, &backing));
        assert_eq!(ends.len(), 3, "one for each, in their order");
        assert_eq!(ends[1], 0, "nothing was written there");
        for (at, &end_told) in backing.iter().zip(&ends) {
            // The markers may still be on their way.
            until("the transaction is settled", || {
                (end(broker, at, COMMITTED) == end(broker, at, UNCOMMITTED)).then_some(())
            });
            assert!(end_told <= end(broker, at, UNCOMMITTED));
            assert!(read(broker, at, end_told, COMMITTED).is_empty(), "{at} from {end_told}");
            let below = read(broker, at, 0, COMMITTED);
            assert!(below.iter().all(|s| s.offset < end_told), "{at}: {end_told}");
        }
    }
    assert_eq!(shown(broker, &backing[0], 4), ["first", "first", "second", "second"]);
}

/// A record that the broker will not take is refused when it is sent, or aborts the transaction.
fn refused(broker: &dyn Broker, fresh: &Fresh, bad: Outgoing<'_>) {
    let other = at(&topic(broker, fresh, "other", 1), 0);
    let to = at(bad.topic, bad.partition);
    let mut writer = Writer::start(broker, fresh);
    writer.send(&other, &["with the bad one"]);
    match writer.producer.send(bad) {
        Err(error) => assert!(matches!(error, BrokerError::Refused { .. }), "{error}"),
        Ok(()) => {
            let status = writer.commit();
            let CommitStatus::Aborted { cause } = status else { panic!("{status:?}") };
            assert!(matches!(cause, BrokerError::Refused { .. }), "{cause}");
        }
    }
    writer.abort(broker);
    writer.send(&other, &["next"]);
    writer.send(&to, &["next"]);
    ends_of(writer.commit());
    for place in [&other, &to] {
        assert_eq!(shown(broker, place, 1), ["next"], "{place}");
    }
}

pub(crate) fn a_refused_record_aborts_the_transaction(broker: &dyn Broker, fresh: &Fresh) {
    let to = topic_with(broker, fresh, "t", 1, CleanupPolicy::Compact, None);
    refused(broker, fresh, Outgoing { key: None, ..record(&to, 0, "no key") });
}

pub(crate) fn a_record_stamped_too_far_ahead_aborts_the_transaction(
    broker: &dyn Broker,
    fresh: &Fresh,
) {
    let to = topic_with(broker, fresh, "t", 1, KEPT, Some(60_000));
    let timestamp = now().wall_ms + 3_600_000;
    refused(broker, fresh, Outgoing { timestamp, ..record(&to, 0, "ahead") });
}

pub(crate) fn at_least_once_needs_no_transaction(broker: &dyn Broker, fresh: &Fresh) {
    let to = topic(broker, fresh, "t", 2);
    let mut producer = broker.producer(ProducerMode::AtLeastOnce).expect("a producer");
    until("the producer is ready", || producer.poll_ready().expect("ready").then_some(()));
    for round in 1_u64..=2 {
        for n in 0..10 {
            producer.send(record(&to, n % 2, "x")).expect("taken");
        }
        let group = fresh.name("group");
        let member = Member::join(broker, &group, "one", &[&to]).consumer.membership();
        let backing = [at(&to, 0)];
        let ends = ends_of(commit(&mut *producer, &[], &member, &backing));
        assert_eq!(ends, [5 * round]);
        let partitions = [at(&to, 0), at(&to, 1)];
        let there = broker.offsets(&partitions, OffsetSpec::End(COMMITTED)).expect("offsets");
        assert_eq!(there, [5 * round, 5 * round], "written when the commit holds");
    }
}
