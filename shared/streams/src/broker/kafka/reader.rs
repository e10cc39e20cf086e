//! Reads partitions of Kafka outside of any group.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rdkafka::consumer::Consumer as _;

use super::fetcher::Client;
use super::{Shared, level};
use crate::broker::slots::Slots;
use crate::broker::{Isolation, OffsetSpec, Reader, Result, TopicPartition};
use crate::record::Batch;

/// Messages fetched ahead; they are most of a reader's memory.
const AHEAD: usize = 24_000;

pub(super) struct KafkaReader {
    // Dropped before the client.
    slots: Slots<Client>,
    client: Client,
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
        let mut client = Client::new(shared, &config, "reader")?;
        // librdkafka waits for a partition that is not there, without a word.
        let places: Vec<_> = from.iter().map(|(at, _)| at.clone()).collect();
        client.shared.offsets(&places, OffsetSpec::Start)?;
        let mut slots = Slots::default();
        slots.assign(&mut client, from)?;
        Ok(Self { slots, client })
    }
}

impl Reader for KafkaReader {
    fn wait(&mut self, wait: Duration) -> Result<()> {
        // Serves logs and errors; messages come by the partitions' own queues.
        drop(self.client.consumer.poll(Duration::ZERO));
        if !self.slots.take_more() {
            self.client.wait(wait);
        }
        Ok(())
    }

    fn fetch(&mut self, slot: usize, bytes_max: usize, batch: &mut Batch) -> Result<u64> {
        self.slots.fetch(&mut self.client, slot, bytes_max, batch)
    }
}

impl Drop for KafkaReader {
    fn drop(&mut self) {
        self.client.consumer.context().closing.store(true, Ordering::Relaxed);
    }
}
