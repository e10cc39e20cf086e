//! Brings a store up to its topics, in bounded chunks between the steps of running tasks: from
//! the offset in the store to the high watermark, reading committed records only, until that
//! reading has passed it.
//!
//! Records are taken as they come, the last one of a key holds, as in a store that is built from
//! nothing. So a row that is there already in a later state goes through its earlier ones once
//! more: nobody reads it before the end. Its sequence says nothing here: the row of a key that was
//! deleted and put again counts from 1 again.

use std::time::Duration;

use super::open::{Known, last_commit};
use super::standstill::Standstill;
use super::told::Told;
use super::{Assigned, TaskStatus, Worker};
use crate::broker::{Broker, Isolation, Now, OffsetSpec, Reader, TopicPartition};
use crate::error::{Error, Result};
use crate::record::{Batch, Record};
use crate::stamp::{STAMP, Stamp};
use crate::store::{Checkpoint, Claim, Row, Stamped, StoreBatch, TopicIds};
use crate::task::{Metadata, TaskEnv, due_index};
use crate::topology::Backing;

/// Bytes read from one topic in one step.
const CHUNK_BYTES: usize = 1 << 20;

/// A backing topic and how far the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Missing {
    pub(super) topic: String,
    /// Where the restore begins.
    pub(super) from: u64,
    pub(super) position: u64,
    pub(super) end: u64,
}

/// A task that is not running yet.
pub(super) struct Restore {
    pub(super) partition: u32,
    pub(super) claim: Claim,
    /// What this application has committed, by input.
    pub(super) group: Vec<Option<u64>>,
    /// What others have committed in its place, by input.
    pub(super) foreign: Vec<Option<u64>>,
    pub(super) metadata: Option<Metadata>,
    /// Which topics it was begun with.
    pub(super) ids: TopicIds,
    pub(super) told: Told,
    pub(super) reached: Reached,
    /// Whether the index of due rows is that of the rows; else it is made in the end.
    pub(super) has_index: bool,
    /// From where on it is still to be made: table and key.
    pub(super) indexed: Option<(usize, Vec<u8>)>,
    pub(super) is_concluded: bool,
    /// Opened when it is needed; dropped with a chunk that failed, since it has moved on.
    reader: Option<Box<dyn Reader>>,
    standstill: Standstill,
    pub(super) started_ms: u64,
    told_ms: u64,
    /// What is wrong with it, on purpose.
    #[cfg(feature = "mutants")]
    pub(super) mutant: Option<super::Mutant>,
}

/// How far a restore is; all of it holds as soon as a chunk is in the store, and not before.
#[derive(Clone)]
pub(super) struct Reached {
    pub(super) missing: Vec<Missing>,
    pub(super) checkpoint: Checkpoint,
    /// Rows of ours were there before or have been found: this is not a new application.
    pub(super) evidence: bool,
    pub(super) restored: u64,
}

/// Restores of a worker that read at the same time: each has a client of its own, and what that
/// fetches ahead.
const READING_MAX: usize = 4;
/// Time between two lines of progress (ms).
const TELL_MS: u64 = 5_000;

impl Restore {
    pub(super) fn begin(
        (partition, claim): (u32, Claim),
        known: &Known,
        (checkpoint, missing): (Option<Checkpoint>, Vec<Missing>),
        due_layout: Option<u32>,
        now: Now,
    ) -> Restore {
        let metadata = last_commit(&known.group);
        let evidence = metadata.is_some() || checkpoint.is_some();
        let has_index = checkpoint.as_ref().is_none_or(|c| c.due_layout == due_layout);
        let mut checkpoint = checkpoint.unwrap_or_default();
        known.name_backing(&mut checkpoint);
        let reached = Reached { missing, evidence, checkpoint, restored: 0 };
        Restore {
            partition,
            claim,
            group: known.group.iter().map(|c| c.as_ref().map(|c| c.offset)).collect(),
            foreign: known.foreign.clone(),
            metadata,
            ids: known.ids.clone(),
            told: Told::default(),
            reached,
            has_index,
            indexed: None,
            is_concluded: false,
            reader: None,
            standstill: Standstill::new(now),
            started_ms: now.monotonic_ms,
            told_ms: now.monotonic_ms,
            #[cfg(feature = "mutants")]
            mutant: None,
        }
    }

