//! What lies in a partition, for tests that look at all of it.

use bps_streams::Record;
use bps_streams::broker::{Broker, Isolation, OffsetSpec, TopicPartition};
use bps_streams::record::Batch;

/// Shows all records of a partition that are committed now.
pub fn each_committed(
    broker: &dyn Broker,
    topic: &str,
    partition: u32,
    mut visit: impl FnMut(&Record<'_>),
) {
    let at = TopicPartition::new(topic, partition);
    let end = OffsetSpec::End(Isolation::ReadCommitted);
    let end = broker.offsets(std::slice::from_ref(&at), end).unwrap()[0];
    let mut reader = broker.reader(&[(at, 0)], Isolation::ReadCommitted).unwrap();
    let (mut position, mut batch) = (0, Batch::default());
    while position < end {
        batch.clear();
        position = reader.fetch(0, 1 << 20, &mut batch).unwrap();
        (0..batch.len()).for_each(|index| visit(&batch.get(index, topic, partition)));
    }
}
