//! Two producers take turns, a transaction each: for brokers that acknowledge a commit before its
//! markers are written, as Kafka does.
//!
//! Until they are, the coordinator refuses that producer's next transaction, and librdkafka tries
//! again after a fixed 20 ms; but another producer may begin at once. Nothing else overlaps:
//!
//! 1. A transaction begins when the one before it is known to hold: only then the turn passes on.
//! 2. A successor can write when it has fenced and settled both.
//! 3. One call that went badly retires both.

use super::{CommitStatus, Membership, OffsetCommit, Producer, Result, TopicPartition};
#[cfg(feature = "mutants")]
use crate::mutant::Mutant;
use crate::record::Outgoing;

pub(crate) struct AlternatingProducer<P> {
    producers: [P; 2],
    turn: usize,
    #[cfg(feature = "mutants")]
    mutant: Option<Mutant>,
}

impl<P: Producer> AlternatingProducer<P> {
    /// Opens both. The second one has an id of its own.
    pub(crate) fn open(
        id: &str,
        open: impl Fn(&str) -> Result<P>,
    ) -> Result<AlternatingProducer<P>> {
        Ok(AlternatingProducer {
            producers: [open(id)?, open(&format!("{id}.2"))?],
            turn: 0,
            #[cfg(feature = "mutants")]
            mutant: None,
        })
    }

    #[cfg(feature = "mutants")]
    pub(crate) fn mutated(self, mutant: Option<Mutant>) -> AlternatingProducer<P> {
        AlternatingProducer { mutant, ..self }
    }
}

impl<P: Producer> Producer for AlternatingProducer<P> {
    fn attend(&mut self) {
        self.producers.iter_mut().for_each(Producer::attend);
    }

    fn poll_ready(&mut self) -> Result<bool> {
        // 2. both
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
        #[cfg(feature = "mutants")]
        let status = match self.mutant {
            Some(Mutant::TurnTakenEarly) => CommitStatus::Committed { ends: Vec::new() },
            _ => status,
        };
        // 1. it is known to hold
        if matches!(status, CommitStatus::Committed { .. }) {
            self.turn = 1 - self.turn;
        }
        status
    }

    fn abort(&mut self) -> Result<()> {
        self.producers[self.turn].abort()
    }

    fn is_tainted(&self) -> bool {
        #[cfg(feature = "mutants")]
        if self.mutant == Some(Mutant::SecondNotRetired) {
            return self.producers[0].is_tainted();
        }
        // 3. either
        self.producers.iter().any(Producer::is_tainted)
    }
}
