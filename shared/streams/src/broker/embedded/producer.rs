//! A producer on the embedded log: the open transaction lies in memory, its commit is one batch.

use std::sync::Arc;

use super::staged::Staged;
use super::{Shared, log};
use crate::broker::member::check_member;
use crate::broker::{
    BrokerError, CommitStatus, Membership, OffsetCommit, Producer, ProducerMode, Result,
    TopicPartition,
};
use crate::record::Outgoing;

/// Bytes of records without a transaction that are held back for one write.
const LINGER_BYTES_MAX: usize = 1 << 20;

pub(super) struct EmbeddedProducer {
    shared: Arc<Shared>,
    mode: ProducerMode,
    epoch: u64,
    /// Number of the last write admitted before this producer: what its predecessor has committed.
    predecessors: u64,
    /// The records not yet written.
    staged: Staged,
    outcome: Option<CommitStatus>,
}

impl EmbeddedProducer {
    pub(super) fn new(shared: Arc<Shared>, mode: ProducerMode) -> Self {
        let mut state = shared.log.state();
        let epoch = match &mode {
            ProducerMode::Transactional { id } => state.coordinator.init_producer(id),
            ProducerMode::AtLeastOnce => 0,
        };
        let predecessors = state.admitted;
        drop(state);
        Self { shared, mode, epoch, predecessors, staged: Staged::default(), outcome: None }
    }

    fn check_epoch(&self, state: &log::State) -> Result<()> {
        let ProducerMode::Transactional { id } = &self.mode else {
            return Ok(());
        };
        let checked = state.coordinator.check_producer(id, self.epoch);
        checked.map_err(|r| BrokerError::Fenced { what: "producer", cause: r.to_string() })
    }

    /// Writes what is staged, with the offsets, as one batch.
    fn write(
        &mut self,
        commit: Option<(&Membership, &[OffsetCommit])>,
        backing: &[TopicPartition],
    ) -> Result<Vec<u64>> {
        let portions = self.staged.take();
        let admit = |state: &log::State| {
            self.check_epoch(state)?;
            commit.map_or(Ok(()), |(m, _)| check_member(&state.coordinator, m))
        };
        let offsets = commit.map(|(membership, offsets)| (membership.group.as_str(), offsets));
        let (_, ends) = self.shared.log.append(&portions, offsets, backing, admit)?;
        Ok(ends)
    }
}

impl Producer for EmbeddedProducer {
    fn poll_ready(&mut self) -> Result<bool> {
        let state = self.shared.log.state();
        self.check_epoch(&state)?;
        Ok(state.is_settled(self.predecessors))
    }

    fn send(&mut self, record: Outgoing<'_>) -> Result<()> {
        let Shared { log, clock, .. } = &*self.shared;
        self.staged.push(log, clock, &record)?;
        if self.mode == ProducerMode::AtLeastOnce && self.staged.size() > LINGER_BYTES_MAX {
            self.write(None, &[])?;
        }
        Ok(())
    }

    fn start_commit(
        &mut self,
        offsets: &[OffsetCommit],
        membership: &Membership,
        backing: &[TopicPartition],
    ) -> Result<(), CommitStatus> {
        let written = match self.mode {
            ProducerMode::Transactional { .. } => self.write(Some((membership, offsets)), backing),
            // Without a transaction the consumer commits the offsets, once this is drained.
            ProducerMode::AtLeastOnce => self.write(None, backing),
        };
        match written {
            Ok(ends) => {
                self.outcome = Some(CommitStatus::Committed { ends });
                Ok(())
            }
            Err(cause) => Err(self.refused(cause)),
        }
    }

    fn poll_commit(&mut self) -> CommitStatus {
        self.outcome.take().unwrap_or(CommitStatus::Pending)
    }

    fn abort(&mut self) -> Result<()> {
        self.staged = Staged::default();
        Ok(())
    }

    fn is_tainted(&self) -> bool {
        false
    }
}

impl EmbeddedProducer {
    /// As on Kafka: a fenced producer is at its end, a fenced member only has to abort.
    fn refused(&self, cause: BrokerError) -> CommitStatus {
        match cause {
            BrokerError::Fenced { what: "producer", .. } => CommitStatus::Fenced { cause },
            cause => CommitStatus::Aborted { cause },
        }
    }
}
