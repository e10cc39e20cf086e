//! Opens the tasks of assigned partitions: where do their inputs stand, and what does their
//! store still lack?

use std::collections::BTreeMap;

use super::restore::{Missing, Restore};
use super::takeover::Takeover;
use super::told::REBUILD;
use super::{Guarantee, Worker};
use crate::broker::{CommittedOffset, Isolation, Now, OffsetSpec, TopicPartition};
use crate::error::{Error, Result};
use crate::store::{Checkpoint, Claim, StoreBatch, TopicIds};
use crate::task::{Metadata, Task};
use crate::topology::Backing;

/// What an operator may do where a ledger has lost records.
const LEDGER_GONE: &str = "`verify` names what was decided and is gone; a plain `reset` goes on \
                           without it";

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
    /// What this application has committed, by input.
    pub(super) group: Vec<Option<CommittedOffset>>,
    /// What others have committed in its place, by input.
    pub(super) foreign: Vec<Option<u64>>,
    pub(super) checkpoint: Option<Checkpoint>,
    /// Which topics there are now.
    pub(super) ids: TopicIds,
    /// First offset and high watermark of each backing topic.
    pub(super) backing: Vec<(String, u64, u64)>,
}

pub(super) enum Assigned {
    Restoring(Box<Restore>),
    Running(Box<Task>, u64),
}

impl Assigned {
    /// The task, if it runs.
    pub(super) fn running_mut(&mut self) -> Option<&mut Task> {
        match self {
            Assigned::Restoring(_) => None,
            Assigned::Running(task, _) => Some(task),
        }
    }

    fn claim(&self) -> Claim {
        match self {
            Assigned::Restoring(restore) => restore.claim,
            Assigned::Running(task, _) => task.claim,
        }
    }
}

impl Worker {
    /// Opens all that is assigned and has no task.
    pub(super) fn reopen(&mut self) {
        self.slots.clear();
        self.unread = None;
        self.opening = Some(Opening::new(self.assignment.clone()));
    }

