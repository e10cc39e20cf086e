//! Opens the tasks of assigned partitions: where do their inputs stand, and what does their
//! store still lack?

use std::collections::BTreeMap;

use super::restore::{Missing, Restore};
use super::takeover::Takeover;
use super::{Assigned, Guarantee, Worker};
use crate::broker::{BrokerError, CommittedOffset, Isolation, Now, OffsetSpec, TopicPartition};
use crate::error::Result;
use crate::store::{Checkpoint, TopicIds};
use crate::task::Metadata;
use crate::topology::Backing;

/// How long an assignment may lack an input before it is taken for the work of another assignor.
const INCOMPLETE_MS_MAX: u64 = 30_000;

/// Partitions whose tasks are to be opened: assigned, or closed by a dropped transaction.
pub(super) struct Opening {
    partitions: Vec<TopicPartition>,
    takeover: Takeover,
}

impl Opening {
    pub(super) fn new(partitions: Vec<TopicPartition>) -> Opening {
        Opening { partitions, takeover: Takeover::default() }
    }
}

/// What is known of a partition when it is opened.
pub(super) struct Known {
    /// What the group has committed, by input.
    pub(super) group: Vec<Option<CommittedOffset>>,
    pub(super) checkpoint: Option<Checkpoint>,
    /// Which topics there are now.
    pub(super) ids: TopicIds,
    /// First offset and high watermark of each backing topic.
    pub(super) backing: Vec<(String, u64, u64)>,
}

impl Worker {
    /// Opens what was assigned; tried again while the broker cannot answer.
    pub(super) fn open(&mut self, now: Now) -> Result<()> {
        let Some(mut opening) = self.opening.take() else {
            return Ok(());
        };
        let opened = self.opened(&mut opening, now);
        if !matches!(opened, Ok(Some(_))) {
            self.opening = Some(opening);
        }
        if let Some(tasks) = opened? {
            self.tasks = tasks;
        }
        Ok(())
    }

    /// The tasks of these partitions, as soon as they may begin.
    fn opened(
        &mut self,
        opening: &mut Opening,
        now: Now,
    ) -> Result<Option<BTreeMap<u32, Assigned>>> {
        let numbers = match self.co_partitions(&opening.partitions) {
            Ok(numbers) => numbers,
            Err(cause) => return Err(self.incomplete(cause, now).into()),
        };
        self.incomplete_since = None;
        if !self.take_over(&mut opening.takeover, &numbers, now)? {
            return Ok(None);
        }
        let ids = self.topic_ids()?;
        let mut opened = BTreeMap::new();
        for partition in numbers {
            let known = self.look_up(partition, &ids)?;
            self.check_ids(&known)?;
            let checkpoint = self.usable_checkpoint(partition, &known)?;
            let restore = Restore::begin(partition, &known, checkpoint, now);
            opened.insert(partition, Assigned::Restoring(Box::new(restore)));
        }
        Ok(Some(opened))
    }

    /// Partition numbers of the assignment; every input must have each of them.
    fn co_partitions(&self, partitions: &[TopicPartition]) -> Result<Vec<u32>, String> {
        let mut inputs: BTreeMap<u32, usize> = BTreeMap::new();
        for at in partitions {
            *inputs.entry(at.partition).or_default() += 1;
        }
        if let Some((number, count)) = inputs.iter().find(|(_, n)| **n != self.env.inputs.len()) {
            return Err(format!(
                "partition {number} was assigned of {count} of {} inputs only: every member of \
                 the group must use the assignor `range`",
                self.env.inputs.len()
            ));
        }
        Ok(inputs.into_keys().collect())
    }

    /// The member that assigns may not have heard yet of a topic that was made a moment ago: as
    /// soon as it has, it assigns anew.
    fn incomplete(&mut self, cause: String, now: Now) -> BrokerError {
        let since = *self.incomplete_since.get_or_insert(now.monotonic_ms);
        match now.monotonic_ms.saturating_sub(since) < INCOMPLETE_MS_MAX {
            true => BrokerError::Unavailable { what: "assignment", cause },
            false => BrokerError::Fatal { what: "assignment", cause },
        }
    }

