//! Reading and writing without transactions.

use std::time::Duration;

use super::fetcher::Client;
use super::machine::Machine;
use crate::broker::slots::Slots;
use crate::broker::{Ack, Appender, Isolation, Reader, Result, TopicPartition};
use crate::record::{Batch, Outgoing};

pub(super) struct SimulatedReader {
    client: Client,
    slots: Slots<Client>,
}

impl SimulatedReader {
    pub(super) fn new(
        machine: Machine,
        from: &[(TopicPartition, u64)],
        isolation: Isolation,
    ) -> Result<Self> {
        let mut client = Client::new(machine, isolation);
        let mut slots = client.slots();
        slots.assign(&mut client, from)?;
        Ok(Self { client, slots })
    }
}

impl Reader for SimulatedReader {
    fn wait(&mut self, _: Duration) -> Result<()> {
        Ok(())
    }

    fn fetch(&mut self, slot: usize, bytes_max: usize, batch: &mut Batch) -> Result<u64> {
        self.slots.fetch(&mut self.client, slot, bytes_max, batch)
    }
}

pub(super) struct SimulatedAppender {
    pub(super) machine: Machine,
}

impl Appender for SimulatedAppender {
    fn append(&self, record: Outgoing<'_>, ack: Ack) -> Result<()> {
        // What is refused for good is refused at once, by whatever connection.
        self.machine.look(|world| world.admit(&record))?;
        let at = TopicPartition::new(record.topic, record.partition);
        let written =
            self.machine.effect("append", |world| Ok(world.partition(&at)?.append(&record, None)));
        ack(written);
        Ok(())
    }
}