    /// Others read: it begins when one of them is done.
    fn queue(&mut self, now: Now) {
        self.standstill = Standstill::new(now);
        (self.started_ms, self.told_ms) = (now.monotonic_ms, now.monotonic_ms);
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

    pub(super) fn remaining(&self) -> u64 {
        self.reached.missing.iter().map(|m| m.end.saturating_sub(m.position)).sum()
    }

    pub(super) fn status(&self) -> TaskStatus {
        TaskStatus::Restoring { restored: self.reached.restored, remaining: self.remaining() }
    }

    fn is_done(&self) -> bool {
        self.remaining() == 0
    }

    /// Time in which the broker was away does not count.
    fn excuse(&mut self, advanced: &Result<()>, now: Now) {
        #[cfg(feature = "mutants")]
        if self.mutant == Some(super::Mutant::AwayIsStandstill) {
            return;
        }
        if let Err(Error::Broker(error)) = advanced
            && error.is_unavailable()
        {
            self.standstill = Standstill::new(now);
        }
    }

    /// Reads and applies a chunk of each topic. After an error nothing of the chunk holds.
    fn advance(
        &mut self,
        broker: &dyn Broker,
        env: &TaskEnv,
        now: Now,
        stall_ms: u64,
    ) -> Result<()> {
        if self.standstill.is_silent(now) {
            // One that was opened while its broker was just coming back can stay silent for ever.
            self.reader = None;
            self.check_stall(broker, now, stall_ms)?;
        }
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.reader(broker)?,
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
            self.standstill = Standstill::new(now);
            // What a ledger tells is heard as a whole: one that is cut off reads it again.
            let is_heard = |m: &Missing| env.topology.tells.iter().any(|t| t.topic == m.topic);
            let position = |m: &Missing| if is_heard(m) { m.from } else { m.position };
            let backing = next.missing.iter().map(|m| (m.topic.clone(), position(m)));
            next.checkpoint.backing = backing.collect();
            self.keep(env, &mut next.checkpoint, rows)?;
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
        &mut self,
        env: &TaskEnv,
        record: &Record<'_>,
        next: &mut Reached,
        rows: &mut StoreBatch,
    ) -> Result<()> {
        let header = record.headers.get(STAMP);
        let stamp = header.and_then(Stamp::decode);
        if stamp.is_none() && header.is_some_and(Stamp::is_later) {
            let partition = TopicPartition::new(record.topic, record.partition);
            return Err(Error::LaterVersion { partition, offset: record.offset });
        }
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
            #[cfg(feature = "mutants")]
            if self.keeps(env, table, &key, sequence)? {
                continue;
            }
            let is_indexed = value.is_some();
            #[cfg(feature = "mutants")]
            let is_indexed = is_indexed && self.mutant != Some(super::Mutant::RestoreWithoutDue);
            if let Some(value) = value.as_deref().filter(|_| is_indexed) {
                let row = (&*key, value);
                due_index::index(&env.topology, (table, self.partition), row, rows);
            }
            let row = value.map(|value| {
                Row::encode(sequence, record.timestamp, &value, &mut encoded);
                encoded.as_slice()
            });
            rows.write(table, self.partition, &key, row);
        }
        if let Some(stamp) = stamp {
            // Behind the end lies what another one writes, whose rows are not waited for.
            let ends = next.missing.iter().find(|m| m.topic == record.topic).map(|m| m.end);
            if ends.is_some_and(|end| record.offset < end) {
                self.told.hear(env, record, &stamp);
            }
            next.learn(record, &stamp);
        }
        Ok(())
    }

    /// Nothing has come for a while: the broker is asked, and its answer counts that time.
    fn check_stall(&mut self, broker: &dyn Broker, now: Now, limit_ms: u64) -> Result<()> {
        let Some(stuck) = self.reached.missing.iter().find(|m| m.position < m.end) else {
            return Ok(());
        };
        let partition = TopicPartition::new(&stuck.topic, self.partition);
        let (position, end) = (stuck.position, stuck.end);
        let stable = OffsetSpec::End(Isolation::ReadCommitted);
        let stable = broker.offsets(std::slice::from_ref(&partition), stable)?;
        #[cfg(feature = "mutants")]
        if self.mutant == Some(super::Mutant::AwayIsStandstill) {
            self.standstill.count_all(now);
        }
        if self.standstill.count(now) < limit_ms {
            return Ok(());
        }
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
    fn learn(&mut self, record: &Record<'_>, stamp: &Stamp) {
        self.restored += 1;
        self.evidence = true;
        let checkpoint = &mut self.checkpoint;
        if stamp.incarnation > checkpoint.incarnation {
            // It is not known how many transactions that one has committed by then.
            (checkpoint.incarnation, checkpoint.sequence) = (stamp.incarnation, 0);
        }
        checkpoint.stream_time = checkpoint.stream_time.max(record.timestamp);
        checkpoint.clocks = checkpoint.clocks.latest(stamp.clocks);
        let Stamp { inputs, ref positions, .. } = *stamp;
        let is_same =
            |told: &Stamped| (told.inputs, told.positions.len()) == (inputs, positions.len());
        let known = checkpoint.stamped.iter().position(is_same).unwrap_or_else(|| {
            checkpoint.stamped.push(Stamped { inputs, positions: vec![0; positions.len()] });
            checkpoint.stamped.len() - 1
        });
        for (told, position) in checkpoint.stamped[known].positions.iter_mut().zip(positions) {
            *told = (*told).max(*position);
        }
    }
}

impl Worker {
    /// Moves restores on by a chunk, a few at a time; those that are done become running tasks.
    pub(super) fn restore(&mut self, now: Now) -> Result<bool> {
        let is_restoring = |assigned: &Assigned| matches!(assigned, Assigned::Restoring(_));
        if self.tasks.values().any(is_restoring) && self.reopen_if_claimed(now)? {
            return Ok(true);
        }
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
                let limit_ms = self.config.restore_stall_ms;
                let advanced = restore.advance(&*self.broker, &self.env, now, limit_ms);
                restore.excuse(&advanced, now);
                #[cfg(feature = "mutants")]
                let advanced = restore.mutated(advanced, before);
                advanced?;
            }
            restore.tell(now);
            if restore.is_done() {
                restore.conclude(&self.env, self.config.guarantee)?;
            }
            if restore.is_concluded {
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
}
