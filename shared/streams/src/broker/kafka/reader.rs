//! Reads partitions of Kafka outside of any group.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};

use super::consumer::Slots;
use super::context::Context;
use super::{Shared, failed, level};
use crate::broker::{Isolation, OffsetSpec, Reader, Result, TopicPartition};
use crate::record::Batch;

/// Messages fetched ahead; they are most of a reader's memory.
const AHEAD: usize = 24_000;

pub(super) struct KafkaReader {
    // Dropped before the client.
    slots: Slots,
    consumer: BaseConsumer<Context>,
    shared: Arc<Shared>,
}

impl KafkaReader {
    pub(super) fn new(
        shared: Arc<Shared>,
        from: &[(TopicPartition, u64)],
        isolation: Isolation,
    ) -> Result<Self> {
        let mut config = shared.config.fetcher(from.len(), AHEAD);
        // librdkafka assigns to groups only; this one is never joined and never committed to.
        config.set("group.id", "streams-reader").set("isolation.level", level(isolation));
        let consumer: BaseConsumer<Context> =
            config.create_with_context(Context::default()).map_err(|e| failed("reader", &e))?;
        // librdkafka waits for a partition that is not there, without a word.
        let places: Vec<_> = from.iter().map(|(at, _)| at.clone()).collect();
        shared.offsets(&places, OffsetSpec::Start)?;
        let mut slots = Slots::new()?;
        slots.assign(&consumer, from)?;
        Ok(Self { slots, consumer, shared })
    }
}

impl Reader for KafkaReader {
    fn wait(&mut self, wait: Duration) -> Result<()> {
        // Serves logs and errors; messages come by the partitions' own queues.
        drop(self.consumer.poll(Duration::ZERO));
        self.slots.wait(wait);
        self.slots.begin_poll();
        Ok(())
    }

    fn fetch(&mut self, slot: usize, bytes_max: usize, batch: &mut Batch) -> Result<u64> {
        self.slots.fetch(&self.shared, &self.consumer, slot, bytes_max, batch)
    }
}

impl Drop for KafkaReader {
    fn drop(&mut self) {
        self.consumer.context().closing.store(true, Ordering::Relaxed);
    }
}
