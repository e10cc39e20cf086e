//! Groups and fencing, as pure state: who is a member, who owns what, which producer is the
//! living one of its id. No clock, no thread, no log: the embedded broker adds durability to it,
//! a simulated one adds faults.
//!
//! The protocol is Kafka's classic one with the eager `range` assignor: in a rebalance every
//! member gives everything back, then all get their share, so that partition p of every topic
//! always goes to the same member.
//!
//! ```text
//!             join / leave / expiry                all present members released
//!   Stable ───────────────────────────▶ Preparing ─────────────────────────────▶ Stable
//!     ▲  generation g                     (commits of g are still taken)     generation g+1
//! ```

use std::collections::{BTreeMap, HashMap};

use super::{CommittedOffset, GroupEvent, TopicPartition};

/// Why a commit is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// The member is not one of the group (any more).
    #[error("unknown member")]
    UnknownMember,
    /// The group has rebalanced since.
    #[error("illegal generation")]
    IllegalGeneration,
    /// Another producer has taken this transactional id.
    #[error("producer fenced")]
    ProducerFenced,
    /// Another member has taken this instance id.
    #[error("instance id fenced")]
    InstanceFenced,
    /// The group still has members.
    #[error("the group has members")]
    GroupNotEmpty,
}

#[derive(Debug)]
struct Member {
    instance: String,
    topics: Vec<String>,
    session_timeout_ms: u64,
    last_seen_ms: u64,
    /// What it owns in the present generation and has not given back.
    owned: Vec<TopicPartition>,
    /// What it must be told next.
    news: GroupEvent,
    /// Nobody will poll for it any more; its place is kept until its session ends.
    gone: bool,
}

#[derive(Debug, Default)]
struct Group {
    generation: i64,
    preparing: bool,
    members: BTreeMap<String, Member>,
    offsets: BTreeMap<TopicPartition, CommittedOffset>,
}

/// The coordinator of all groups and producers of one broker.
#[derive(Debug, Default)]
pub(crate) struct Coordinator {
    groups: HashMap<String, Group>,
    epochs: HashMap<String, u64>,
    members_ever: u64,
}

impl Coordinator {
    /// Lets a member join; one of the same instance name is replaced. Returns the member's id.
    pub(crate) fn join(
        &mut self,
        group: &str,
        instance: &str,
        topics: &[String],
        session_timeout_ms: u64,
        now_ms: u64,
    ) -> String {
        self.members_ever += 1;
        let id = format!("{instance}-{}", self.members_ever);
        let group = self.groups.entry(group.to_owned()).or_default();
        group.members.retain(|_, member| member.instance != instance);
        let member = Member {
            instance: instance.to_owned(),
            topics: topics.to_vec(),
            session_timeout_ms,
            last_seen_ms: now_ms,
            owned: Vec::new(),
            news: GroupEvent::None,
            gone: false,
        };
        group.members.insert(id.clone(), member);
        group.prepare();
        id
    }

    /// A member shows that it lives and learns what happened. `partitions` tells how many
    /// partitions a topic has.
    pub(crate) fn poll(
        &mut self,
        group: &str,
        member: &str,
        now_ms: u64,
        partitions: impl Fn(&str) -> u32,
    ) -> Result<GroupEvent, Refusal> {
        let group = self.groups.get_mut(group).ok_or(Refusal::UnknownMember)?;
        group.expire(now_ms);
        let missing = group.missing(member);
        let state = group.members.get_mut(member).ok_or(missing)?;
        state.last_seen_ms = now_ms;
        group.complete(partitions);
        let state = group.members.get_mut(member).ok_or(Refusal::UnknownMember)?;
        // "Revoking" is told until the member has released; the rest is told once.
        if state.news == GroupEvent::Revoking {
            return Ok(GroupEvent::Revoking);
        }
        Ok(std::mem::replace(&mut state.news, GroupEvent::None))
    }

    /// Whether `poll` has something to tell or to do for this member right away.
    pub(crate) fn has_news(&self, group: &str, member: &str) -> bool {
        self.groups.get(group).is_none_or(|group| {
            group.members.get(member).is_none_or(|m| m.news != GroupEvent::None)
                || (group.preparing && group.members.values().all(|m| m.owned.is_empty()))
        })
    }

    /// The member has given everything back.
    pub(crate) fn release(&mut self, group: &str, member: &str) {
        if let Some(state) = self.groups.get_mut(group).and_then(|g| g.members.get_mut(member)) {
            state.owned.clear();
            if state.news == GroupEvent::Revoking {
                state.news = GroupEvent::None;
            }
        }
    }

