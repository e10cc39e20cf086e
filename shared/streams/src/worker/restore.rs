//! Brings a store up to its topics, in bounded chunks between the steps of running tasks: from
//! the offset in the store to the high watermark, reading committed records only, until that
//! reading has passed it.

use std::time::Duration;

use super::open::{Known, last_commit};
use super::{Assigned, TaskStatus, Worker};
use crate::broker::{Broker, Isolation, Now, OffsetSpec, Reader, TopicPartition};
use crate::error::{Error, Result};
use crate::record::{Batch, Record};
use crate::stamp::{STAMP, Stamp};
use crate::store::{Checkpoint, Row, StoreBatch, TopicIds};
use crate::task::{Metadata, Progress, Task, TaskEnv};
use crate::topology::Backing;

/// Bytes read from one topic in one step.
const CHUNK_BYTES: usize = 1 << 20;

/// A backing topic and how far the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Missing {
    pub(super) topic: String,
    pub(super) position: u64,
    pub(super) end: u64,
}

/// A task that is not running yet.
pub(super) struct Restore {
    partition: u32,
    /// What the group has committed, by input.
    group: Vec<Option<u64>>,
    metadata: Option<Metadata>,
    /// Which topics it was begun with.
    ids: TopicIds,
    reached: Reached,
    /// The store held rows when the restore began: older records must not undo them.
    compare: bool,
    /// Opened when it is needed; dropped with a chunk that failed, since it has moved on.
    reader: Option<Box<dyn Reader>>,
    opened_ms: u64,
    progress_ms: u64,
    started_ms: u64,
    told_ms: u64,
}

/// How far a restore is; all of it holds as soon as a chunk is in the store, and not before.
#[derive(Clone)]
struct Reached {
    missing: Vec<Missing>,
    checkpoint: Checkpoint,
    /// Rows of ours were there before or have been found: this is not a new application.
    evidence: bool,
    restored: u64,
}

/// Restores of a worker that read at the same time: each has a client of its own, and what that
/// fetches ahead.
const READING_MAX: usize = 4;
/// Time between two lines of progress (ms).
const TELL_MS: u64 = 5_000;
/// A reader that brings nothing for so long is replaced (ms): one that was opened while its broker
/// was just coming back can stay silent for ever.
const REOPEN_MS: u64 = 5_000;

impl Restore {
    pub(super) fn begin(
        partition: u32,
        known: &Known,
        checkpoint: Option<Checkpoint>,
        now: Now,
    ) -> Restore {
        let metadata = last_commit(&known.group);
        let missing = known.missing(checkpoint.as_ref());
        let compare = checkpoint.is_some();
        let mut checkpoint = checkpoint.unwrap_or_default();
        known.name_backing(&mut checkpoint);
        let reached =
            Reached { missing, evidence: metadata.is_some() || compare, checkpoint, restored: 0 };
        Restore {
            partition,
            group: known.group.iter().map(|c| c.as_ref().map(|c| c.offset)).collect(),
            metadata,
            ids: known.ids.clone(),
            reached,
            compare,
            reader: None,
            opened_ms: now.monotonic_ms,
            progress_ms: now.monotonic_ms,
            started_ms: now.monotonic_ms,
            told_ms: now.monotonic_ms,
        }
    }

    /// Others read: it begins when one of them is done.
    fn queue(&mut self, now: Now) {
        let now = now.monotonic_ms;
        (self.opened_ms, self.progress_ms, self.started_ms, self.told_ms) = (now, now, now, now);
    }

    /// Says, now and then, how far it is and how long it will take.
    fn tell(&mut self, now: Now) {
        if now.monotonic_ms.saturating_sub(self.told_ms) < TELL_MS {
            return;
        }
        self.told_ms = now.monotonic_ms;
        let seconds = (now.monotonic_ms - self.started_ms) / 1_000;
        let (restored, remaining) = (self.reached.restored, self.remaining());
        let per_s = restored / seconds.max(1);
        let left_s = remaining / per_s.max(1);
        let partition = self.partition;
        tracing::info!(partition, restored, remaining, per_s, left_s, "restores");
    }

    fn remaining(&self) -> u64 {
        self.reached.missing.iter().map(|m| m.end.saturating_sub(m.position)).sum()
    }

    pub(super) fn status(&self) -> TaskStatus {
        TaskStatus::Restoring { restored: self.reached.restored, remaining: self.remaining() }
    }

    fn is_done(&self) -> bool {
        self.remaining() == 0
    }

