//! A group's member, and a transactional producer beside one.

use bps_streams::broker::{
    Broker, CommitStatus, Consumer, ConsumerOptions, GroupEvent, Producer, TopicPartition,
};
use bps_streams::record::Batch;

use super::{
    Fresh, SESSION_MS, STEP, Seen, at, commit, now, offset_commit, producer, record, take, topic,
    until,
};

/// A member of a group that does what the port asks of it.
pub(crate) struct Member {
    pub(crate) consumer: Box<dyn Consumer>,
    /// What it has now.
    pub(crate) owned: Vec<TopicPartition>,
}

impl Member {
    pub(crate) fn join(broker: &dyn Broker, group: &str, instance: &str, topics: &[&str]) -> Self {
        let options = ConsumerOptions {
            group: group.to_owned(),
            instance: instance.to_owned(),
            topics: topics.iter().map(|&t| t.to_owned()).collect(),
            partitions: 1,
            session_timeout_ms: SESSION_MS,
        };
        Self { consumer: broker.consumer(options).expect("a consumer"), owned: Vec::new() }
    }

    /// Polls once, and answers: nothing is read of what is assigned.
    #[track_caller]
    pub(crate) fn poll(&mut self) -> GroupEvent {
        let event = self.consumer.poll(now(), STEP).expect("a poll");
        match &event {
            GroupEvent::None => {}
            GroupEvent::Assigned(partitions) => {
                self.owned.clone_from(partitions);
                self.owned.sort();
                self.consumer.assign(&[]).expect("an assignment");
            }
            GroupEvent::Revoking | GroupEvent::Lost => {
                self.owned.clear();
                self.consumer.release().expect("a release");
            }
        }
        event
    }

    /// Polls until it is assigned; returns its partitions, sorted.
    #[track_caller]
    pub(crate) fn assigned(&mut self) -> Vec<TopicPartition> {
        until("an assignment", || matches!(self.poll(), GroupEvent::Assigned(_)).then_some(()));
        self.owned.clone()
    }

    /// Leaves the group for good.
    #[track_caller]
    pub(crate) fn leave(&mut self) {
        self.owned.clear();
        self.consumer.leave(now()).expect("left");
    }

    /// Reads one slot until it has given `count` records; returns them and the position.
    #[track_caller]
    pub(crate) fn fetch(&mut self, slot: usize, count: usize) -> (Vec<Seen>, u64) {
        let (mut batch, mut seen) = (Batch::default(), Vec::new());
        let position = until("enough records", || {
            assert_eq!(self.poll(), GroupEvent::None);
            let position = self.consumer.fetch(slot, 1 << 20, &mut batch).expect("a fetch");
            seen.extend(take(&mut batch));
            (seen.len() >= count).then_some(position)
        });
        (seen, position)
    }
}

/// A transactional producer with a member to commit for.
pub(crate) struct Writer {
    pub(crate) group: String,
    /// The only partition of the member's only topic.
    pub(crate) input: TopicPartition,
    pub(crate) id: String,
    pub(crate) member: Member,
    pub(crate) producer: Box<dyn Producer>,
}

impl Writer {
    #[track_caller]
    pub(crate) fn start(broker: &dyn Broker, fresh: &Fresh) -> Writer {
        Self::named(broker, fresh, "one")
    }

    /// One of several, in a group of its own.
    #[track_caller]
    pub(crate) fn named(broker: &dyn Broker, fresh: &Fresh, name: &str) -> Writer {
        let input = topic(broker, fresh, &format!("input-{name}"), 1);
        let (group, id) = (fresh.name(&format!("group-{name}")), fresh.name(name));
        let mut member = Member::join(broker, &group, &id, &[&input]);
        let producer = producer(broker, &id);
        assert_eq!(member.assigned(), [at(&input, 0)]);
        Writer { group, input: at(&input, 0), id, member, producer }
    }

    #[track_caller]
    pub(crate) fn send(&mut self, to: &TopicPartition, texts: &[&str]) {
        for text in texts {
            self.producer.send(record(&to.topic, to.partition, text)).expect("taken");
        }
    }

    #[track_caller]
    pub(crate) fn commit(&mut self) -> CommitStatus {
        commit(&mut *self.producer, &[], &self.member.consumer.membership(), &[])
    }

    /// Commits with this offset of the input.
    #[track_caller]
    pub(crate) fn commit_at(&mut self, offset: u64, metadata: &str) -> CommitStatus {
        let offsets = [offset_commit(&self.input, offset, metadata)];
        commit(&mut *self.producer, &offsets, &self.member.consumer.membership(), &[])
    }

    /// Aborts, and replaces the producer where the port asks for it.
    #[track_caller]
    pub(crate) fn abort(&mut self, broker: &dyn Broker) {
        self.producer.abort().expect("aborted");
        if self.producer.is_tainted() {
            self.producer = producer(broker, &self.id);
        }
    }
}
