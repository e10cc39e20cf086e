//! Groups: who has which partitions, and when.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bps_streams::broker::{Broker, ConsumerOptions, GroupEvent, Now, TopicPartition};

use crate::harness::{
    Fresh, Member, SESSION_MS, STEP, at, commit, committed, ends_of, offset_commit, producer,
    topic, until,
};

/// Polls all until every one has been assigned something since; what each has then, sorted.
#[track_caller]
fn settle<const N: usize>(members: [&mut Member; N]) -> [Vec<TopicPartition>; N] {
    let mut members = members;
    let mut assigned = [false; N];
    until("every member is assigned", || {
        for (member, assigned) in members.iter_mut().zip(&mut assigned) {
            match member.poll() {
                GroupEvent::None => {}
                GroupEvent::Assigned(_) => *assigned = true,
                GroupEvent::Revoking | GroupEvent::Lost => *assigned = false,
            }
        }
        assigned.iter().all(|a| *a).then_some(())
    });
    members.map(|m| m.owned.clone())
}

fn numbers(of: &[TopicPartition], topic: &str) -> Vec<u32> {
    of.iter().filter(|at| at.topic == topic).map(|at| at.partition).collect()
}

pub(crate) fn a_member_alone_gets_every_partition(broker: &dyn Broker, fresh: &Fresh) {
    let (a, b) = (topic(broker, fresh, "a", 3), topic(broker, fresh, "b", 3));
    let mut member = Member::join(broker, &fresh.name("group"), "one", &[&b, &a]);
    let all = [at(&a, 0), at(&a, 1), at(&a, 2), at(&b, 0), at(&b, 1), at(&b, 2)];
    assert_eq!(member.assigned(), all);
}

pub(crate) fn two_members_split_and_topics_stay_together(broker: &dyn Broker, fresh: &Fresh) {
    let (a, b) = (topic(broker, fresh, "a", 5), topic(broker, fresh, "b", 5));
    let group = fresh.name("group");
    let mut one = Member::join(broker, &group, "one", &[&a, &b]);
    one.assigned();
    let mut two = Member::join(broker, &group, "two", &[&a, &b]);
    let shares = settle([&mut one, &mut two]);
    for share in &shares {
        assert_eq!(numbers(share, &a), numbers(share, &b), "co-partitioned");
        assert!([2, 3].contains(&numbers(share, &a).len()), "about half: {share:?}");
    }
    let all: BTreeSet<_> = shares.concat().into_iter().collect();
    assert_eq!((all.len(), shares.concat().len()), (10, 10), "each partition once");
}

pub(crate) fn a_member_too_many_is_assigned_nothing(broker: &dyn Broker, fresh: &Fresh) {
    let t = topic(broker, fresh, "t", 1);
    let group = fresh.name("group");
    let mut one = Member::join(broker, &group, "one", &[&t]);
    one.assigned();
    let mut two = Member::join(broker, &group, "two", &[&t]);
    let mut shares = settle([&mut one, &mut two]);
    shares.sort();
    assert_eq!(shares, [vec![], vec![at(&t, 0)]]);
}

pub(crate) fn groups_do_not_share_partitions(broker: &dyn Broker, fresh: &Fresh) {
    let t = topic(broker, fresh, "t", 2);
    let mut one = Member::join(broker, &fresh.name("a"), "one", &[&t]);
    let mut two = Member::join(broker, &fresh.name("b"), "one", &[&t]);
    let all = [at(&t, 0), at(&t, 1)];
    assert_eq!((one.assigned(), two.assigned()), (all.to_vec(), all.to_vec()));
}

pub(crate) fn what_is_revoked_can_be_committed_before_it_goes(broker: &dyn Broker, fresh: &Fresh) {
    let t = topic(broker, fresh, "t", 2);
    let group = fresh.name("group");
    let mut one = Member::join(broker, &group, "one", &[&t]);
    let all = one.assigned();
    let mut producer = producer(broker, &fresh.name("id"));
    let mut two = Member::join(broker, &group, "two", &[&t]);
    let poll_one = |one: &mut Member| one.consumer.poll(crate::harness::now(), STEP);
    until("the revocation", || {
        assert_eq!(two.poll(), GroupEvent::None, "assigned before the other has released");
        match poll_one(&mut one).expect("a poll") {
            GroupEvent::None => None,
            event => {
                assert_eq!(event, GroupEvent::Revoking);
                Some(())
            }
        }
    });
    for _ in 0..10 {
        assert_eq!(two.poll(), GroupEvent::None, "assigned before the other has released");
    }
    let offsets: Vec<_> = all.iter().map(|at| offset_commit(at, 7, "handed over")).collect();
    let membership = one.consumer.membership();
    ends_of(commit(&mut *producer, &offsets, &membership, &[]));
    one.owned.clear();
    one.consumer.release().expect("released");
    let shares = settle([&mut one, &mut two]);
    assert_eq!((shares[0].len(), shares[1].len()), (1, 1));
    for at in &shares[1] {
        let found = committed(broker, &group, at);
        assert_eq!(found, Some((7, "handed over".to_owned())));
    }
}

