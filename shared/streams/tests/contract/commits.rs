//! Offsets of groups: committed with a transaction or beside one, by whom and by whom not.

use bps_streams::broker::{Broker, CommitStatus, GroupEvent};

use crate::harness::{
    COMMITTED, Fresh, Member, Writer, at, commit, committed, ends_of, offset_commit, producer,
    read, record, shown, topic, until,
};

pub(crate) fn offsets_come_with_the_transaction(broker: &dyn Broker, fresh: &Fresh) {
    let to = at(&topic(broker, fresh, "t", 1), 0);
    let mut writer = Writer::start(broker, fresh);
    writer.send(&to, &["result"]);
    assert_eq!(committed(broker, &writer.group, &writer.input), None);
    let metadata = "v1:7:42:1488326400123 größe";
    ends_of(writer.commit_at(5, metadata));
    let found = committed(broker, &writer.group, &writer.input);
    assert_eq!(found, Some((5, metadata.to_owned())));
    assert_eq!(shown(broker, &to, 1), ["result"]);
}

pub(crate) fn offsets_alone_make_a_transaction(broker: &dyn Broker, fresh: &Fresh) {
    let mut writer = Writer::start(broker, fresh);
    ends_of(writer.commit_at(0, "at the very start"));
    let found = committed(broker, &writer.group, &writer.input);
    assert_eq!(found, Some((0, "at the very start".to_owned())));
    ends_of(writer.commit_at(3, ""));
    assert_eq!(committed(broker, &writer.group, &writer.input), Some((3, String::new())));
}

pub(crate) fn what_was_committed_before_an_open_transaction_is_told_at_once(
    broker: &dyn Broker,
    fresh: &Fresh,
) {
    let mut writer = Writer::start(broker, fresh);
    ends_of(writer.commit_at(1, "first"));
    assert_eq!(committed(broker, &writer.group, &writer.input), Some((1, "first".to_owned())));
    let so_far = |writer: &Writer| {
        let answer = broker.committed_so_far(&writer.group, std::slice::from_ref(&writer.input));
        answer.expect("an answer")[0].clone().map(|c| (c.offset, c.metadata))
    };
    let membership = writer.member.consumer.membership();
    let offsets = [offset_commit(&writer.input, 2, "second")];
    writer.producer.start_commit(&offsets, &membership, &[]).expect("started");
    // One that has no time between the question and the outcome holds already.
    let before = so_far(&writer);
    let either = [Some((1, "first".to_owned())), Some((2, "second".to_owned()))];
    assert!(either.contains(&before), "{before:?}");
    ends_of(until("the commit is decided", || match writer.producer.poll_commit() {
        CommitStatus::Pending => None,
        status => Some(status),
    }));
    assert_eq!(committed(broker, &writer.group, &writer.input), either[1]);
    assert_eq!(so_far(&writer), either[1]);
}

pub(crate) fn an_aborted_transaction_commits_no_offset(broker: &dyn Broker, fresh: &Fresh) {
    let to = at(&topic(broker, fresh, "t", 1), 0);
    let mut writer = Writer::start(broker, fresh);
    ends_of(writer.commit_at(1, "kept"));
    // Another member joins, so that the offsets of the next commit are refused.
    let stale = writer.member.consumer.membership();
    let mut other = Member::join(broker, &writer.group, "other", &[&writer.input.topic]);
    until("the rebalance", || {
        other.poll();
        matches!(writer.member.poll(), GroupEvent::Assigned(_)).then_some(())
    });
    writer.send(&to, &["aborted"]);
    let offsets = [offset_commit(&writer.input, 9, "aborted")];
    let status = commit(&mut *writer.producer, &offsets, &stale, &[]);
    assert!(matches!(status, CommitStatus::Aborted { .. }), "{status:?}");
    writer.abort(broker);
    let found = committed(broker, &writer.group, &writer.input);
    assert_eq!(found, Some((1, "kept".to_owned())));
}

pub(crate) fn a_later_offset_replaces_an_earlier_one(broker: &dyn Broker, fresh: &Fresh) {
    let inputs = topic(broker, fresh, "inputs", 3);
    let group = fresh.name("group");
    let mut member = Member::join(broker, &group, "one", &[&inputs]);
    member.assigned();
    let mut producer = producer(broker, &fresh.name("id"));
    let mut put = |rows: &[(u32, u64, &str)]| {
        let row =
            |(p, offset, text): &(u32, u64, &str)| offset_commit(&at(&inputs, *p), *offset, text);
        let offsets: Vec<_> = rows.iter().map(row).collect();
        let membership = member.consumer.membership();
        ends_of(commit(&mut *producer, &offsets, &membership, &[]));
    };
    put(&[(0, 10, "a"), (1, 20, "b")]);
    // Backwards is allowed: who reads again commits again.
    put(&[(1, 15, "c"), (0, 11, "d")]);
    let asked = [at(&inputs, 1), at(&inputs, 2), at(&inputs, 0)];
    let found = broker.committed(&group, &asked).expect("an answer");
    let found: Vec<_> = found.into_iter().map(|c| c.map(|c| (c.offset, c.metadata))).collect();
    assert_eq!(found, [Some((15, "c".to_owned())), None, Some((11, "d".to_owned()))]);
}

