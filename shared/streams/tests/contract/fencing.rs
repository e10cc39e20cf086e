//! Two of the same name: the later one lives.

use bps_streams::broker::{Broker, BrokerError, CommitStatus, Producer};

use crate::harness::{
    COMMITTED, Fresh, Member, STEP, UNCOMMITTED, Writer, at, commit, committed, end, ends_of, now,
    offset_commit, producer, record, shown, topic, until, write_texts,
};

/// A fenced producer may learn of it by any call, and holds nothing.
fn must_fail(producer: &mut dyn Producer, to: &str, writer: &Writer) {
    if let Err(error) = producer.send(record(to, 0, "of the fenced one")) {
        assert!(matches!(error, BrokerError::Fenced { .. }), "{error}");
        return;
    }
    let membership = writer.member.consumer.membership();
    let offsets = [offset_commit(&writer.input, 99, "of the fenced one")];
    let status = commit(producer, &offsets, &membership, &[]);
    assert!(!matches!(status, CommitStatus::Committed { .. }), "a zombie's commit holds");
}

pub(crate) fn a_second_producer_fences_the_first(broker: &dyn Broker, fresh: &Fresh) {
    let to = at(&topic(broker, fresh, "t", 1), 0);
    let mut writer = Writer::start(broker, fresh);
    // However often it has committed before.
    for commits in 0..3 {
        let held = at(&topic(broker, fresh, &format!("held-{commits}"), 1), 0);
        for _ in 0..commits {
            writer.send(&held, &["of the first"]);
            ends_of(writer.commit_at(1, "first"));
        }
        writer.send(&to, &["of the first"]);
        let second = producer(broker, &writer.id);
        let mut first = std::mem::replace(&mut writer.producer, second);
        must_fail(&mut *first, &to.topic, &writer);
        writer.send(&to, &["of the second"]);
        ends_of(writer.commit_at(1, "second"));
        assert_eq!(shown(broker, &to, commits + 1), vec!["of the second"; commits + 1]);
        assert_eq!(shown(broker, &held, commits), vec!["of the first"; commits]);
    }
}

pub(crate) fn a_fenced_producer_stays_fenced(broker: &dyn Broker, fresh: &Fresh) {
    let to = at(&topic(broker, fresh, "t", 1), 0);
    let mut writer = Writer::start(broker, fresh);
    let second = producer(broker, &writer.id);
    let mut first = std::mem::replace(&mut writer.producer, second);
    for _ in 0..3 {
        must_fail(&mut *first, &to.topic, &writer);
        // Whether that can be said to work is left open; what follows must not.
        drop(first.abort());
    }
    writer.send(&to, &["of the second"]);
    ends_of(writer.commit());
    assert_eq!(shown(broker, &to, 1), ["of the second"]);
}

pub(crate) fn offsets_of_a_fenced_producer_never_hold(broker: &dyn Broker, fresh: &Fresh) {
    let mut writer = Writer::start(broker, fresh);
    ends_of(writer.commit_at(1, "first"));
    let second = producer(broker, &writer.id);
    let mut first = std::mem::replace(&mut writer.producer, second);
    let membership = writer.member.consumer.membership();
    let offsets = [offset_commit(&writer.input, 99, "of the fenced one")];
    let status = commit(&mut *first, &offsets, &membership, &[]);
    assert!(!matches!(status, CommitStatus::Committed { .. }), "a zombie's commit holds");
    let found = committed(broker, &writer.group, &writer.input);
    assert_eq!(found, Some((1, "first".to_owned())));
    ends_of(writer.commit_at(2, "second"));
    let found = committed(broker, &writer.group, &writer.input);
    assert_eq!(found, Some((2, "second".to_owned())));
}

pub(crate) fn a_new_producer_ends_what_a_dead_one_left_open(broker: &dyn Broker, fresh: &Fresh) {
    let to = at(&topic(broker, fresh, "t", 1), 0);
    let mut writer = Writer::start(broker, fresh);
    let mut held = Vec::new();
    // By the first transaction of a producer, and by its second one.
    for n in ["1", "2"] {
        writer.send(&to, &["left open"]);
        // So that it lies on the log, where there is one apart.
        std::thread::sleep(10 * STEP);
        // What is after it is held back by it, until it is settled.
        write_texts(broker, &to, &["after"]);
        writer.producer = producer(broker, &writer.id);
        until("readers go on", || {
            (end(broker, &to, COMMITTED) == end(broker, &to, UNCOMMITTED)).then_some(())
        });
        held.push("after");
        assert_eq!(shown(broker, &to, held.len()), held);
        writer.send(&to, &[n]);
        ends_of(writer.commit());
        held.push(n);
        assert_eq!(shown(broker, &to, held.len()), held);
    }
}

pub(crate) fn other_ids_are_not_fenced(broker: &dyn Broker, fresh: &Fresh) {
    let to = at(&topic(broker, fresh, "t", 1), 0);
    let mut one = Writer::named(broker, fresh, "one");
    one.send(&to, &["one"]);
    let mut two = Writer::named(broker, fresh, "two");
    two.send(&to, &["two"]);
    ends_of(two.commit());
    ends_of(one.commit());
    let mut seen = shown(broker, &to, 2);
    seen.sort();
    assert_eq!(seen, ["one", "two"]);
}

pub(crate) fn a_second_member_of_an_instance_fences_the_first(broker: &dyn Broker, fresh: &Fresh) {
    let mut writer = Writer::start(broker, fresh);
    let topics = [writer.input.topic.as_str()];
    let mut second = Member::join(broker, &writer.group, &writer.id, &topics);
    assert_eq!(second.assigned(), [writer.input.clone()]);
    let error = until("the first hears of it", || {
        second.poll();
        writer.member.consumer.poll(now(), STEP).err()
    });
    assert!(matches!(error, BrokerError::Fenced { .. }), "{error}");
    let status = writer.commit_at(9, "of the first");
    assert!(!matches!(status, CommitStatus::Committed { .. }), "a zombie's commit holds");
    drop(writer.producer.abort());
    assert_eq!(committed(broker, &writer.group, &writer.input), None);
    let offsets = [offset_commit(&writer.input, 1, "of the second")];
    second.consumer.commit(&offsets).expect("committed");
}
