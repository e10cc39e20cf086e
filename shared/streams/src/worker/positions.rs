//! The last step before a task runs: where are its inputs read on from?

use super::restore::Restore;
use super::topic_ids::KnownBy;
use super::{Assigned, Worker};
use crate::broker::{Isolation, Now, OffsetSpec, TopicPartition};
use crate::error::{Error, Result};
#[cfg(feature = "mutants")]
use crate::stamp::Clocks;
use crate::store::{Checkpoint, Stamped};
use crate::task::{Progress, Task};

impl Worker {
    /// Makes a running task of a restore that is done.
    pub(super) fn start(&mut self, partition: u32, now: Now) -> Result<()> {
        let Some(Assigned::Restoring(restore)) = self.tasks.get(&partition) else {
            return Ok(());
        };
        let positions = self.positions(restore)?;
        // Found by another word than the group's, they are the group's from now on.
        let is_unknown = !restore.group.iter().copied().eq(positions.iter().copied().map(Some));
        let metadata = restore.metadata.clone().unwrap_or_default();
        let checkpoint = &restore.reached.checkpoint;
        let incarnation = metadata.incarnation.max(checkpoint.incarnation) + 1;
        let progress = Progress {
            positions,
            stream_time: metadata.stream_time.max(checkpoint.stream_time),
            sequence: metadata.sequence.max(checkpoint.sequence),
            clocks: metadata.clocks.latest(checkpoint.clocks),
        };
        let (restored, ms) = (restore.reached.restored, now.monotonic_ms - restore.started_ms);
        tracing::info!(partition, incarnation, restored, ms, "task runs");
        #[cfg(feature = "mutants")]
        let progress = match self.is(super::Mutant::ClocksForgotten) {
            true => Progress { clocks: Clocks::default(), ..progress },
            false => progress,
        };
        let mut task = Task::new(self.env.clone(), partition, incarnation, progress);
        task.ids = restore.ids.clone();
        task.claim = restore.claim;
        task.is_unknown = is_unknown;
        self.learn_ids(partition, task.claim, &task.ids)?;
        #[cfg(feature = "mutants")]
        (task.state.mutant = self.config.mutant);
        #[cfg(feature = "mutants")]
        let task = task.mistaken(self.config.mutant.and_then(super::Mutant::mistake));
        self.tasks.insert(partition, Assigned::Running(Box::new(task), restored));
        Ok(())
    }

    /// Where the inputs are read on from: the group's word first, as far as it is this application's,
    /// then the store's and its topics', and the beginning only where nothing of ours exists.
    fn positions(&self, restore: &Restore) -> Result<Vec<u64>> {
        let at = |topic: &String| TopicPartition::new(topic, restore.partition);
        let partitions: Vec<_> = self.env.inputs.iter().map(at).collect();
        let starts = self.broker.offsets(&partitions, OffsetSpec::Start)?;
        let ends = self.broker.offsets(&partitions, OffsetSpec::End(Isolation::ReadUncommitted))?;
        let mut positions = Vec::new();
        for (input, at) in partitions.into_iter().enumerate() {
            let known = self.own_position(restore, input, &at)?;
            let (start, end) = (starts[input], ends[input]);
            let position = match known {
                None => start,
                Some(position) if (start..=end).contains(&position) => position,
                // A tick that is gone is no loss: the next one tells the time.
                Some(position) if self.env.topology.tick_input() == Some(input) => {
                    position.clamp(start, end)
                }
                Some(position) if self.may_skip(restore.partition) => {
                    tracing::warn!(%at, position, start, end, "skips a gap, as told");
                    position.clamp(start, end)
                }
                Some(from) => {
                    return Err(Error::Gap { partition: at, from, start, end });
                }
            };
            if known.is_none() && restore.reached.evidence {
                tracing::warn!(%at, start, "no position is known of this input: reads it all");
            }
            let foreign = restore.foreign[input];
            positions.push(foreign.map_or(position, |o| self.pass_by(&at, position, o.min(end))));
        }
        Ok(positions)
    }

    /// The operator's word counts once: for what this start has found of the partition.
    fn may_skip(&self, partition: u32) -> bool {
        self.config.skip_gap && !self.committed.contains(&partition)
    }

