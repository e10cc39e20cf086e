//! Reading and writing without transactions.

use std::time::Duration;

use super::machine::Machine;
use crate::broker::{Ack, Appender, Isolation, Reader, Result, TopicPartition};
use crate::record::{Batch, Outgoing};

/// Partitions being read, and how far.
pub(super) type Slots = Vec<(TopicPartition, u64)>;

/// Reads one slot. A fetch that brings nothing is no effect; one may bring nothing although
/// there is something, as a broker's does.
pub(super) fn read(
    machine: &Machine,
    slot: &mut (TopicPartition, u64),
    isolation: Isolation,
    bytes_max: usize,
    batch: &mut Batch,
) -> Result<u64> {
    let (at, from) = slot;
    let count = machine.look(|world| {
        if world.partition(at)?.end(isolation) <= *from {
            return Ok(Some(usize::MAX));
        }
        Ok(match world.plan.choose("fetch", 6) {
            1 => None,
            2 => Some(1),
            3 => Some(2),
            _ => Some(usize::MAX),
        })
    })?;
    let Some(count) = count else {
        return Ok(*from);
    };
    let mut fetched = Batch::default();
    let position = machine.look(|world| {
        world.partition(at)?.read(at, *from, isolation, (count, bytes_max), &mut fetched)
    })?;
    if !fetched.is_empty() {
        machine.effect("fetch", |_| Ok(()))?;
    }
    for index in 0..fetched.len() {
        let r = fetched.get(index, "", 0);
        batch.push(r.offset, r.timestamp, r.key, r.value, r.headers.iter());
    }
    *from = position;
    Ok(position)
}

pub(super) struct SimulatedReader {
    machine: Machine,
    slots: Slots,
    isolation: Isolation,
}

impl SimulatedReader {
    pub(super) fn new(
        machine: Machine,
        from: &[(TopicPartition, u64)],
        isolation: Isolation,
    ) -> Self {
        Self { machine, slots: from.to_vec(), isolation }
    }
}

impl Reader for SimulatedReader {
    fn wait(&mut self, _: Duration) -> Result<()> {
        Ok(())
    }

    fn fetch(&mut self, slot: usize, bytes_max: usize, batch: &mut Batch) -> Result<u64> {
        read(&self.machine, &mut self.slots[slot], self.isolation, bytes_max, batch)
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
