//! Two producers take turns, a transaction each.
//!
//! A commit is acknowledged before its markers are written. Until they are, the coordinator refuses
//! that producer's next transaction, and librdkafka tries again after a fixed 20 ms; but another
//! producer may begin at once. Nothing else overlaps: a transaction begins when the one before it
//! is known to hold.

use std::sync::Arc;

use super::Shared;
use super::producer::KafkaProducer;
use crate::broker::{CommitStatus, Membership, OffsetCommit, Producer, Result, TopicPartition};
use crate::record::Outgoing;

pub(super) struct Turns {
    producers: [KafkaProducer; 2],
    turn: usize,
}

impl Turns {
    /// The second one has an id of its own. Both are fenced and settled together, by whoever opens
    /// the same id.
    pub(super) fn new(shared: &Arc<Shared>, id: &str) -> Result<Self> {
        let one = |id: &str| KafkaProducer::new(shared.clone(), Some(id));
        Ok(Self { producers: [one(id)?, one(&format!("{id}.2"))?], turn: 0 })
    }
}

impl Producer for Turns {
    fn attend(&mut self) {
        self.producers.iter_mut().for_each(Producer::attend);
    }

    fn poll_ready(&mut self) -> Result<bool> {
        let [first, second] = &mut self.producers;
        Ok(first.poll_ready()? & second.poll_ready()?)
    }

    fn send(&mut self, record: Outgoing<'_>) -> Result<()> {
        self.producers[self.turn].send(record)
    }

    fn start_commit(
        &mut self,
        offsets: &[OffsetCommit],
        membership: &Membership,
        backing: &[TopicPartition],
    ) -> Result<(), CommitStatus> {
        self.producers[self.turn].start_commit(offsets, membership, backing)
    }

    fn poll_commit(&mut self) -> CommitStatus {
        let status = self.producers[self.turn].poll_commit();
        if matches!(status, CommitStatus::Committed { .. }) {
            self.turn = 1 - self.turn;
        }
        status
    }

    fn abort(&mut self) -> Result<()> {
        self.producers[self.turn].abort()
    }

    fn is_tainted(&self) -> bool {
        self.producers.iter().any(Producer::is_tainted)
    }
}