    /// Another worker of this process may take itself for the owner of a partition for a moment, and
    /// claim its rows. From then on its owner has a store that it cannot write to, and goes on only
    /// with one that it has opened anew. Whether it was so.
    pub(super) fn reopen_if_claimed(&mut self, now: Now) -> Result<bool> {
        let store = &self.env.store;
        let is_held = |(partition, task): (&u32, &Assigned)| store.holds(*partition, task.claim());
        if self.tasks.iter().all(is_held) {
            return Ok(false);
        }
        tracing::warn!(worker = %self.config.id, "its rows were claimed: opens its partitions anew");
        self.tasks.clear();
        self.drop_transaction(now)?;
        Ok(true)
    }

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
            self.tasks.extend(tasks);
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
            Err(cause) => return self.wait_for_inputs(cause, now),
        };
        // None at all may be for a moment, until who was known by the former name is out.
        if !numbers.is_empty() {
            (self.incomplete, self.has_joined_anew) = (None, false);
        }
        if !self.take_over(&mut opening.takeover, &numbers, now)? {
            return Ok(None);
        }
        let ids = self.topic_ids()?;
        let mut opened = BTreeMap::new();
        for partition in numbers {
            if self.tasks.contains_key(&partition) {
                continue;
            }
            // Whoever had it before writes no more to the store that is looked at now.
            let claim = self.env.store.claim(partition);
            let known = self.look_up(partition, &ids)?;
            self.check_ids(&known)?;
            let checkpoint = self.usable_checkpoint((partition, claim), &known)?;
            let missing = self.missing((partition, claim), &known, checkpoint.as_ref())?;
            let from = (checkpoint, missing);
            #[cfg_attr(not(feature = "mutants"), expect(unused_mut))]
            let mut restore = Restore::begin(
                (partition, claim),
                &known,
                from,
                self.env.topology.due_layout(),
                now,
            );
            #[cfg(feature = "mutants")]
            (restore.mutant = self.config.mutant);
            opened.insert(partition, Assigned::Restoring(Box::new(restore)));
        }
        Ok(Some(opened))
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
        let checkpoint = self.env.store.checkpoint(partition)?;
        let topics = self.env.inputs.iter();
        let foreign = topics.zip(&mut group).map(|(topic, committed)| {
            let is_foreign = |c: &mut CommittedOffset| !self.is_own(topic, c, checkpoint.as_ref());
            committed.take_if(is_foreign).map(|committed| committed.offset)
        });
        Ok(Known {
            foreign: foreign.collect(),
            group,
            checkpoint,
            ids: ids.clone(),
            backing: bounds.map(|(topic, (start, end))| (topic, start, end)).collect(),
        })
    }

    /// Whether an offset of the group is one that this application has committed. Others write
    /// there too: a tool that resets offsets, a foreign consumer that joined under the group's
    /// name. Beside ours are notes of ours; and where the transaction that they name is the last
    /// one in the store, its positions are known.
    fn is_own(&self, topic: &str, found: &CommittedOffset, stored: Option<&Checkpoint>) -> bool {
        #[cfg(feature = "mutants")]
        if self.is(super::Mutant::ForeignOffsetTaken) {
            return true;
        }
        let Some(Metadata { incarnation, sequence, .. }) = Metadata::parse(&found.metadata) else {
            return false;
        };
        let applied = stored.filter(|c| (c.incarnation, c.sequence) == (incarnation, sequence));
        applied.and_then(|c| c.input(topic)).is_none_or(|offset| offset == found.offset)
    }

    /// The store's checkpoint, unless the store cannot be right; then it is quarantined.
    fn usable_checkpoint(
        &self,
        (partition, claim): (u32, Claim),
        known: &Known,
    ) -> Result<Option<Checkpoint>> {
        let Some(checkpoint) = &known.checkpoint else {
            return Ok(None);
        };
        #[cfg(feature = "mutants")]
        if self.is(super::Mutant::WipeOnRestart) {
            self.env.store.quarantine(partition, claim, "a mutant")?;
            return Ok(None);
        }
        let cause = match self.ahead_of_group(checkpoint, known) {
            Some(cause) => cause,
            None => {
                let Some((topic, cause)) = self.ahead_of_topics(checkpoint, known) else {
                    return Ok(Some(checkpoint.clone()));
                };
                if self.is_of_this_log(partition, checkpoint, known)? {
                    let remedy = match self.is_changelog(topic) {
                        true => REBUILD,
                        false => LEDGER_GONE,
                    };
                    let partition = TopicPartition::new(topic, partition);
                    return Err(Error::RowsGone { partition, cause, remedy });
                }
                cause
            }
        };
        self.env.store.quarantine(partition, claim, &cause)?;
        Ok(None)
    }

    /// A store that is behind is normal. One that knows what the group does not is not of this log.
    fn ahead_of_group(&self, checkpoint: &Checkpoint, known: &Known) -> Option<String> {
        if self.config.guarantee == Guarantee::AtLeastOnce {
            return None;
        }
        self.env.inputs.iter().zip(&known.group).find_map(|(topic, group)| {
            let (stored, group) = (checkpoint.input(topic)?, group.as_ref()?.offset);
            (stored > group).then(|| {
                format!("the store has {topic} up to {stored}, the group has committed {group}")
            })
        })
    }

    /// The first topic that does not hold any more what the store has of it, and how that shows.
    fn ahead_of_topics<'a>(
        &self,
        checkpoint: &Checkpoint,
        known: &'a Known,
    ) -> Option<(&'a str, String)> {
        known.backing.iter().find_map(|(topic, start, end)| {
            let stored = checkpoint.backing(topic)?;
            let cause = match () {
                () if stored > *end => format!("the store has it up to {stored}, it ends at {end}"),
                () if stored < *start && self.is_changelog(topic) => {
                    format!("the store has it up to {stored}, it was cut up to {start}")
                }
                () => return None,
            };
            Some((topic.as_str(), cause))
        })
    }

    /// Whether a store that is ahead of a topic is of this log for all that: the group has committed
    /// what it has read, or its inputs are there as far. Then the topic has lost something. Else
    /// all was made anew, and the store is of before.
    fn is_of_this_log(&self, partition: u32, stored: &Checkpoint, known: &Known) -> Result<bool> {
        if known.group.iter().any(Option::is_some) {
            return Ok(true);
        }
        let at = |topic: &String| TopicPartition::new(topic, partition);
        let inputs: Vec<_> = self.env.inputs.iter().map(at).collect();
        let ends = self.broker.offsets(&inputs, OffsetSpec::End(Isolation::ReadUncommitted))?;
        let read = inputs.iter().map(|at| stored.input(&at.topic).unwrap_or(0));
        let mut bounds = read.zip(ends).filter(|(read, _)| *read > 0).peekable();
        Ok(bounds.peek().is_some() && bounds.all(|(read, end)| read <= end))
    }

    /// What of its topics a store with this checkpoint lacks. One that was added on a topic that
    /// backs another lacks all of it.
    fn missing(
        &self,
        (partition, claim): (u32, Claim),
        known: &Known,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<Vec<Missing>> {
        let (mut missing, mut told) = (Vec::new(), checkpoint.cloned());
        for (topic, start, end) in &known.backing {
            let mut position = checkpoint.and_then(|c| c.backing(topic)).unwrap_or(*start);
            let stores = self.env.topology.stores.iter().enumerate();
            for (table, store) in stores.filter(|(_, s)| s.backing.topic() == topic) {
                let is_kept = match checkpoint.map(|c| c.keeps(&store.name, topic)) {
                    // Rows of which no checkpoint tells are nobody's.
                    None => false,
                    Some(Some(is_kept)) => is_kept,
                    Some(None) => self.has_rows(table, partition)?,
                };
                if !is_kept {
                    position = *start;
                    if self.has_rows(table, partition)? {
                        self.clear((table, &store.name), (partition, claim), told.as_mut())?;
                    }
                }
            }
            let (topic, position) = (topic.clone(), position.max(*start));
            missing.push(Missing { topic, from: position, position, end: *end });
        }
        Ok(missing)
    }

    /// Deletes the rows that a store has of a time when it was kept, or of another topic: what was
    /// deleted since would come back. Before they are gone, the checkpoint does not tell of them any
    /// more; nor of those that were deleted before.
    fn clear(
        &self,
        (table, name): (usize, &str),
        (partition, claim): (u32, Claim),
        told: Option<&mut Checkpoint>,
    ) -> Result<()> {
        if let Some(checkpoint) = told {
            checkpoint.stores.retain(|kept| kept.name != name);
            let mut batch = StoreBatch::default();
            batch.checkpoint(partition, checkpoint.clone());
            batch.hold(partition, claim);
            self.env.store.apply(&batch)?;
        }
        Ok(self.env.store.clear(table, partition, claim)?)
    }

    fn has_rows(&self, table: usize, partition: u32) -> Result<bool> {
        let mut any = false;
        self.env.store.scan(table, partition, &[], &mut |_, _| {
            any = true;
            false
        })?;
        Ok(any)
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
