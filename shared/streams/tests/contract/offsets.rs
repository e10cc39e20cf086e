//! Questions for offsets.

use bps_streams::Outgoing;
use bps_streams::broker::{Broker, BrokerError, OffsetSpec};

use crate::harness::{
    COMMITTED, Fresh, UNCOMMITTED, at, committed, record, topic, write, write_texts,
};

pub(crate) fn start_and_end_of_each_partition(broker: &dyn Broker, fresh: &Fresh) {
    let (one, two) = (topic(broker, fresh, "one", 3), topic(broker, fresh, "two", 1));
    write_texts(broker, &at(&one, 0), &["a"]);
    write_texts(broker, &at(&one, 2), &["a", "b", "c"]);
    write_texts(broker, &at(&two, 0), &["a", "b"]);
    // In their order, whatever it is.
    let partitions = [at(&one, 2), at(&two, 0), at(&one, 1), at(&one, 0)];
    let ask = |spec| broker.offsets(&partitions, spec).expect("offsets");
    assert_eq!(ask(OffsetSpec::Start), [0, 0, 0, 0]);
    assert_eq!(ask(OffsetSpec::End(COMMITTED)), [3, 2, 0, 1]);
    assert_eq!(ask(OffsetSpec::End(UNCOMMITTED)), [3, 2, 0, 1]);
}

/// Writes a record for each stamp, and asks for times.
fn found(broker: &dyn Broker, fresh: &Fresh, stamps: &[i64], asked: &[i64]) -> Vec<u64> {
    let topic = topic(broker, fresh, "t", 2);
    let records: Vec<_> =
        stamps.iter().map(|&timestamp| Outgoing { timestamp, ..record(&topic, 1, "x") }).collect();
    write(broker, &records);
    let ask = |&time: &i64| {
        let partitions = [at(&topic, 1), at(&topic, 0)];
        let found = broker.offsets(&partitions, OffsetSpec::Timestamp(time)).expect("offsets");
        assert_eq!(found[1], 0, "the end of an empty partition");
        found[0]
    };
    asked.iter().map(ask).collect()
}

pub(crate) fn a_time_finds_the_first_record_at_or_after_it(broker: &dyn Broker, fresh: &Fresh) {
    let base = 1_488_326_400_000; // 2017
    let stamps = [base, base + 100, base + 100, base + 200];
    let asked = [1, base, base + 1, base + 100, base + 150, base + 200, base + 201];
    assert_eq!(found(broker, fresh, &stamps, &asked), [0, 0, 1, 1, 3, 3, 4]);
}

pub(crate) fn a_time_finds_the_first_in_the_log_when_stamps_go_back(
    broker: &dyn Broker,
    fresh: &Fresh,
) {
    let base = 1_488_326_400_000;
    let stamps = [base + 100, base + 300, base + 200, base + 400];
    let asked = [base + 50, base + 150, base + 250, base + 350];
    assert_eq!(found(broker, fresh, &stamps, &asked), [0, 1, 1, 3]);
}

pub(crate) fn an_unknown_partition_has_no_offset(broker: &dyn Broker, fresh: &Fresh) {
    let topic = topic(broker, fresh, "t", 2);
    for unknown in [at(&topic, 2), at(&fresh.name("unknown"), 0)] {
        // Beside one that is there, and alone.
        for partitions in [vec![at(&topic, 0), unknown.clone()], vec![unknown.clone()]] {
            let answer = broker.offsets(&partitions, OffsetSpec::End(COMMITTED));
            let error = answer.expect_err("refused");
            assert!(matches!(&error, BrokerError::UnknownPartition(p) if *p == unknown), "{error}");
        }
    }
}

pub(crate) fn no_partition_no_answer(broker: &dyn Broker, fresh: &Fresh) {
    let specs = [OffsetSpec::Start, OffsetSpec::End(COMMITTED), OffsetSpec::Timestamp(1)];
    for spec in specs {
        assert_eq!(broker.offsets(&[], spec).expect("offsets"), [0_u64; 0]);
    }
    assert_eq!(broker.committed(&fresh.name("group"), &[]).expect("offsets"), []);
}

pub(crate) fn an_unknown_group_has_committed_nothing(broker: &dyn Broker, fresh: &Fresh) {
    let topic = topic(broker, fresh, "t", 1);
    assert_eq!(committed(broker, &fresh.name("group"), &at(&topic, 0)), None);
}
