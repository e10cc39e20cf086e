//! Ends what a dead worker left open in partitions that are this one's now. Until its transaction
//! has ended nobody reads past it, and the group does not tell the offsets in it. Its time-out
//! would end it; whoever opens a producer of the same id does so at once.

use std::collections::{BTreeMap, BTreeSet};

use super::open::last_commit;
use super::{Guarantee, Worker};
use crate::broker::{Isolation, Now, OffsetSpec, Producer, ProducerMode, TopicPartition};
use crate::error::Result;

/// So long a transaction may stay open before its worker is taken for dead (ms): one that gave its
/// partitions back has committed, but the markers of that may be on their way.
const MARKERS_MS: u64 = 300;

/// Last owners of partitions in which a transaction is open.
#[derive(Default)]
pub(super) struct Takeover(BTreeMap<String, Owner>);

enum Owner {
    /// It may live: since when this has been so (monotonic ms).
    Suspected(u64),
    /// A producer of its id is being opened.
    Fencing(Box<dyn Producer>),
    /// It is not its transaction that is still open, or it cannot be ended: it is waited for.
    Waited,
}

impl Worker {
    /// Whether nothing is open any more that could be ended. To be asked again while it is not so.
    pub(super) fn take_over(
        &mut self,
        Takeover(owners): &mut Takeover,
        partitions: &[u32],
        now: Now,
    ) -> Result<bool> {
        if self.config.guarantee == Guarantee::AtLeastOnce {
            return Ok(true);
        }
        let open = self.left_open(partitions)?;
        if open.is_empty() {
            return Ok(true);
        }
        // It may be its own last transaction, which its new producer is about to end.
        if !self.producer_ready {
            return Ok(false);
        }
        owners.retain(|id, _| open.contains(id));
        for id in open {
            let since = Owner::Suspected(now.monotonic_ms);
            let owner = owners.entry(id.clone()).or_insert(since);
            match owner {
                Owner::Suspected(since) if now.monotonic_ms - *since >= MARKERS_MS => {
                    self.wait_for(format!("a transaction that {id} left open is ended"));
                    let mode = ProducerMode::Transactional { id };
                    *owner = Owner::Fencing(self.broker.producer(mode)?);
                }
                Owner::Suspected(_) | Owner::Waited => {}
                Owner::Fencing(producer) => match producer.poll_ready() {
                    Ok(false) => {}
                    Ok(true) => *owner = Owner::Waited,
                    Err(error) => {
                        tracing::warn!(worker = %self.config.id, %id, %error, "not fenced");
                        *owner = Owner::Waited;
                    }
                },
            }
        }
        Ok(owners.values().all(|owner| matches!(owner, Owner::Waited)))
    }

    /// Who, other than this one, has committed last in partitions in which a transaction is open.
    fn left_open(&self, partitions: &[u32]) -> Result<BTreeSet<String>> {
        // Only owners of a partition write there.
        let mut backing = self.backing(partitions);
        if let Some(topic) = &self.env.topology.ticks {
            backing
                .extend(partitions.iter().map(|partition| TopicPartition::new(topic, *partition)));
        }
        let ends = |isolation| self.broker.offsets(&backing, OffsetSpec::End(isolation));
        // In this order: what is written in between must not look open.
        let (high, stable) = (ends(Isolation::ReadUncommitted)?, ends(Isolation::ReadCommitted)?);
        let ends = backing.iter().zip(stable.iter().zip(&high));
        let open = ends.filter(|(_, (stable, high))| stable < high).map(|(at, _)| at.partition);
        let open: BTreeSet<u32> = open.collect();
        if open.is_empty() {
            return Ok(BTreeSet::new());
        }
        let topics = &self.env.inputs;
        let inputs = { open.iter() }
            .flat_map(|p| topics.iter().map(|topic| TopicPartition::new(topic, *p)))
            .collect::<Vec<_>>();
        let committed = self.broker.committed_so_far(&self.group, &inputs)?;
        let owners = committed.chunks(topics.len()).filter_map(last_commit).map(|last| last.owner);
        Ok(owners.filter(|owner| !owner.is_empty() && *owner != self.config.id).collect())
    }
}
