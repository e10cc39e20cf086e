//! A member's own side of the [`Coordinator`]: it joins with its first poll, and after a loss
//! joins again once it has released.

use super::coordinator::{Coordinator, Refusal};
use super::{BrokerError, ConsumerOptions, GroupEvent, Membership, Now, Result};

/// A member of a group.
pub(crate) struct Member {
    options: ConsumerOptions,
    /// `None` until the first poll, which joins, and after the membership was lost.
    member: Option<String>,
    generation: Option<i64>,
    /// The loss has been told; joining again waits for the release.
    lost: bool,
}

impl Member {
    pub(crate) fn new(options: ConsumerOptions) -> Self {
        Self { options, member: None, generation: None, lost: false }
    }

    /// What has happened since the last poll. `partitions` tells how many a topic has.
    pub(crate) fn poll(
        &mut self,
        coordinator: &mut Coordinator,
        now: Now,
        partitions: impl Fn(&str) -> u32,
    ) -> Result<GroupEvent> {
        if self.lost {
            return Ok(GroupEvent::Lost);
        }
        let ConsumerOptions { group, instance, topics, session_timeout_ms, .. } = &self.options;
        let member = self.member.get_or_insert_with(|| {
            coordinator.join(group, instance, topics, *session_timeout_ms, now.monotonic_ms)
        });
        match coordinator.poll(group, member, now.monotonic_ms, partitions) {
            Ok(event) => {
                if let GroupEvent::Assigned(_) = event {
                    self.generation = Some(coordinator.generation(group));
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

    /// Whether a poll would tell something.
    pub(crate) fn has_news(&self, coordinator: &Coordinator) -> bool {
        self.member.as_ref().is_some_and(|m| coordinator.has_news(&self.options.group, m))
    }

    /// Everything has been given back.
    pub(crate) fn release(&mut self, coordinator: &mut Coordinator) {
        if let Some(member) = &self.member {
            coordinator.release(&self.options.group, member);
        }
        if self.lost {
            (self.lost, self.member, self.generation) = (false, None, None);
        }
    }

    /// Leaves for good.
    pub(crate) fn leave(&mut self, coordinator: &mut Coordinator) {
        if let Some(member) = self.member.take() {
            coordinator.leave(&self.options.group, &member);
        }
    }

    /// Whoever sat here is gone without leaving.
    pub(crate) fn abandon(&self, coordinator: &mut Coordinator) {
        if let Some(member) = &self.member {
            coordinator.gone(&self.options.group, member);
        }
    }

    pub(crate) fn membership(&self) -> Membership {
        Membership {
            generation: self.generation,
            member: self.member.clone().unwrap_or_default(),
            group: self.options.group.clone(),
            native: None,
        }
    }
}

/// Refuses the commit of a member that is no more, or of an earlier generation.
pub(crate) fn check_member(coordinator: &Coordinator, membership: &Membership) -> Result<()> {
    let Membership { group, member, generation, .. } = membership;
    let checked = match generation {
        Some(generation) => coordinator.check(group, member, *generation),
        None => Err(Refusal::IllegalGeneration),
    };
    checked.map_err(|refusal| BrokerError::Fenced { what: "commit", cause: refusal.to_string() })
}
