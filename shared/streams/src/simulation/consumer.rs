//! A member of a group in the simulated cluster.

use std::time::Duration;

use super::fetcher::Client;
use super::machine::Machine;
use crate::broker::member::{Member, check_member};
use crate::broker::slots::Slots;
use crate::broker::{
    Consumer, ConsumerOptions, GroupEvent, Isolation, Membership, Now, OffsetCommit, Result,
    TopicPartition,
};
use crate::record::Batch;

pub(super) struct SimulatedConsumer {
    client: Client,
    member: Member,
    slots: Slots<Client>,
}

impl SimulatedConsumer {
    pub(super) fn new(machine: Machine, options: ConsumerOptions) -> Self {
        let client = Client::new(machine, Isolation::ReadCommitted);
        Self { member: Member::new(options), slots: client.slots(), client }
    }
}

impl Consumer for SimulatedConsumer {
    /// Never waits: time passes by the simulation's word only. A poll that tells nothing is no
    /// effect.
    fn poll(&mut self, now: Now, _: Duration) -> Result<GroupEvent> {
        let Self { client: Client { machine, .. }, member, .. } = self;
        let event = machine.look(|world| {
            let (topics, groups) = (&world.topics, &mut world.groups);
            let count = |name: &str| topics.get(name).map_or(0, |t| t.description.partitions);
            member.poll(groups, now, count)
        })?;
        let name = match event {
            GroupEvent::None => return Ok(event),
            GroupEvent::Assigned(_) => "assigned",
            GroupEvent::Revoking => "revoking",
            GroupEvent::Lost => "lost",
        };
        // Whatever becomes of it, the news is not lost: a client keeps it.
        let mut world = machine.world();
        world.decide(machine.process, name);
        world.check_alive(machine.process, machine.life)?;
        Ok(event)
    }

    fn assign(&mut self, from: &[(TopicPartition, u64)]) -> Result<()> {
        self.slots.assign(&mut self.client, from)
    }

    fn fetch(&mut self, slot: usize, bytes_max: usize, batch: &mut Batch) -> Result<u64> {
        self.slots.fetch(&mut self.client, slot, bytes_max, batch)
    }

    fn release(&mut self) -> Result<()> {
        self.slots.clear();
        let Self { client: Client { machine, .. }, member, .. } = self;
        // The group hears of it sooner or later.
        let released = machine.effect("release", |_| Ok(()));
        machine.look(|world| {
            member.release(&mut world.groups);
            Ok(())
        })?;
        released.or_else(|error| if error.is_unavailable() { Ok(()) } else { Err(error) })
    }

    fn membership(&self) -> Membership {
        self.member.membership()
    }

    fn commit(&mut self, offsets: &[OffsetCommit]) -> Result<()> {
        let membership = self.member.membership();
        self.client.machine.effect("commit outside", |world| {
            check_member(&world.groups, &membership)?;
            for offset in offsets {
                let place = world.place_of_offset();
                world.commit_offset(place, &membership.group, offset.clone());
            }
            Ok(())
        })
    }

    fn leave(&mut self, _: Now) -> Result<()> {
        self.slots.clear();
        let Self { client: Client { machine, .. }, member, .. } = self;
        machine.effect("leave", |world| {
            member.leave(&mut world.groups);
            Ok(())
        })
    }
}

impl Drop for SimulatedConsumer {
    fn drop(&mut self) {
        self.member.abandon(&mut self.client.machine.world().groups);
    }
}
