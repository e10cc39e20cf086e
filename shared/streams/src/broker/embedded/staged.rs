//! Records on their way into the log: by partition, already as they will lie there.

use super::Clock;
use super::codec::Chunks;
use super::log::{Log, bounds};
use crate::broker::{BrokerError, Result, TopicPartition, check_time};
use crate::record::Outgoing;

/// Where a record lies among those that are staged: the number of its partition among theirs, and
/// its own among that partition's.
#[derive(Clone, Copy, Debug)]
pub(super) struct StagedPlace {
    pub(super) portion: usize,
    pub(super) index: u64,
}

/// The records for one partition.
#[derive(Debug)]
pub(super) struct Portion {
    pub(super) at: TopicPartition,
    pub(super) chunks: Chunks,
    future_max_ms: Option<u64>,
    count: u64,
}

#[derive(Debug, Default)]
pub(super) struct Staged {
    portions: Vec<Portion>,
    /// The one that was staged for last: mostly the next record goes there, too.
    last: usize,
    bytes: usize,
}

impl Staged {
    /// Takes all that is staged, to be written.
    pub(super) fn take(&mut self) -> Vec<Portion> {
        let mut portions = std::mem::take(self).portions;
        portions.iter_mut().for_each(|portion| portion.chunks.close());
        portions
    }

    /// Bytes of the records as they came; what is held of many is compressed.
    pub(super) fn size(&self) -> usize {
        self.bytes
    }

    /// Adds a record, unless it is refused.
    pub(super) fn push(
        &mut self,
        log: &Log,
        clock: &Clock,
        record: &Outgoing<'_>,
    ) -> Result<StagedPlace> {
        let is_it = |portion: &Portion| {
            portion.at.partition == record.partition && portion.at.topic == record.topic
        };
        let last = Some(self.last).filter(|last| self.portions.get(*last).is_some_and(is_it));
        let known = last.or_else(|| self.portions.iter().position(is_it));
        let portion = match known {
            Some(known) => {
                self.portions[known].admit(clock, record)?;
                known
            }
            None => {
                let new = Portion::of(log, record)?;
                new.admit(clock, record)?;
                self.portions.push(new);
                self.portions.len() - 1
            }
        };
        self.last = portion;
        self.bytes += record.size();
        let Portion { chunks, count, .. } = &mut self.portions[portion];
        chunks.push(record);
        *count += 1;
        Ok(StagedPlace { portion, index: *count - 1 })
    }
}

impl Portion {
    /// An empty one, for the partition of this record.
    fn of(log: &Log, record: &Outgoing<'_>) -> Result<Portion> {
        let at = TopicPartition::new(record.topic, record.partition);
        let state = log.state();
        bounds(&state, &at)?;
        let topic = &state.topics[&at.topic].description;
        let chunks = Chunks::new(topic.cleanup.is_compacting());
        Ok(Portion { at, chunks, future_max_ms: topic.future_max_ms, count: 0 })
    }

    /// What a broker refuses in a record, whatever the topic's state.
    fn admit(&self, clock: &Clock, record: &Outgoing<'_>) -> Result<()> {
        check_time(record)?;
        let refused = |cause| BrokerError::Refused { partition: self.at.clone(), cause };
        if record.key.is_none() && self.chunks.is_compacted {
            return Err(refused("a compacted topic takes no record without a key".to_owned()));
        }
        if let Some(max) = self.future_max_ms
            && record.timestamp > clock().saturating_add_unsigned(max)
        {
            let at = record.timestamp;
            return Err(refused(format!(
                "timestamp {at} is more than {max} ms ahead of the clock"
            )));
        }
        Ok(())
    }
}
