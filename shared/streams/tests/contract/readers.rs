//! Readers outside of any group.

use std::time::{Duration, Instant};

use bps_streams::Outgoing;
use bps_streams::broker::{Broker, BrokerError, TopicPartition};
use bps_streams::record::Batch;

use crate::harness::{
    COMMITTED, Fresh, STEP, UNCOMMITTED, at, read, record, take, texts, topic, until, write,
    write_texts,
};

pub(crate) fn a_reader_begins_in_the_middle(broker: &dyn Broker, fresh: &Fresh) {
    let from = at(&topic(broker, fresh, "t", 1), 0);
    write_texts(broker, &from, &["a", "b", "c", "d"]);
    for isolation in [COMMITTED, UNCOMMITTED] {
        let seen = read(broker, &from, 2, isolation);
        assert_eq!(seen.iter().map(|s| s.offset).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(texts(&seen), ["c", "d"]);
    }
}

pub(crate) fn a_reader_at_the_end_is_woken(broker: &dyn Broker, fresh: &Fresh) {
    let from = at(&topic(broker, fresh, "t", 1), 0);
    write_texts(broker, &from, &["old"]);
    let mut reader = broker.reader(&[(from.clone(), 1)], COMMITTED).expect("a reader");
    let mut batch = Batch::default();
    let started = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(300));
            write_texts(broker, &from, &["new"]);
        });
        until("the new record", || {
            reader.wait(Duration::from_secs(60)).expect("a wait");
            reader.fetch(0, 1_000, &mut batch).expect("a fetch");
            (!batch.is_empty()).then_some(())
        });
    });
    assert!(started.elapsed() < Duration::from_secs(30), "the wait was not cut short");
    assert_eq!(texts(&take(&mut batch)), ["new"]);
}

pub(crate) fn an_empty_partition_gives_its_position(broker: &dyn Broker, fresh: &Fresh) {
    let from = at(&topic(broker, fresh, "t", 1), 0);
    let mut reader = broker.reader(&[(from, 0)], COMMITTED).expect("a reader");
    let mut batch = Batch::default();
    for _ in 0..5 {
        reader.wait(STEP).expect("a wait");
        assert_eq!(reader.fetch(0, 1_000, &mut batch).expect("a fetch"), 0);
    }
    assert!(batch.is_empty());
}

pub(crate) fn slots_are_in_the_order_asked_for(broker: &dyn Broker, fresh: &Fresh) {
    let (one, two) = (topic(broker, fresh, "one", 2), topic(broker, fresh, "two", 2));
    let places = [at(&two, 1), at(&one, 0), at(&two, 0), at(&one, 1)];
    let names: Vec<String> = places.iter().map(ToString::to_string).collect();
    for (place, name) in places.iter().zip(&names) {
        write_texts(broker, place, &["skipped", name]);
    }
    let from = places.map(|place| (place, 1));
    let mut reader = broker.reader(&from, COMMITTED).expect("a reader");
    let mut batch = Batch::default();
    let mut seen = vec![Vec::new(); 4];
    until("a record in each slot", || {
        reader.wait(STEP).expect("a wait");
        for (slot, seen) in seen.iter_mut().enumerate() {
            reader.fetch(slot, 1_000, &mut batch).expect("a fetch");
            seen.extend(texts(&take(&mut batch)));
        }
        seen.iter().all(|s| !s.is_empty()).then_some(())
    });
    assert_eq!(seen.concat(), names);
}

pub(crate) fn a_fetch_is_bounded_and_loses_nothing(broker: &dyn Broker, fresh: &Fresh) {
    let from = at(&topic(broker, fresh, "t", 1), 0);
    let value = vec![b'x'; 10_000];
    let records = vec![Outgoing { value: Some(&value), ..record(&from.topic, 0, "") }; 2_000];
    write(broker, &records);
    let mut reader = broker.reader(&[(from, 0)], COMMITTED).expect("a reader");
    let (mut batch, mut offsets, mut largest) = (Batch::default(), Vec::new(), 0);
    until("the end is read", || {
        reader.wait(STEP).expect("a wait");
        let position = reader.fetch(0, 50_000, &mut batch).expect("a fetch");
        largest = largest.max(batch.size());
        offsets.extend(take(&mut batch).iter().map(|s| s.offset));
        assert_eq!(position, offsets.len() as u64, "the position is behind what was given");
        (position == 2_000).then_some(())
    });
    assert_eq!(offsets, (0..2_000).collect::<Vec<u64>>());
    assert!(largest < 1_000_000, "{largest} bytes at once, of 50,000 asked for");
}

pub(crate) fn readers_do_not_share_a_position(broker: &dyn Broker, fresh: &Fresh) {
    let from = at(&topic(broker, fresh, "t", 1), 0);
    write_texts(broker, &from, &["a", "b"]);
    let start = [(from.clone(), 0)];
    let mut readers = [0, 1].map(|_| broker.reader(&start, COMMITTED).expect("a reader"));
    let mut batch = Batch::default();
    for reader in &mut readers {
        let mut seen = Vec::new();
        until("both records", || {
            reader.wait(STEP).expect("a wait");
            reader.fetch(0, 1_000, &mut batch).expect("a fetch");
            seen.extend(texts(&take(&mut batch)));
            (seen.len() >= 2).then_some(())
        });
        assert_eq!(seen, ["a", "b"]);
    }
}

/// What a fetch from an offset that is not there comes to.
fn error_at(broker: &dyn Broker, from: &[(TopicPartition, u64)]) -> BrokerError {
    let mut reader = match broker.reader(from, COMMITTED) {
        Ok(reader) => reader,
        Err(error) => return error,
    };
    let mut batch = Batch::default();
    until("an error", || {
        let waited = reader.wait(STEP);
        let fetched = waited.and_then(|()| reader.fetch(0, 1_000, &mut batch));
        assert!(batch.is_empty(), "records out of nowhere");
        fetched.err()
    })
}

pub(crate) fn a_position_beyond_the_end_is_out_of_range(broker: &dyn Broker, fresh: &Fresh) {
    let from = at(&topic(broker, fresh, "t", 1), 0);
    write_texts(broker, &from, &["a", "b"]);
    let error = error_at(broker, &[(from.clone(), 1_000)]);
    let BrokerError::OffsetOutOfRange { partition, offset, start, end } = &error else {
        panic!("{error}");
    };
    assert_eq!((partition, *offset, *start, *end), (&from, 1_000, 0, 2));
}

pub(crate) fn an_unknown_partition_cannot_be_read(broker: &dyn Broker, fresh: &Fresh) {
    let topic = topic(broker, fresh, "t", 1);
    let unknown = at(&topic, 1);
    let error = error_at(broker, &[(unknown.clone(), 0)]);
    assert!(matches!(&error, BrokerError::UnknownPartition(p) if *p == unknown), "{error}");
}