    fn look_up(&self, partition: u32, ids: &TopicIds) -> Result<Known> {
        let at = |topic: &String| TopicPartition::new(topic, partition);
        let inputs: Vec<_> = self.env.inputs.iter().map(at).collect();
        let mut group = self.broker.committed(&self.group, &inputs)?;
        if group.iter().any(Option::is_none) {
            // A missing offset can be a passing state of the coordinator: ask again before
            // believing it.
            group = self.broker.committed(&self.group, &inputs)?;
        }
        let topics = self.env.topology.backing_topics();
        let backing: Vec<_> = topics.iter().map(at).collect();
        let starts = self.broker.offsets(&backing, OffsetSpec::Start)?;
        let ends = self.broker.offsets(&backing, OffsetSpec::End(Isolation::ReadUncommitted))?;
        let bounds = topics.into_iter().zip(starts.into_iter().zip(ends));
        Ok(Known {
            group,
            checkpoint: self.env.store.checkpoint(partition)?,
            ids: ids.clone(),
            backing: bounds.map(|(topic, (start, end))| (topic, start, end)).collect(),
        })
    }

    /// The store's checkpoint, unless the store cannot be right; then it is quarantined.
    fn usable_checkpoint(&self, partition: u32, known: &Known) -> Result<Option<Checkpoint>> {
        let Some(checkpoint) = &known.checkpoint else {
            return Ok(None);
        };
        #[cfg(feature = "mutants")]
        if self.is(super::Mutant::WipeOnRestart) {
            self.env.store.quarantine(partition, "a mutant")?;
            return Ok(None);
        }
        match self.contradiction(checkpoint, known) {
            None => Ok(Some(checkpoint.clone())),
            Some(cause) => {
                self.env.store.quarantine(partition, &cause)?;
                Ok(None)
            }
        }
    }

    /// A store that is behind is normal. One that knows what the log does not is not of this log.
    fn contradiction(&self, checkpoint: &Checkpoint, known: &Known) -> Option<String> {
        if self.config.guarantee == Guarantee::ExactlyOnce {
            for (topic, group) in self.env.inputs.iter().zip(&known.group) {
                if let (Some(stored), Some(group)) = (checkpoint.input(topic), group)
                    && stored > group.offset
                {
                    let group = group.offset;
                    return Some(format!(
                        "the store has {topic} up to {stored}, the group has committed {group}"
                    ));
                }
            }
        }
        for (topic, start, end) in &known.backing {
            let Some(stored) = checkpoint.backing(topic) else {
                continue;
            };
            if stored > *end {
                return Some(format!("the store has {topic} up to {stored}, it ends at {end}"));
            }
            if stored < *start && self.is_changelog(topic) {
                return Some(format!(
                    "the store has {topic} up to {stored}, it was cut up to {start}"
                ));
            }
        }
        None
    }

    pub(super) fn is_changelog(&self, topic: &str) -> bool {
        let changelog = |b: &Backing| matches!(b, Backing::Changelog { .. });
        self.env.topology.stores.iter().any(|s| s.backing.topic() == topic && changelog(&s.backing))
    }
}

/// What the last commit wrote beside the offsets of a partition's inputs.
pub(super) fn last_commit(offsets: &[Option<CommittedOffset>]) -> Option<Metadata> {
    let parsed = offsets.iter().flatten().filter_map(|c| Metadata::parse(&c.metadata));
    parsed.max_by_key(|m| (m.incarnation, m.sequence))
}

impl Known {
    /// What of its topics a store with this checkpoint lacks.
    pub(super) fn missing(&self, checkpoint: Option<&Checkpoint>) -> Vec<Missing> {
        let missing = |(topic, start, end): &(String, u64, u64)| {
            let stored = checkpoint.and_then(|c| c.backing(topic)).unwrap_or(*start);
            Missing { topic: topic.clone(), position: stored.max(*start), end: *end }
        };
        self.backing.iter().map(missing).collect()
    }
}
