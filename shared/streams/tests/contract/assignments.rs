//! What a member reads of its partitions.

use std::time::{Duration, Instant};

use bps_streams::broker::{Broker, BrokerError, GroupEvent, TopicPartition};
use bps_streams::record::Batch;

use crate::harness::{
    COMMITTED, Fresh, Member, STEP, Writer, at, end, ends_of, now, take, texts, topic, until,
    write_texts,
};

/// A topic of two partitions, each with the texts 0 to 4, and its only member.
fn member(broker: &dyn Broker, fresh: &Fresh) -> (Member, [TopicPartition; 2]) {
    let topic = topic(broker, fresh, "t", 2);
    let partitions = [at(&topic, 0), at(&topic, 1)];
    for at in &partitions {
        write_texts(broker, at, &["0", "1", "2", "3", "4"]);
    }
    let mut member = Member::join(broker, &fresh.name("group"), "one", &[&topic]);
    member.assigned();
    (member, partitions)
}

pub(crate) fn records_come_from_the_offset_assigned(broker: &dyn Broker, fresh: &Fresh) {
    let (mut member, [zero, one]) = member(broker, fresh);
    // The slot is the place in this list, whatever the number of the partition.
    member.consumer.assign(&[(one, 3), (zero, 1)]).expect("an assignment");
    let (seen, position) = member.fetch(0, 2);
    assert_eq!((texts(&seen), position), (vec!["3".to_owned(), "4".to_owned()], 5));
    let (seen, position) = member.fetch(1, 4);
    assert_eq!(seen.iter().map(|s| s.offset).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(position, 5);
}

pub(crate) fn assigning_again_reads_again(broker: &dyn Broker, fresh: &Fresh) {
    let (mut member, [zero, _]) = member(broker, fresh);
    for from in [0, 2, 0, 4] {
        member.consumer.assign(&[(zero.clone(), from)]).expect("an assignment");
        let (seen, position) = member.fetch(0, 5 - from as usize);
        let offsets: Vec<u64> = seen.iter().map(|s| s.offset).collect();
        assert_eq!((offsets, position), ((from..5).collect(), 5), "from {from}");
    }
}

/// As a worker does whose tasks become ready one right after the other.
pub(crate) fn assignments_may_follow_at_once(broker: &dyn Broker, fresh: &Fresh) {
    let (mut member, [zero, one]) = member(broker, fresh);
    for n in 0..1_000 {
        let from = n % 5;
        member.consumer.assign(&[(zero.clone(), from)]).expect("a part");
        member.consumer.assign(&[(zero.clone(), from), (one.clone(), 4)]).expect("all");
        if n % 100 == 0 {
            let (seen, _) = member.fetch(0, 5 - from as usize);
            assert_eq!(seen.iter().map(|s| s.offset).collect::<Vec<_>>(), Vec::from_iter(from..5));
        }
    }
    assert_eq!(texts(&member.fetch(1, 1).0), ["4"]);
}

pub(crate) fn only_what_is_assigned_is_read(broker: &dyn Broker, fresh: &Fresh) {
    let (mut member, [zero, one]) = member(broker, fresh);
    member.consumer.assign(&[(zero.clone(), 0), (one.clone(), 0)]).expect("an assignment");
    member.fetch(0, 1);
    member.consumer.assign(&[(one.clone(), 4)]).expect("a part of it");
    let (seen, _) = member.fetch(0, 1);
    assert_eq!(texts(&seen), ["4"]);
    member.consumer.assign(&[]).expect("nothing for now");
    assert_eq!(member.poll(), GroupEvent::None);
    write_texts(broker, &zero, &["5"]);
    member.consumer.assign(&[(one, 5), (zero, 5)]).expect("all again");
    let (seen, _) = member.fetch(1, 1);
    assert_eq!(texts(&seen), ["5"]);
}

pub(crate) fn an_empty_partition_gives_its_position(broker: &dyn Broker, fresh: &Fresh) {
    let (mut member, [zero, _]) = member(broker, fresh);
    let empty = at(&topic(broker, fresh, "empty", 1), 0);
    let mut other = Member::join(broker, &fresh.name("other"), "one", &[&empty.topic]);
    other.assigned();
    // One that never had a record, and one that is read already.
    other.consumer.assign(&[(empty, 0)]).expect("an assignment");
    member.consumer.assign(&[(zero, 5)]).expect("an assignment");
    let mut batch = Batch::default();
    for _ in 0..5 {
        for (member, position) in [(&mut other, 0), (&mut member, 5)] {
            assert_eq!(member.poll(), GroupEvent::None);
            let fetched = member.consumer.fetch(0, 1_000, &mut batch).expect("a fetch");
            assert_eq!((fetched, batch.len()), (position, 0));
        }
    }
}

pub(crate) fn the_position_passes_the_end_of_transactions(broker: &dyn Broker, fresh: &Fresh) {
    let to = at(&topic(broker, fresh, "t", 1), 0);
    let mut writer = Writer::start(broker, fresh);
    for _ in 0..3 {
        writer.send(&to, &["kept"]);
        ends_of(writer.commit());
        writer.send(&to, &["aborted"]);
        std::thread::sleep(STEP);
        writer.abort(broker);
    }
    let mut member = Member::join(broker, &fresh.name("readers"), "one", &[&to.topic]);
    member.assigned();
    member.consumer.assign(&[(to.clone(), 0)]).expect("an assignment");
    let (mut batch, mut seen) = (Batch::default(), Vec::new());
    until("the position reaches the end", || {
        member.poll();
        let position = member.consumer.fetch(0, 10_000, &mut batch).expect("a fetch");
        seen.extend(texts(&take(&mut batch)));
        (position >= end(broker, &to, COMMITTED) && seen.len() >= 3).then_some(())
    });
    assert_eq!(seen, ["kept", "kept", "kept"]);
}

pub(crate) fn a_member_sees_no_open_and_no_aborted_record(broker: &dyn Broker, fresh: &Fresh) {
    let (mut member, [zero, _]) = member(broker, fresh);
    let mut writer = Writer::start(broker, fresh);
    member.consumer.assign(&[(zero.clone(), 5)]).expect("an assignment");
    let mut batch = Batch::default();
    let mut nothing = |member: &mut Member| {
        for _ in 0..15 {
            assert_eq!(member.poll(), GroupEvent::None);
            member.consumer.fetch(0, 1_000, &mut batch).expect("a fetch");
            assert!(batch.is_empty(), "{:?}", take(&mut batch));
        }
    };
    writer.send(&zero, &["aborted"]);
    nothing(&mut member);
    writer.abort(broker);
    nothing(&mut member);
    writer.send(&zero, &["open"]);
    nothing(&mut member);
    ends_of(writer.commit());
    let (seen, _) = member.fetch(0, 1);
    assert_eq!(texts(&seen), ["open"]);
}

pub(crate) fn a_poll_is_woken_by_a_record(broker: &dyn Broker, fresh: &Fresh) {
    let (mut member, [zero, one]) = member(broker, fresh);
    member.consumer.assign(&[(one, 5), (zero.clone(), 5)]).expect("an assignment");
    let mut batch = Batch::default();
    let started = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(300));
            write_texts(broker, &zero, &["new"]);
        });
        until("the new record", || {
            member.consumer.poll(now(), Duration::from_secs(60)).expect("a poll");
            member.consumer.fetch(1, 1_000, &mut batch).expect("a fetch");
            (!batch.is_empty()).then_some(())
        });
    });
    assert!(started.elapsed() < Duration::from_secs(30), "the poll was not cut short");
    assert_eq!(texts(&take(&mut batch)), ["new"]);
}

pub(crate) fn a_position_beyond_the_end_is_out_of_range(broker: &dyn Broker, fresh: &Fresh) {
    let (mut member, [zero, one]) = member(broker, fresh);
    member.consumer.assign(&[(one, 0), (zero.clone(), 77)]).expect("an assignment");
    let mut batch = Batch::default();
    let error = until("an error", || {
        member.poll();
        member.consumer.fetch(1, 1_000, &mut batch).err()
    });
    let BrokerError::OffsetOutOfRange { partition, offset, start, end } = &error else {
        panic!("{error}");
    };
    assert_eq!((partition, *offset, *start, *end), (&zero, 77, 0, 5));
    let (seen, _) = member.fetch(0, 5);
    assert_eq!(seen.len(), 5, "the other slot goes on");
}