    /// Others have committed an offset in the group's name. They decide nothing here: by their word
    /// records would be left out, or taken again. Only an operator's word counts.
    fn pass_by(&self, at: &TopicPartition, own: u64, foreign: u64) -> u64 {
        let group = &self.group;
        if self.may_skip(at.partition) && foreign > own {
            tracing::warn!(group, %at, own, foreign, "skips to the offset that others set, as told");
            return foreign;
        }
        tracing::warn!(group, %at, own, foreign,
            "the group's offset is not this application's: goes on from its own; `reset --skip-gap` \
             would pass on to a later one");
        own
    }

    /// The position of an input by what this application has written itself; nothing where it was
    /// never read. A store knows inputs by their names, and so do stamps. Those of version 1 know them by
    /// their numbers only, which change with the topology: what they say alone is believed where no
    /// other sign is against it.
    fn own_position(
        &self,
        restore: &Restore,
        input: usize,
        at: &TopicPartition,
    ) -> Result<Option<u64>> {
        if let Some(offset) = restore.group[input] {
            return Ok(Some(offset));
        }
        let checkpoint = &restore.reached.checkpoint;
        let (stamped, of_others) = self.by_stamps(checkpoint, input);
        let (stamped, is_named) =
            (stamped.map(|(read, _)| read), stamped.is_some_and(|(_, by)| by));
        let in_group = restore.group.iter().flatten().count();
        let foreign = restore.foreign[input];
        let cause = match (checkpoint.input(&at.topic), stamped) {
            (Some(stored), _) if of_others == 0 => {
                let read = stored.max(stamped.unwrap_or(0));
                // Where a cluster deletes a topic, what groups have committed of it goes too.
                let is_gone = in_group > 0 && foreign.is_none() && read > 0;
                return match is_gone && !checkpoint.ids.contains_key(&at.topic) {
                    true => Err(self.sign(at, read, KnownBy::Name)),
                    false => Ok(Some(read)),
                };
            }
            (Some(_), _) => {
                "the inputs have changed since the store was written, and the group has no offset \
                 of ours of this one"
                    .to_owned()
            }
            // The store knows others, or as many as stamps know of are known by name: it is new.
            (None, None) if !checkpoint.inputs.is_empty() || in_group >= of_others => {
                return Ok(None);
            }
            (None, _) if of_others > 0 => "rows tell of other inputs than there are now, and \
                                           neither the group nor a store of this one"
                .to_owned(),
            (None, None | Some(0)) => return Ok(stamped),
            (None, Some(_)) if in_group == 0 => return Ok(stamped),
            (None, Some(read)) => match (foreign, is_named) {
                // By its own position: what stands in its place decides nothing.
                (Some(_), true) => return Ok(Some(read)),
                (None, true) => return Err(self.sign(at, read, KnownBy::Name)),
                (None, false) => return Err(self.sign(at, read, KnownBy::Number)),
                // By its own position, were it the input that has always had this number.
                (Some(foreign), false) => format!(
                    "rows tell that it was read up to {read}, by the number of the input only, and \
                     the group {} has offsets of ours of the other inputs, but {foreign} of this \
                     one, which others have set: delete the offsets of the whole group to go on \
                     from {read}, or",
                    self.group
                ),
            },
        };
        match self.may_skip(at.partition) && foreign.is_some() {
            // The one that was set is taken.
            true => Ok(None),
            false => Err(Error::UnknownPosition { partition: at.clone(), cause }),
        }
    }

    /// What stamps tell of an input, if their inputs are those of now for all that is known, and whether
    /// they say so themselves; and of how many inputs those are whose are not.
    fn by_stamps(&self, stored: &Checkpoint, input: usize) -> (Option<(u64, bool)>, usize) {
        let inputs = &self.env.inputs;
        let names = stored.inputs.iter().map(|(name, _)| name);
        // Where there were more, the stamps of then differ by that.
        let is_same = names.len() > inputs.len() || names.zip(inputs).all(|(a, b)| a == b);
        let of_first_version = stored.stamped.iter().filter(|told| told.inputs.is_none()).count();
        let is_now = |told: &&Stamped| {
            let is_named = told.inputs.is_some();
            self.env.topology.has_numbers(told.inputs, told.positions.len())
                && (is_named || is_same && of_first_version == 1)
        };
        let of_now = stored.stamped.iter().filter(is_now);
        let told =
            of_now.filter_map(|t| Some((*t.positions.get(input)?, t.inputs.is_some()))).max();
        let others = stored.stamped.iter().filter(|told| !is_now(told));
        (told, others.map(|told| told.positions.len()).max().unwrap_or(0))
    }
}
