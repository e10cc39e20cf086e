//! A producer on the embedded log: the open transaction lies in memory, its commit is one batch.

use std::sync::Arc;

use super::{Shared, log};
use crate::broker::seat::check_member;
use crate::broker::{
    BrokerError, CommitStatus, Membership, OffsetCommit, Producer, ProducerMode, Result,
    TopicPartition,
};
use crate::record::{Batch, Header, Outgoing};

/// Bytes of records without a transaction that are held back for one write.
const LINGER_BYTES_MAX: usize = 1 << 20;

pub(super) struct EmbeddedProducer {
    shared: Arc<Shared>,
    mode: ProducerMode,
    epoch: u64,
    /// Number of the last write admitted before this producer: what its predecessor has committed.
    predecessors: u64,
    /// The records not yet written, and where each is to go.
    staged: Batch,
    places: Vec<TopicPartition>,
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
        let staged = Batch::default();
        Self { shared, mode, epoch, predecessors, staged, places: Vec::new(), outcome: None }
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
        let headers: Vec<Vec<Header<'_>>> = (0..self.staged.len())
            .map(|i| self.staged.get(i, "", 0).headers.iter().collect())
            .collect();
        let records = (0..self.staged.len()).map(|index| {
            let place = &self.places[index];
            let record = self.staged.get(index, &place.topic, place.partition);
            Outgoing {
                topic: record.topic,
                partition: record.partition,
                timestamp: record.timestamp,
                key: record.key,
                value: record.value,
                headers: &headers[index],
            }
        });
        let admit = |state: &log::State| {
            self.check_epoch(state)?;
            commit.map_or(Ok(()), |(m, _)| check_member(&state.coordinator, m))
        };
        let offsets = commit.map(|(membership, offsets)| (membership.group.as_str(), offsets));
        let (_, ends) = self.shared.log.append(records, offsets, backing, admit)?;
        Ok(ends)
    }

    fn clear(&mut self) {
        self.staged.clear();
        self.places.clear();
    }
}

impl Producer for EmbeddedProducer {
    fn poll_ready(&mut self) -> Result<bool> {
        let state = self.shared.log.state();
        self.check_epoch(&state)?;
        Ok(state.is_settled(self.predecessors))
    }

    fn send(&mut self, record: Outgoing<'_>) -> Result<()> {
        self.shared.admit(&record)?;
        let headers = record.headers.iter().copied();
        self.staged.push(0, record.timestamp, record.key, record.value, headers);
        self.places.push(TopicPartition::new(record.topic, record.partition));
        if self.mode == ProducerMode::AtLeastOnce && self.staged.size() > LINGER_BYTES_MAX {
            self.write(None, &[])?;
            self.clear();
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
        self.clear();
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
        self.clear();
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
