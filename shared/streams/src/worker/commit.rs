//! The only place that owns the producer's transactions, and the dangerous order of a commit:
//!
//! 1. changelog rows: one per changed row, its last value
//! 2. drain the producer; a failed delivery aborts
//! 3. add the offsets of all inputs, under the group's present generation
//! 4. commit the transaction
//! 5. only now one batch to the store: rows, positions, ends of the backing topics
//!
//! A crash before 4 leaves nothing. Between 4 and 5 it leaves the store behind, and the tails of
//! its topics are replayed. Where the outcome of 4 is not known, a new producer settles it and
//! the committed offsets tell.

use super::{Activity, Assigned, Guarantee, Worker};
use crate::broker::{BrokerError, CommitStatus, Membership, Now, OffsetCommit, TopicPartition};
use crate::error::{Error, Result};
use crate::store::StoreBatch;

/// A commit whose outcome is awaited.
pub(super) struct Commit {
    /// When it was begun (monotonic ms).
    since_ms: u64,
    /// Partitions of the tasks in it.
    tasks: Vec<u32>,
    offsets: Vec<OffsetCommit>,
    membership: Membership,
    /// The outcome is not known: the producer has been replaced, the offsets will tell.
    unknown: bool,
}

/// A commit that holds, for the next step to measure: this one's time is from before it.
pub(super) struct Concluded {
    /// When it was begun (monotonic ms).
    pub(super) since_ms: u64,
    /// Timestamps of its records.
    pub(super) times: Vec<i64>,
}

impl Worker {
    pub(super) fn commit_if_due(&mut self, now: Now) -> Result<()> {
        match self.transaction_since {
            Some(since) if self.is_due(now.monotonic_ms.saturating_sub(since)) => {
                self.start_commit(now)
            }
            None if self.producer_ready && (self.refresh_is_due(now) || self.has_unknown()) => {
                self.start_commit(now)
            }
            _ => Ok(()),
        }
    }

    fn is_due(&self, age_ms: u64) -> bool {
        let policy = &self.config.commit;
        let tasks = || {
            self.tasks.values().filter_map(|assigned| match assigned {
                Assigned::Running(task, _) => Some(task),
                Assigned::Restoring(_) => None,
            })
        };
        age_ms >= policy.interval_ms
            || tasks().map(|t| t.pending).sum::<u64>() >= policy.records_max
            || tasks().map(|t| t.added_bytes()).sum::<usize>() >= policy.bytes_max
            || tasks().all(|t| t.has_caught_up())
    }

    /// Offsets that nobody commits any more expire: all of them are committed anew, rarely.
    fn refresh_is_due(&self, now: Now) -> bool {
        let since = self.refreshed_ms.unwrap_or(0);
        let running = self.tasks.values().any(|t| matches!(t, Assigned::Running(..)));
        running && now.monotonic_ms.saturating_sub(since) >= self.config.refresh_offsets_ms
    }

    /// Whether a task has positions that the group does not know.
    fn has_unknown(&self) -> bool {
        self.running().any(|task| task.is_unknown)
    }

    /// Steps 1 to 3; the outcome comes by [`Worker::settle`].
    pub(super) fn start_commit(&mut self, now: Now) -> Result<()> {
        // What was read since may be of another state.
        if self.reopen_if_claimed(now)? {
            return Ok(());
        }
        let refresh = self.refresh_is_due(now);
        self.transaction_since.get_or_insert(now.monotonic_ms);
        let (mut partitions, mut offsets) = (Vec::new(), Vec::new());
        #[cfg(feature = "mutants")]
        let ignores_ticks = self.is(super::Mutant::TickWithoutOffsets);
        for (partition, assigned) in &mut self.tasks {
            let Assigned::Running(task, _) = assigned else {
                continue;
            };
            let has_news = task.pending > 0 || task.has_open_tick();
            #[cfg(feature = "mutants")]
            let has_news = has_news && (task.pending > 0 || !ignores_ticks);
            if !has_news && !task.is_unknown && !refresh {
                continue;
            }
            // 1. changelog rows
            if let Err(error) = task.write_changelogs(&mut self.producer) {
                return self.give_up(error, now);
            }
            offsets.extend(task.offsets(&self.config.id));
            partitions.push(*partition);
        }
        if refresh {
            self.refreshed_ms = Some(now.monotonic_ms);
        }
        #[cfg(feature = "mutants")]
        {
            self.offsets_mutated(&mut offsets)?;
            if self.is(super::Mutant::StoreBeforeCommit) {
                self.store_first(&partitions)?;
            }
        }
        let membership = self.consumer.membership();
        let backing = self.backing(&partitions);
        let in_transaction = match self.config.guarantee {
            Guarantee::ExactlyOnce => offsets.as_slice(),
            Guarantee::AtLeastOnce => &[],
        };
        #[cfg(feature = "mutants")]
        let in_transaction = match self.is(super::Mutant::OffsetsOutside) {
            true => &[],
            false => in_transaction,
        };
        // 2. drain, and 3. offsets
        let started = self.producer.start_commit(in_transaction, &membership, &backing);
        let since_ms = now.monotonic_ms;
        let tasks = partitions;
        self.commit = Some(Commit { since_ms, tasks, offsets, membership, unknown: false });
        match started {
            Ok(()) => Ok(()),
            Err(status) => self.conclude(status, now),
        }
    }

    pub(super) fn backing(&self, partitions: &[u32]) -> Vec<TopicPartition> {
        let topics = self.env.topology.backing_topics();
        let of = |p: &u32| {
            let p = *p;
            topics.iter().map(move |topic| TopicPartition::new(topic, p)).collect::<Vec<_>>()
        };
        partitions.iter().flat_map(of).collect()
    }