    /// The member is gone for good.
    pub(crate) fn leave(&mut self, group: &str, member: &str) {
        if let Some(group) = self.groups.get_mut(group)
            && group.members.remove(member).is_some()
        {
            group.prepare();
        }
    }

    /// The group's present generation.
    pub(crate) fn generation(&self, group: &str) -> i64 {
        self.groups.get(group).map_or(0, |g| g.generation)
    }

    /// Whether a commit by this member of this generation is taken. A commit during the
    /// preparation of the next generation is: the revoked partitions are handed over with it.
    pub(crate) fn check(&self, group: &str, member: &str, generation: i64) -> Result<(), Refusal> {
        let group = self.groups.get(group).ok_or(Refusal::UnknownMember)?;
        if !group.members.contains_key(member) {
            return Err(group.missing(member));
        }
        if group.generation != generation {
            return Err(Refusal::IllegalGeneration);
        }
        Ok(())
    }

    /// Takes offsets that have been made durable (or read back at the start).
    pub(crate) fn set_offset(
        &mut self,
        group: &str,
        partition: TopicPartition,
        committed: CommittedOffset,
    ) {
        let group = self.groups.entry(group.to_owned()).or_default();
        group.offsets.insert(partition, committed);
    }

    /// What the group has committed for a partition.
    pub(crate) fn offset(&self, group: &str, at: &TopicPartition) -> Option<CommittedOffset> {
        self.groups.get(group)?.offsets.get(at).cloned()
    }

    /// The member's process or handle has ended without leaving.
    pub(crate) fn gone(&mut self, group: &str, member: &str) {
        if let Some(state) = self.groups.get_mut(group).and_then(|g| g.members.get_mut(member)) {
            state.gone = true;
        }
    }

    /// Forgets a group that has no living member.
    pub(crate) fn delete_group(&mut self, group: &str) -> Result<(), Refusal> {
        let lives = |g: &Group| g.members.values().any(|m| !m.gone);
        if self.groups.get(group).is_some_and(lives) {
            return Err(Refusal::GroupNotEmpty);
        }
        self.groups.remove(group);
        Ok(())
    }

    /// Forgets what groups have committed of a topic that is no more.
    #[cfg(feature = "simulation")]
    pub(crate) fn forget_topic(&mut self, topic: &str) {
        self.groups.values_mut().for_each(|g| g.offsets.retain(|at, _| at.topic != topic));
    }

    /// A new producer of this id: every earlier one is fenced from now on. Returns its epoch.
    pub(crate) fn init_producer(&mut self, transactional_id: &str) -> u64 {
        let epoch = self.epochs.entry(transactional_id.to_owned()).or_default();
        *epoch += 1;
        *epoch
    }

    /// Whether the producer of this epoch is the living one.
    pub(crate) fn check_producer(&self, transactional_id: &str, epoch: u64) -> Result<(), Refusal> {
        match self.epochs.get(transactional_id) {
            Some(current) if *current == epoch => Ok(()),
            _ => Err(Refusal::ProducerFenced),
        }
    }
}

impl Group {
    /// Why a member that is not in the group is not: another has taken its name, or it is gone.
    fn missing(&self, member: &str) -> Refusal {
        let instance = member.rsplit_once('-').map_or(member, |(instance, _)| instance);
        match self.members.values().any(|m| m.instance == instance) {
            true => Refusal::InstanceFenced,
            false => Refusal::UnknownMember,
        }
    }

    /// A rebalance begins: whoever owns something is told to give it back.
    fn prepare(&mut self) {
        self.preparing = true;
        for member in self.members.values_mut() {
            member.news = match member.owned.is_empty() {
                true => GroupEvent::None,
                // Never learnt of its share: nothing to give back.
                false if matches!(member.news, GroupEvent::Assigned(_)) => {
                    member.owned.clear();
                    GroupEvent::None
                }
                false => GroupEvent::Revoking,
            };
        }
    }

    /// Members silent for longer than their session are dead.
    fn expire(&mut self, now_ms: u64) {
        let before = self.members.len();
        self.members.retain(|_, m| now_ms <= m.last_seen_ms.saturating_add(m.session_timeout_ms));
        if self.members.len() != before {
            self.prepare();
        }
    }