    /// Reads and applies a chunk of each topic. After an error nothing of the chunk holds.
    fn advance(&mut self, broker: &dyn Broker, env: &TaskEnv, now: Now) -> Result<()> {
        let silent_ms = now.monotonic_ms.saturating_sub(self.opened_ms.max(self.progress_ms));
        let mut reader = match self.reader.take() {
            Some(reader) if silent_ms < REOPEN_MS => reader,
            _ => {
                self.opened_ms = now.monotonic_ms;
                self.reader(broker)?
            }
        };
        let mut next = self.reached.clone();
        reader.wait(Duration::from_millis(1))?;
        let mut batch = Batch::default();
        let mut rows = StoreBatch::default();
        for slot in 0..next.missing.len() {
            batch.clear();
            let position = reader.fetch(slot, CHUNK_BYTES, &mut batch)?;
            next.missing[slot].position = position.max(next.missing[slot].position);
            let topic = next.missing[slot].topic.clone();
            for index in 0..batch.len() {
                let record = batch.get(index, &topic, self.partition);
                self.apply(env, &record, &mut next, &mut rows)?;
            }
        }
        if next.missing != self.reached.missing {
            self.progress_ms = now.monotonic_ms;
            let backing = next.missing.iter().map(|m| (m.topic.clone(), m.position));
            next.checkpoint.backing = backing.collect();
            rows.checkpoint(self.partition, next.checkpoint.clone());
            env.store.apply(&rows)?;
        }
        self.reached = next;
        self.reader = Some(reader);
        Ok(())
    }

    /// Reads on from where the store is; only what is committed.
    fn reader(&self, broker: &dyn Broker) -> Result<Box<dyn Reader>> {
        let from = |m: &Missing| (TopicPartition::new(&m.topic, self.partition), m.position);
        let from: Vec<_> = self.reached.missing.iter().map(from).collect();
        Ok(broker.reader(&from, Isolation::ReadCommitted)?)
    }

    /// Takes one record into the tables that its topic backs.
    fn apply(
        &self,
        env: &TaskEnv,
        record: &Record<'_>,
        next: &mut Reached,
        rows: &mut StoreBatch,
    ) -> Result<()> {
        let stamp = record.headers.get(STAMP).and_then(Stamp::decode);
        let mut encoded = Vec::new();
        for (table, spec) in env.topology.stores.iter().enumerate() {
            if spec.backing.topic() != record.topic {
                continue;
            }
            let foreign = |cause: &str| Error::ForeignRow {
                partition: TopicPartition::new(record.topic, record.partition),
                offset: record.offset,
                cause: cause.to_owned(),
            };
            let (key, value, sequence) = match (&spec.backing, &stamp) {
                (Backing::Ledger { from, .. }, Some(stamp)) => {
                    let Some((key, value)) = from(record, &stamp.memo) else {
                        continue;
                    };
                    (key, Some(value), 1)
                }
                // Older rows of another program may lie in a ledger; they are not ours to read.
                (Backing::Ledger { .. }, None) => continue,
                (Backing::Changelog { from, .. }, Some(stamp)) => {
                    let key = record.key.ok_or_else(|| foreign("it has no key"))?;
                    let value = record.value.map(|value| from(key, value)).transpose();
                    let value = value.map_err(|cause| foreign(&cause))?;
                    (key.to_vec(), value, stamp.sequence)
                }
                (Backing::Changelog { .. }, None) => return Err(foreign("it has no stamp")),
            };
            if self.compare && self.is_newer(env, table, &key, sequence)? {
                continue;
            }
            let row = value.map(|value| {
                Row::encode(sequence, record.timestamp, &value, &mut encoded);
                encoded.as_slice()
            });
            rows.write(table, self.partition, &key, row);
        }
        if let Some(stamp) = stamp {
            next.learn(env, record, &stamp);
        }
        Ok(())
    }

    /// Whether the store already has a later state of the row.
    fn is_newer(&self, env: &TaskEnv, table: usize, key: &[u8], sequence: u64) -> Result<bool> {
        let mut row = Vec::new();
        let there = env.store.get(table, self.partition, key, &mut row)?;
        Ok(there && Row::decode(&row).is_some_and(|row| row.sequence > sequence))
    }

    fn check_stall(&self, broker: &dyn Broker, now: Now, limit_ms: u64) -> Result<()> {
        let Some(stuck) = self.reached.missing.iter().find(|m| m.position < m.end) else {
            return Ok(());
        };
        if now.monotonic_ms.saturating_sub(self.progress_ms) < limit_ms {
            return Ok(());
        }
        let partition = TopicPartition::new(&stuck.topic, self.partition);
        let (position, end) = (stuck.position, stuck.end);
        let stable = OffsetSpec::End(Isolation::ReadCommitted);
        let stable = broker.offsets(std::slice::from_ref(&partition), stable)?;
        let cause = match stable[0] > position {
            true => "its committed records are not delivered",
            false => "a transaction is left open, or the topic was cut",
        };
        Err(Error::RestoreStalled { partition, position, end, cause })
    }
}

