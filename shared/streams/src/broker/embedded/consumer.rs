//! A group member on the embedded log.

use std::sync::Arc;
use std::time::Duration;

use super::{Shared, log};
use crate::broker::member::{Member, check_member};
use crate::broker::{
    Consumer, ConsumerOptions, GroupEvent, Membership, Now, OffsetCommit, Result, TopicPartition,
};
use crate::record::Batch;

pub(super) struct EmbeddedConsumer {
    shared: Arc<Shared>,
    member: Member,
    slots: Vec<(TopicPartition, u64)>,
}

impl EmbeddedConsumer {
    pub(super) fn new(shared: Arc<Shared>, options: ConsumerOptions) -> Self {
        Self { shared, member: Member::new(options), slots: Vec::new() }
    }
}

impl Consumer for EmbeddedConsumer {
    fn poll(&mut self, now: Now, wait: Duration) -> Result<GroupEvent> {
        // Else a member that has nothing to commit would look alive on a log that takes nothing.
        self.shared.log.check_alive()?;
        let mut guard = self.shared.log.state();
        let state = &mut *guard;
        let (topics, coordinator) = (&state.topics, &mut state.coordinator);
        let count = |topic: &str| topics.get(topic).map_or(0, |t| t.description.partitions);
        let event = self.member.poll(coordinator, now, count)?;
        drop(guard);
        if event != GroupEvent::None {
            self.shared.log.notify();
            return Ok(event);
        }
        self.shared.log.wait_until(wait, |state| {
            let readable = |(at, from): &(TopicPartition, u64)| {
                log::bounds(state, at).is_ok_and(|b| b.end > *from)
            };
            self.slots.iter().any(readable) || self.member.has_news(&state.coordinator)
        });
        Ok(event)
    }

    fn assign(&mut self, from: &[(TopicPartition, u64)]) -> Result<()> {
        self.slots = from.to_vec();
        Ok(())
    }

    fn fetch(&mut self, slot: usize, bytes_max: usize, batch: &mut Batch) -> Result<u64> {
        let (at, from) = &mut self.slots[slot];
        *from = self.shared.log.read(at, *from, bytes_max, batch)?;
        Ok(*from)
    }

    fn release(&mut self) -> Result<()> {
        self.slots.clear();
        self.member.release(&mut self.shared.log.state().coordinator);
        self.shared.log.notify();
        Ok(())
    }

    fn membership(&self) -> Membership {
        self.member.membership()
    }

    fn commit(&mut self, offsets: &[OffsetCommit]) -> Result<()> {
        let membership = self.membership();
        let group = membership.group.clone();
        let admit = |state: &log::State| check_member(&state.coordinator, &membership);
        self.shared.log.append(&[], Some((&group, offsets)), &[], admit)?;
        Ok(())
    }

    fn leave(&mut self, _now: Now) -> Result<()> {
        self.slots.clear();
        self.member.leave(&mut self.shared.log.state().coordinator);
        self.shared.log.notify();
        Ok(())
    }
}

/// A dropped member has not left: as a killed process, it is missed when its session ends.
impl Drop for EmbeddedConsumer {
    fn drop(&mut self) {
        self.member.abandon(&mut self.shared.log.state().coordinator);
        self.shared.log.notify();
    }
}
