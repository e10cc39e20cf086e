//! A group member on the embedded log.

use std::sync::Arc;
use std::time::Duration;

use super::{Shared, log};
use crate::broker::coordinator::Refusal;
use crate::broker::{
    BrokerError, Consumer, ConsumerOptions, GroupEvent, Membership, Now, OffsetCommit, Result,
    TopicPartition,
};
use crate::record::Batch;

pub(super) struct EmbeddedConsumer {
    shared: Arc<Shared>,
    options: ConsumerOptions,
    /// `None` until the first poll, which joins, and after the membership was lost.
    member: Option<String>,
    generation: Option<i64>,
    slots: Vec<(TopicPartition, u64)>,
    /// The loss has been told; joining again waits for the release.
    lost: bool,
}

impl EmbeddedConsumer {
    pub(super) fn new(shared: Arc<Shared>, options: ConsumerOptions) -> Self {
        Self { shared, options, member: None, generation: None, slots: Vec::new(), lost: false }
    }

    fn group_event(&mut self, now: Now) -> Result<GroupEvent> {
        if self.lost {
            return Ok(GroupEvent::Lost);
        }
        let group = &self.options.group;
        let mut guard = self.shared.log.state();
        let state = &mut *guard;
        let (topics, coordinator) = (&state.topics, &mut state.coordinator);
        let member = self.member.get_or_insert_with(|| {
            let ConsumerOptions { instance, topics, session_timeout_ms, .. } = &self.options;
            coordinator.join(group, instance, topics, *session_timeout_ms, now.monotonic_ms)
        });
        let count = |topic: &str| topics.get(topic).map_or(0, |t| t.description.partitions);
        let polled = coordinator.poll(group, member, now.monotonic_ms, count);
        let generation = coordinator.generation(group);
        drop(guard);
        match polled {
            Ok(event) => {
                if let GroupEvent::Assigned(_) = event {
                    self.generation = Some(generation);
                }
                if event != GroupEvent::None {
                    self.shared.log.notify();
                }
                Ok(event)
            }
            // As on Kafka: taking the name back would only fence the other in turn.
            Err(Refusal::InstanceFenced) => {
                let cause = Refusal::InstanceFenced.to_string();
                Err(BrokerError::Fenced { what: "group", cause })
            }
            Err(_) => {
                self.lost = true;
                Ok(GroupEvent::Lost)
            }
        }
    }
}

impl Consumer for EmbeddedConsumer {
    fn poll(&mut self, now: Now, wait: Duration) -> Result<GroupEvent> {
        let event = self.group_event(now)?;
        if event == GroupEvent::None
            && let Some(member) = &self.member
        {
            self.shared.log.wait_until(wait, |state| {
                let readable = |(at, from): &(TopicPartition, u64)| {
                    log::bounds(state, at).is_ok_and(|b| b.end > *from)
                };
                self.slots.iter().any(readable)
                    || state.coordinator.has_news(&self.options.group, member)
            });
        }
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
        if let Some(member) = &self.member {
            self.shared.log.state().coordinator.release(&self.options.group, member);
        }
        if self.lost {
            (self.lost, self.member, self.generation) = (false, None, None);
        }
        self.shared.log.notify();
        Ok(())
    }

    fn membership(&self) -> Membership {
        Membership {
            generation: self.generation,
            member: self.member.clone().unwrap_or_default(),
            group: self.options.group.clone(),
            native: None,
        }
    }

    fn commit(&mut self, offsets: &[OffsetCommit]) -> Result<()> {
        let membership = self.membership();
        let group = membership.group.clone();
        let admit = |state: &log::State| check_member(state, &membership);
        self.shared.log.append([].into_iter(), Some((&group, offsets)), &[], admit)?;
        Ok(())
    }

    fn leave(&mut self, _now: Now) -> Result<()> {
        self.slots.clear();
        if let Some(member) = self.member.take() {
            self.shared.log.state().coordinator.leave(&self.options.group, &member);
            self.shared.log.notify();
        }
        Ok(())
    }
}

/// A dropped member has not left: as a killed process, it is missed when its session ends.
impl Drop for EmbeddedConsumer {
    fn drop(&mut self) {
        if let Some(member) = &self.member {
            self.shared.log.state().coordinator.gone(&self.options.group, member);
        }
        self.shared.log.notify();
    }
}

/// Refuses the commit of a member that is no more, or of an earlier generation.
pub(super) fn check_member(state: &log::State, membership: &Membership) -> Result<()> {
    let Membership { group, member, generation, .. } = membership;
    let checked = match generation {
        Some(generation) => state.coordinator.check(group, member, *generation),
        None => Err(Refusal::IllegalGeneration),
    };
    checked.map_err(|refusal| BrokerError::Fenced { what: "commit", cause: refusal.to_string() })
}