    /// Step 4: looks for the outcome of the commit under way.
    pub(super) fn settle(&mut self, now: Now) -> Result<Activity> {
        let Some(commit) = &self.commit else {
            return Ok(Activity::Idle);
        };
        if commit.unknown {
            return self.settle_unknown(now);
        }
        match self.producer.poll_commit() {
            CommitStatus::Pending => Ok(Activity::Idle),
            status => self.conclude(status, now).map(|()| Activity::Busy),
        }
    }

    fn conclude(&mut self, status: CommitStatus, now: Now) -> Result<()> {
        match status {
            CommitStatus::Pending => Ok(()),
            CommitStatus::Committed { ends } => {
                if self.config.guarantee == Guarantee::AtLeastOnce
                    && let Some(commit) = &self.commit
                {
                    match self.consumer.commit(&commit.offsets) {
                        Ok(()) => {}
                        // Its place in the group is gone, of which the next poll tells.
                        Err(cause @ BrokerError::Fenced { .. }) => {
                            return self.give_up(cause.into(), now);
                        }
                        Err(error) => return Err(error.into()),
                    }
                }
                self.apply(ends)?;
                let tainted = self.producer.is_tainted();
                #[cfg(feature = "mutants")]
                let tainted = tainted && !self.is(super::Mutant::LateEndIgnored);
                if tainted {
                    self.replace_producer()?;
                }
                Ok(())
            }
            #[cfg(feature = "mutants")]
            CommitStatus::Unknown { cause } if self.is(super::Mutant::TimeoutIsAbort) => {
                self.give_up(cause.into(), now)
            }
            CommitStatus::Unknown { cause } => {
                tracing::warn!(worker = %self.config.id, %cause, "commit: outcome not known");
                if let Some(commit) = &mut self.commit {
                    commit.unknown = true;
                }
                self.replace_producer()
            }
            CommitStatus::Aborted { cause } | CommitStatus::Fenced { cause } => {
                self.give_up(cause.into(), now)
            }
        }
    }

    /// The transaction cannot be committed: drop it, its tasks begin again where the group is.
    pub(super) fn give_up(&mut self, error: Error, now: Now) -> Result<()> {
        if self.is_refused_tick(&error, now) {
            return self.drop_transaction(now);
        }
        let Error::Broker(cause) = error else {
            return Err(error);
        };
        tracing::warn!(worker = %self.config.id, %cause, "transaction dropped");
        self.drop_transaction(now)?;
        match cause {
            BrokerError::Unavailable { .. } | BrokerError::Fenced { .. } => Ok(()),
            fatal => Err(fatal.into()),
        }
    }

    /// The replaced producer has fenced what was in flight, so the committed offsets are final:
    /// they are either this very transaction's, or it does not hold.
    fn settle_unknown(&mut self, now: Now) -> Result<Activity> {
        if !self.producer_ready {
            self.ready_producer()?;
            if !self.producer_ready {
                return Ok(Activity::Idle);
            }
        }
        let Some(commit) = &self.commit else {
            return Ok(Activity::Idle);
        };
        let partitions: Vec<_> = commit.offsets.iter().map(|o| o.partition.clone()).collect();
        let found = self.broker.committed(&self.group, &partitions)?;
        let ours = commit.offsets.iter().zip(&found);
        let holds = { ours }.all(|(ours, found)| found.as_ref() == Some(&ours.committed))
            && self.consumer.membership().is_same(&commit.membership);
        if holds {
            tracing::info!(worker = %self.config.id, "commit: it holds");
            self.apply(Vec::new())?;
        } else {
            tracing::warn!(worker = %self.config.id, "commit: it does not hold");
            self.drop_transaction(now)?;
        }
        Ok(Activity::Busy)
    }

    /// Step 5: rows, positions and ends, in one batch. Without `ends` (the outcome came by a detour)
    /// those of the store stay: the tail between is replayed when the task is next opened.
    fn apply(&mut self, ends: Vec<u64>) -> Result<()> {
        let Some(commit) = self.commit.take() else {
            return Ok(());
        };
        let topics = self.env.topology.backing_topics();
        let mut batch = StoreBatch::default();
        #[cfg(feature = "mutants")]
        let mut apart = StoreBatch::default();
        let mut times = Vec::new();
        let mut ends = ends.into_iter();
        for partition in &commit.tasks {
            let Some(Assigned::Running(task, _)) = self.tasks.get_mut(partition) else {
                continue;
            };
            let known: Vec<u64> = ends.by_ref().take(topics.len()).collect();
            let backing = if known.len() == topics.len() {
                topics.iter().cloned().zip(known).collect()
            } else {
                self.env.store.checkpoint(*partition)?.unwrap_or_default().backing
            };
            task.stage(backing, &mut batch);
            #[cfg(feature = "mutants")]
            if self.config.mutant == Some(super::Mutant::DueIndexApart) {
                task.stage_due(&mut apart);
            }
            self.committed.insert(*partition);
            self.status.take(task);
            times.append(&mut task.times);
            task.committed();
            task.tick_committed(self.asked);
        }
        let lost = self.env.store.apply(&batch)?;
        #[cfg(feature = "mutants")]
        self.env.store.apply(&apart)?;
        self.status.commits += 1;
        self.concluded = Some(Concluded { since_ms: commit.since_ms, times });
        self.transaction_since = None;
        if !lost.is_empty() {
            // The transaction holds, and its rows are on the topics: they are read from there.
            self.tasks.clear();
            self.reopen();
        }
        Ok(())
    }
}