pub(crate) fn a_member_without_assignment_cannot_commit(broker: &dyn Broker, fresh: &Fresh) {
    let input = topic(broker, fresh, "input", 1);
    let to = at(&topic(broker, fresh, "t", 1), 0);
    let group = fresh.name("group");
    let member = Member::join(broker, &group, "one", &[&input]);
    let membership = member.consumer.membership();
    assert_eq!(membership.generation, None);
    assert_eq!(membership.group, group);
    let mut producer = producer(broker, &fresh.name("id"));
    producer.send(record(&to.topic, 0, "aborted")).expect("taken");
    let offsets = [offset_commit(&at(&input, 0), 1, "")];
    let status = commit(&mut *producer, &offsets, &membership, &[]);
    assert!(matches!(status, CommitStatus::Aborted { .. }), "{status:?}");
    producer.abort().expect("aborted");
    assert_eq!(committed(broker, &group, &at(&input, 0)), None);
    assert!(read(broker, &to, 0, COMMITTED).is_empty());
}

pub(crate) fn a_stale_member_cannot_commit(broker: &dyn Broker, fresh: &Fresh) {
    let to = at(&topic(broker, fresh, "t", 1), 0);
    let mut writer = Writer::start(broker, fresh);
    let stale = writer.member.consumer.membership();
    let mut other = Member::join(broker, &writer.group, "other", &[&writer.input.topic]);
    until("the rebalance", || {
        other.poll();
        matches!(writer.member.poll(), GroupEvent::Assigned(_)).then_some(())
    });
    writer.send(&to, &["of a stale member"]);
    let offsets = [offset_commit(&writer.input, 9, "stale")];
    let status = commit(&mut *writer.producer, &offsets, &stale, &[]);
    assert!(matches!(status, CommitStatus::Aborted { .. }), "{status:?}");
    writer.abort(broker);
    assert_eq!(committed(broker, &writer.group, &writer.input), None);
    // The same producer, for the member as it is now.
    writer.send(&to, &["of the member as it is"]);
    ends_of(writer.commit_at(9, "fresh"));
    assert_eq!(shown(broker, &to, 1), ["of the member as it is"]);
    let found = committed(broker, &writer.group, &writer.input);
    assert_eq!(found, Some((9, "fresh".to_owned())));
}

pub(crate) fn a_member_commits_outside_of_transactions(broker: &dyn Broker, fresh: &Fresh) {
    let input = topic(broker, fresh, "input", 2);
    let group = fresh.name("group");
    let mut member = Member::join(broker, &group, "one", &[&input]);
    member.assigned();
    for offset in [3, 4] {
        let offsets = [offset_commit(&at(&input, 1), offset, "beside")];
        member.consumer.commit(&offsets).expect("committed");
        let found = committed(broker, &group, &at(&input, 1));
        assert_eq!(found, Some((offset, "beside".to_owned())));
    }
    assert_eq!(committed(broker, &group, &at(&input, 0)), None);
}

pub(crate) fn a_member_that_left_cannot_commit(broker: &dyn Broker, fresh: &Fresh) {
    let mut writer = Writer::start(broker, fresh);
    let left = writer.member.consumer.membership();
    writer.member.leave();
    let offsets = [offset_commit(&writer.input, 9, "left")];
    let status = commit(&mut *writer.producer, &offsets, &left, &[]);
    assert!(matches!(status, CommitStatus::Aborted { .. }), "{status:?}");
    writer.abort(broker);
    writer.member.consumer.commit(&offsets).expect_err("refused");
    assert_eq!(committed(broker, &writer.group, &writer.input), None);
}

pub(crate) fn groups_keep_their_offsets_apart(broker: &dyn Broker, fresh: &Fresh) {
    let input = topic(broker, fresh, "input", 1);
    let groups = ["a", "b"].map(|name| fresh.name(name));
    for (offset, group) in (1..).zip(&groups) {
        // The same instance in each: its name is the group's matter.
        let mut member = Member::join(broker, group, "one", &[&input]);
        member.assigned();
        let offsets = [offset_commit(&at(&input, 0), offset, group)];
        member.consumer.commit(&offsets).expect("committed");
    }
    for (offset, group) in (1..).zip(groups) {
        assert_eq!(committed(broker, &group, &at(&input, 0)), Some((offset, group.clone())));
    }
}

pub(crate) fn a_deleted_group_has_committed_nothing(broker: &dyn Broker, fresh: &Fresh) {
    let mut writer = Writer::start(broker, fresh);
    ends_of(writer.commit_at(5, "forgotten"));
    assert!(committed(broker, &writer.group, &writer.input).is_some());
    writer.member.leave();
    broker.delete_group(&writer.group).expect("nobody is in it");
    assert_eq!(committed(broker, &writer.group, &writer.input), None);
    broker.delete_group(&writer.group).expect("gone already");
    let mut again = Member::join(broker, &writer.group, "again", &[&writer.input.topic]);
    assert_eq!(again.assigned(), [writer.input]);
}

pub(crate) fn a_group_with_a_member_is_not_deleted(broker: &dyn Broker, fresh: &Fresh) {
    let mut writer = Writer::start(broker, fresh);
    ends_of(writer.commit_at(5, "kept"));
    let refused = broker.delete_group(&writer.group).expect_err("it has a member");
    assert!(!refused.is_unavailable(), "{refused}");
    let found = committed(broker, &writer.group, &writer.input);
    assert_eq!(found, Some((5, "kept".to_owned())));
    ends_of(writer.commit_at(6, "the member goes on"));
}