    /// Ends the rebalance once nobody owns anything any more: `range`, topic by topic.
    fn complete(&mut self, partitions: impl Fn(&str) -> u32) {
        if !self.preparing || self.members.values().any(|m| !m.owned.is_empty()) {
            return;
        }
        self.preparing = false;
        self.generation += 1;
        let mut topics: Vec<&String> = self.members.values().flat_map(|m| &m.topics).collect();
        topics.sort();
        topics.dedup();
        let topics: Vec<String> = topics.into_iter().cloned().collect();
        for topic in &topics {
            // By instance name, so that a member that comes back finds its old share.
            let mut takers: Vec<&mut Member> =
                self.members.values_mut().filter(|m| m.topics.contains(topic)).collect();
            takers.sort_by(|a, b| a.instance.cmp(&b.instance));
            let count = partitions(topic);
            let (each, extra) = (count / takers.len() as u32, count % takers.len() as u32);
            let mut next = 0;
            for (index, member) in (0_u32..).zip(takers) {
                let share = each + u32::from(index < extra);
                let owned = next..next + share;
                member.owned.extend(owned.map(|p| TopicPartition::new(topic.clone(), p)));
                next += share;
            }
        }
        for member in self.members.values_mut() {
            member.news = GroupEvent::Assigned(member.owned.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(c: &mut Coordinator, member: &str, now: u64) -> GroupEvent {
        c.poll("g", member, now, |_| 4).expect("a member")
    }

    fn join(c: &mut Coordinator, instance: &str, now: u64) -> String {
        c.join("g", instance, &["a".to_owned(), "b".to_owned()], 100, now)
    }

    fn numbers(event: GroupEvent) -> Vec<(String, u32)> {
        let GroupEvent::Assigned(list) = event else { panic!("not assigned: {event:?}") };
        list.into_iter().map(|tp| (tp.topic, tp.partition)).collect()
    }

    #[test]
    fn co_partitioned_topics_stay_together_through_a_join() {
        let mut c = Coordinator::default();
        let one = join(&mut c, "one", 0);
        assert_eq!(numbers(poll(&mut c, &one, 0)).len(), 8);
        let two = join(&mut c, "two", 1);
        assert_eq!(poll(&mut c, &two, 1), GroupEvent::None, "one has not released");
        assert_eq!(poll(&mut c, &one, 2), GroupEvent::Revoking);
        assert_eq!(c.check("g", &one, 1), Ok(()), "the hand-over commit is taken");
        c.release("g", &one);
        let share = |n: [u32; 2]| {
            let of = |t: &str| n.map(|p| (t.to_owned(), p)).to_vec();
            [of("a"), of("b")].concat()
        };
        assert_eq!(numbers(poll(&mut c, &one, 3)), share([0, 1]));
        assert_eq!(numbers(poll(&mut c, &two, 3)), share([2, 3]));
        assert_eq!(c.check("g", &one, 1), Err(Refusal::IllegalGeneration));
        assert_eq!(c.check("g", &one, 2), Ok(()));
    }

    #[test]
    fn a_silent_member_expires_and_cannot_commit() {
        let mut c = Coordinator::default();
        let (one, two) = (join(&mut c, "one", 0), join(&mut c, "two", 0));
        poll(&mut c, &one, 0);
        poll(&mut c, &two, 0);
        poll(&mut c, &one, 100);
        assert_eq!(poll(&mut c, &one, 101), GroupEvent::Revoking);
        c.release("g", &one);
        assert_eq!(numbers(poll(&mut c, &one, 102)).len(), 8);
        assert_eq!(c.check("g", &two, 1), Err(Refusal::UnknownMember));
        assert_eq!(c.poll("g", &two, 103, |_| 4), Err(Refusal::UnknownMember));
    }

    #[test]
    fn a_second_of_the_same_name_fences_the_first() {
        let mut c = Coordinator::default();
        let old = join(&mut c, "one", 0);
        poll(&mut c, &old, 0);
        let new = join(&mut c, "one", 1);
        assert_eq!(c.check("g", &old, 1), Err(Refusal::InstanceFenced));
        assert_eq!(numbers(poll(&mut c, &new, 1)).len(), 8);
        let epoch = c.init_producer("t");
        assert_eq!(c.check_producer("t", epoch), Ok(()));
        assert_eq!(c.init_producer("t"), epoch + 1);
        assert_eq!(c.check_producer("t", epoch), Err(Refusal::ProducerFenced));
        assert_eq!(c.delete_group("g"), Err(Refusal::GroupNotEmpty));
        c.gone("g", &new);
        assert_eq!(c.delete_group("g"), Ok(()));
    }
}