pub(crate) fn each_rebalance_is_a_new_generation(broker: &dyn Broker, fresh: &Fresh) {
    let t = topic(broker, fresh, "t", 2);
    let group = fresh.name("group");
    let mut one = Member::join(broker, &group, "one", &[&t]);
    assert_eq!(one.consumer.membership().generation, None);
    one.assigned();
    let first = one.consumer.membership();
    assert!(first.is_same(&one.consumer.membership()));
    assert!(first.generation.is_some());
    one.poll();
    assert!(first.is_same(&one.consumer.membership()), "nothing has happened");
    let mut two = Member::join(broker, &group, "two", &[&t]);
    settle([&mut one, &mut two]);
    let second = one.consumer.membership();
    assert!(second.generation > first.generation, "{second:?} after {first:?}");
    assert!(!second.is_same(&first));
    assert!(!second.is_same(&two.consumer.membership()), "they are two");
}

pub(crate) fn leaving_hands_over_at_once(broker: &dyn Broker, fresh: &Fresh) {
    let t = topic(broker, fresh, "t", 4);
    let group = fresh.name("group");
    let mut one = Member::join(broker, &group, "one", &[&t]);
    one.assigned();
    let mut two = Member::join(broker, &group, "two", &[&t]);
    settle([&mut one, &mut two]);
    let started = Instant::now();
    one.leave();
    drop(one);
    settle([&mut two]);
    assert_eq!(two.owned.len(), 4);
    let session = Duration::from_millis(SESSION_MS);
    assert!(started.elapsed() < session, "the session was waited for");
}

pub(crate) fn an_instance_that_comes_back_finds_its_partitions(broker: &dyn Broker, fresh: &Fresh) {
    let t = topic(broker, fresh, "t", 4);
    let group = fresh.name("group");
    let mut one = Member::join(broker, &group, "one", &[&t]);
    one.assigned();
    let mut two = Member::join(broker, &group, "two", &[&t]);
    let [first, second] = settle([&mut one, &mut two]);
    let started = Instant::now();
    drop(one);
    let mut again = Member::join(broker, &group, "one", &[&t]);
    until("the old share", || {
        again.poll();
        two.poll();
        (again.owned == first && two.owned == second).then_some(())
    });
    let session = Duration::from_millis(SESSION_MS);
    assert!(started.elapsed() < session, "the session was waited for");
}

pub(crate) fn a_silent_member_loses_its_partitions(broker: &dyn Broker, fresh: &Fresh) {
    let t = topic(broker, fresh, "t", 2);
    let group = fresh.name("group");
    let mut members = ["one", "two"].map(|instance| {
        let options = ConsumerOptions {
            group: group.clone(),
            instance: instance.to_owned(),
            topics: vec![t.clone()],
            partitions: 2,
            session_timeout_ms: 1_000,
        };
        broker.consumer(options).expect("a consumer")
    });
    // Time is what the rows say: nothing here waits.
    let mut poll = |member: usize, monotonic_ms: u64| {
        let now = Now { monotonic_ms, wall_ms: 0 };
        let member = &mut members[member];
        let event = member.poll(now, Duration::ZERO).expect("a poll");
        match &event {
            GroupEvent::Assigned(_) => member.assign(&[]).expect("an assignment"),
            GroupEvent::Revoking | GroupEvent::Lost => member.release().expect("a release"),
            GroupEvent::None => {}
        }
        event
    };
    assert_eq!(poll(0, 0), GroupEvent::Assigned(vec![at(&t, 0), at(&t, 1)]));
    assert_eq!(poll(1, 0), GroupEvent::None);
    assert_eq!(poll(0, 0), GroupEvent::Revoking);
    assert_eq!(poll(0, 0), GroupEvent::Assigned(vec![at(&t, 0)]));
    assert_eq!(poll(1, 0), GroupEvent::Assigned(vec![at(&t, 1)]));
    assert_eq!(poll(0, 1_000), GroupEvent::None, "the other's session is not over yet");
    assert_eq!(poll(0, 1_001), GroupEvent::Revoking);
    assert_eq!(poll(0, 1_001), GroupEvent::Assigned(vec![at(&t, 0), at(&t, 1)]));
    assert_eq!(poll(1, 1_001), GroupEvent::Lost);
    // Having released, it is a new member.
    assert_eq!(poll(1, 1_001), GroupEvent::None);
    assert_eq!(poll(0, 1_002), GroupEvent::Revoking);
    assert_eq!(poll(1, 1_002), GroupEvent::Assigned(vec![at(&t, 1)]));
}