impl Reached {
    /// What a row says of the task that wrote it: enough to go on where the group's offsets are
    /// lost.
    fn learn(&mut self, env: &TaskEnv, record: &Record<'_>, stamp: &Stamp) {
        self.restored += 1;
        self.evidence = true;
        let checkpoint = &mut self.checkpoint;
        checkpoint.incarnation = checkpoint.incarnation.max(stamp.incarnation);
        checkpoint.stream_time = checkpoint.stream_time.max(record.timestamp);
        for (topic, position) in env.inputs.iter().zip(&stamp.positions) {
            match checkpoint.inputs.iter_mut().find(|(name, _)| name == topic) {
                Some((_, known)) => *known = (*known).max(*position),
                None => checkpoint.inputs.push((topic.clone(), *position)),
            }
        }
    }
}

#[cfg(feature = "mutants")]
impl Restore {
    /// Ends the restore where a mutant would.
    fn mutated(
        &mut self,
        advanced: Result<()>,
        before: u64,
        mutant: Option<super::Mutant>,
    ) -> Result<()> {
        use super::Mutant::{RestoreEndsEarly, RestoreFailureIsEnd};
        match (advanced, mutant) {
            (Ok(()), Some(RestoreEndsEarly)) if self.remaining() == before => {
                self.reached.missing.clear();
                Ok(())
            }
            (Err(_), Some(RestoreFailureIsEnd)) => {
                self.reached.missing.clear();
                Ok(())
            }
            (advanced, _) => advanced,
        }
    }
}

impl Worker {
    /// Moves restores on by a chunk, a few at a time; those that are done become running tasks.
    pub(super) fn restore(&mut self, now: Now) -> Result<bool> {
        let mut done = Vec::new();
        let (mut restoring, mut reading) = (false, 0);
        for (partition, assigned) in &mut self.tasks {
            let Assigned::Restoring(restore) = assigned else {
                continue;
            };
            restoring = true;
            if !restore.is_done() {
                reading += 1;
                if reading > READING_MAX {
                    restore.queue(now);
                    continue;
                }
                #[cfg(feature = "mutants")]
                let before = restore.remaining();
                let advanced = restore.advance(&*self.broker, &self.env, now);
                #[cfg(feature = "mutants")]
                let advanced = restore.mutated(advanced, before, self.config.mutant);
                advanced?;
            }
            restore.check_stall(&*self.broker, now, self.config.restore_stall_ms)?;
            restore.tell(now);
            if restore.is_done() {
                done.push(*partition);
            }
        }
        for partition in &done {
            self.start(*partition, now)?;
        }
        if !done.is_empty() {
            self.assign_running()?;
        }
        Ok(restoring)
    }

    fn start(&mut self, partition: u32, now: Now) -> Result<()> {
        let Some(Assigned::Restoring(restore)) = self.tasks.get(&partition) else {
            return Ok(());
        };
        let positions = self.positions(restore)?;
        let metadata = restore.metadata.clone().unwrap_or_default();
        let checkpoint = &restore.reached.checkpoint;
        let incarnation = metadata.incarnation.max(checkpoint.incarnation) + 1;
        let progress = Progress {
            positions,
            stream_time: metadata.stream_time.max(checkpoint.stream_time),
            sequence: metadata.sequence.max(checkpoint.sequence),
        };
        let (restored, ms) = (restore.reached.restored, now.monotonic_ms - restore.started_ms);
        tracing::info!(partition, incarnation, restored, ms, "task runs");
        let mut task = Task::new(self.env.clone(), partition, incarnation, progress);
        task.ids = restore.ids.clone();
        self.learn_ids(partition, &task.ids)?;
        #[cfg(feature = "mutants")]
        let task = task.mistaken(self.config.mutant.and_then(super::Mutant::mistake));
        self.tasks.insert(partition, Assigned::Running(Box::new(task), restored));
        Ok(())
    }

    /// Where the inputs are read on from: the group's word first, then the store's and its
    /// topics', and the beginning only where nothing of ours exists.
    fn positions(&self, restore: &Restore) -> Result<Vec<u64>> {
        let at = |topic: &String| TopicPartition::new(topic, restore.partition);
        let partitions: Vec<_> = self.env.inputs.iter().map(at).collect();
        let starts = self.broker.offsets(&partitions, OffsetSpec::Start)?;
        let ends = self.broker.offsets(&partitions, OffsetSpec::End(Isolation::ReadUncommitted))?;
        let mut positions = Vec::new();
        for (input, at) in partitions.into_iter().enumerate() {
            let checkpoint = &restore.reached.checkpoint;
            self.check_sign(input, &at, &restore.group, checkpoint)?;
            let known = restore.group[input].or_else(|| checkpoint.input(&at.topic));
            let (start, end) = (starts[input], ends[input]);
            let position = match known {
                None => start,
                Some(position) if (start..=end).contains(&position) => position,
                Some(position) if self.config.skip_gap => {
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
            positions.push(position);
        }
        Ok(positions)
    }
}
