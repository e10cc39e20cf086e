//! A task: one partition number of all inputs, with its stores. It knows no broker and no clock:
//! records are pushed into it, what it writes goes to an [`Output`].
//!
//! Reading order: [`order`] (which record next), [`queue`], [`admit`], [`next`] (dead letters
//! before all), [`overlay`] (the open transaction's state), [`filter`] (what the store does not
//! hold), this file (one record from head to position), [`scope`] (what a processor may do).

mod admit;
mod filter;
mod metadata;
mod next;
pub(crate) mod order;
pub(crate) mod overlay;
pub(crate) mod queue;
pub(crate) mod scope;

use std::collections::BTreeMap;
use std::sync::Arc;

use self::admit::{Admitted, admit, bury, rekey};
pub(crate) use self::metadata::Metadata;
use self::order::Choice;
use self::overlay::{Bounds, Table};
use self::queue::InputQueue;
pub(crate) use self::scope::Scope;
use self::scope::{At, trace};
use crate::broker::{BrokerError, CommittedOffset, Now, OffsetCommit, TopicPartition};
use crate::error::{Error, Result};
use crate::prepare::Prepared;
use crate::processor::{Context, Origin, ProcessError, Processor};
use crate::record::{Outgoing, Record};
use crate::stamp::{STAMP, StampParts};
use crate::store::{Checkpoint, Claim, Row, Store, StoreBatch, TopicIds};
use crate::topology::{Backing, Source, StoreSpec, Topology};

/// Where a task's records go: the open transaction of a producer, or a test's list.
pub(crate) trait Output {
    fn send(&mut self, record: Outgoing<'_>) -> Result<(), BrokerError>;
}

impl Output for Box<dyn crate::broker::Producer> {
    fn send(&mut self, record: Outgoing<'_>) -> Result<(), BrokerError> {
        crate::broker::Producer::send(&mut **self, record)
    }
}

/// What all tasks of an application share.
pub(crate) struct TaskEnv {
    pub(crate) topology: Arc<Topology>,
    pub(crate) store: Arc<dyn Store>,
    /// Input topics, in the order of a task's queues.
    pub(crate) inputs: Vec<String>,
    /// How far ahead of the clock a record of each input may be stamped (ms).
    ahead_ms: Vec<u64>,
    pub(crate) partitions: u32,
    pub(crate) dead_letter_partitions: u32,
}

impl TaskEnv {
    pub(crate) fn new(topology: Arc<Topology>, store: Arc<dyn Store>, topics: Prepared) -> Self {
        let Prepared { partitions, dead_letter_partitions } = topics;
        let (inputs, ahead_ms) = (topology.inputs(), next::ahead_ms(&topology));
        TaskEnv { inputs, ahead_ms, topology, store, partitions, dead_letter_partitions }
    }
}

/// How far a task is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Next offset to read, by input.
    pub(crate) positions: Vec<u64>,
    pub(crate) stream_time: i64,
    /// Number of the last transaction.
    pub(crate) sequence: u64,
}

/// What processing changes.
pub(crate) struct TaskState {
    pub(crate) partition: u32,
    pub(crate) incarnation: u64,
    pub(crate) progress: Progress,
    pub(crate) tables: Vec<Table>,
    /// What was counted in the open transaction.
    pub(crate) counters: Vec<(&'static str, u64)>,
    /// Buffer for stamps and rows.
    scratch: Vec<u8>,
    /// Records written for the record at hand.
    written: u32,
}

/// Memory of the filters of all tables backed by a ledger, of all partitions, about: what they
/// remember is many, and most of it is asked for only to learn that it is not there.
const LEDGER_FILTER_BYTES: usize = 48 << 20;
/// The same of tables with a changelog, whose rows are mostly there.
const CHANGELOG_FILTER_BYTES: usize = 4 << 20;
/// Memory of clean rows of all tables with a changelog, of all partitions: a million stock rows. What
/// a ledger backs is mostly written once and never read again.
const CLEAN_BYTES: usize = 96 << 20;
/// Room that all tables of all partitions keep from one transaction to the next.
const ROOM_BYTES: usize = 48 << 20;

fn bounds(topology: &Topology, partitions: u32) -> Vec<Bounds> {
    let is_ledger = |spec: &StoreSpec| !matches!(spec.backing, Backing::Changelog { .. });
    let ledgers = topology.stores.iter().filter(|spec| is_ledger(spec)).count();
    let changelogs = topology.stores.len() - ledgers;
    let share = |bytes: usize, tables: usize| bytes / (tables * partitions.max(1) as usize);
    let of = |spec: &StoreSpec| {
        let (clean_bytes, filter_bytes) = match is_ledger(spec) {
            true => (0, share(LEDGER_FILTER_BYTES, ledgers)),
            false => (share(CLEAN_BYTES, changelogs), share(CHANGELOG_FILTER_BYTES, changelogs)),
        };
        let room_bytes = share(ROOM_BYTES, topology.stores.len());
        Bounds { clean_bytes, room_bytes, filter_bytes }
    };
    topology.stores.iter().map(of).collect()
}

pub(crate) struct Task {
    env: Arc<TaskEnv>,
    processors: Vec<Box<dyn Processor>>,
    /// Processor that reads each source.
    readers: Vec<usize>,
    pub(crate) queues: Vec<InputQueue>,
    pub(crate) state: TaskState,
    /// Which topics its positions are of.
    pub(crate) ids: TopicIds,
    /// Number of the last transaction that holds.
    committed: u64,
    /// Records processed by the open transaction.
    pub(crate) pending: u64,
    /// Their timestamps.
    pub(crate) times: Vec<i64>,
    /// By which it writes to the store.
    pub(crate) claim: Claim,
    /// The group has no offset of this application of some input: its positions are to be
    /// committed, though nothing has come.
    pub(crate) is_unknown: bool,
    /// What a worker that is wrong on purpose takes an input for.
    #[cfg(feature = "mutants")]
    mistaken: Option<order::Mistake>,
}

impl Task {
    pub(crate) fn new(env: Arc<TaskEnv>, partition: u32, incarnation: u64, at: Progress) -> Self {
        let topology = &env.topology;
        let reader = |source: &Source| {
            let reads = |p: &crate::topology::ProcessorSpec| p.reads.contains(&source.name);
            topology.processors.iter().position(reads).unwrap_or_default()
        };
        Self {
            readers: topology.sources.iter().map(reader).collect(),
            processors: topology.processors.iter().map(|p| (p.factory)()).collect(),
            queues: at.positions.iter().map(|p| InputQueue::new(*p)).collect(),
            state: TaskState {
                partition,
                incarnation,
                progress: at.clone(),
                tables: bounds(topology, env.partitions).into_iter().map(Table::new).collect(),
                counters: Vec::new(),
                scratch: Vec::new(),
                written: 0,
            },
            ids: TopicIds::default(),
            committed: at.sequence,
            pending: 0,
            times: Vec::new(),
            claim: Claim::default(),
            is_unknown: false,
            #[cfg(feature = "mutants")]
            mistaken: None,
            env,
        }
    }

    /// Whether all is processed that is known to be there. A backlog that is still on its way is no
    /// reason to commit.
    pub(crate) fn has_caught_up(&self) -> bool {
        self.choice() == Choice::Idle && !self.queues.iter().any(InputQueue::is_behind)
    }

    /// Processes the head of input `input`.
    pub(crate) fn process(&mut self, input: usize, now: Now, out: &mut dyn Output) -> Result<()> {
        let Self { env, queues, state, processors, readers, .. } = self;
        let topic = &env.inputs[input];
        let Some(record) = queues[input].head(topic, state.partition) else {
            return Ok(());
        };
        state.written = 0;
        let before = state.progress.stream_time;
        state.progress.positions[input] = record.offset + 1;
        match admit(env, input, &record, now) {
            Ok(Admitted::Here { source, origin }) => {
                let time = &mut state.progress.stream_time;
                *time = record.time().max(*time);
                let at = At { input, offset: record.offset, trace: trace(&record) };
                let scope = Scope::new(env, state, out, readers[source], at);
                let name = &env.topology.sources[source].name;
                let mut context = Context { scope, source: name, origin };
                match processors[readers[source]].process(&record, &mut context) {
                    Ok(()) => {}
                    Err(ProcessError::DeadLetter(letter)) => {
                        // An unread record has no time either.
                        state.progress.stream_time = before;
                        refuse_half_written(state, &record)?;
                        bury(env, state, &record, &letter, now, out)?;
                    }
                    Err(ProcessError::Failed(error)) => return Err(error),
                }
            }
            Ok(Admitted::Elsewhere { source, partition }) => {
                state.count("rekeyed");
                rekey(env, &record, source, partition, out)?;
            }
            Err(letter) => bury(env, state, &record, &letter, now, out)?,
        }
        let (offset, timestamp) = (record.offset, record.timestamp);
        self.queues[input].advance();
        self.pending += 1;
        self.times.push(timestamp);
        self.punctuate(before, (input, offset), out)
    }

    fn punctuate(&mut self, before: i64, at: (usize, u64), out: &mut dyn Output) -> Result<()> {
        let after = self.state.progress.stream_time;
        for index in 0..self.processors.len() {
            let spec = &self.env.topology.processors[index];
            let Some(every) = spec.punctuate_every_ms.map(|ms| ms as i64) else {
                continue;
            };
            if before.div_euclid(every) == after.div_euclid(every) {
                continue;
            }
            let at = At { input: at.0, offset: at.1, trace: None };
            let scope = Scope::new(&self.env, &mut self.state, out, index, at);
            let origin = Origin { topic: "", partition: 0, offset: 0 };
            let mut context = Context { scope, source: "", origin };
            match self.processors[index].punctuate(&mut context) {
                Ok(()) => {}
                Err(ProcessError::Failed(error)) => return Err(error),
                Err(ProcessError::DeadLetter(letter)) => {
                    let cause = format!("punctuate has no record to send away ({letter})");
                    let partition = TopicPartition::new("", self.state.partition);
                    return Err(Error::Invariant { partition, offset: 0, cause });
                }
            }
        }
        Ok(())
    }

    /// Tells each table's filter of some more rows of the store.
    pub(crate) fn learn(&mut self, rows_max: usize) -> Result<()> {
        let TaskState { tables, partition, .. } = &mut self.state;
        for (index, table) in tables.iter_mut().enumerate() {
            table.learn(&*self.env.store, index, *partition, rows_max)?;
        }
        Ok(())
    }

    /// Commit step 1: one changelog record per changed row, its last value.
    pub(crate) fn write_changelogs(&mut self, out: &mut dyn Output) -> Result<()> {
        let Self { env, state, .. } = self;
        let (mut value, mut stamp) = (Vec::new(), Vec::new());
        for (table, spec) in env.topology.stores.iter().enumerate() {
            let Backing::Changelog { topic, to, .. } = &spec.backing else {
                continue;
            };
            for (key, row) in state.tables[table].changes() {
                let row = row.and_then(Row::decode);
                value.clear();
                if let Some(row) = row {
                    to(key, row.value, &mut value);
                }
                let parts = StampParts {
                    incarnation: state.incarnation,
                    sequence: row.map_or(0, |r| r.sequence),
                    source: None,
                    positions: &state.progress.positions,
                    memo: &[],
                };
                parts.encode(&mut stamp);
                out.send(Outgoing {
                    topic,
                    partition: state.partition,
                    // Its own, so that a restored row is the live one to the byte.
                    timestamp: row.map_or(state.progress.stream_time, |r| r.timestamp),
                    key: Some(key),
                    value: row.map(|_| value.as_slice()),
                    headers: &[(STAMP, Some(&stamp))],
                })?;
            }
        }
        Ok(())
    }

    /// Commit step 3: the offsets of all inputs, with what a recovery needs beside them.
    pub(crate) fn offsets(&mut self, owner: &str) -> Vec<OffsetCommit> {
        let state = &mut self.state;
        state.progress.sequence = self.committed + 1;
        let metadata = |topic: &String| Metadata {
            incarnation: state.incarnation,
            sequence: state.progress.sequence,
            stream_time: state.progress.stream_time,
            owner: owner.to_owned(),
            topic_id: self.ids.get(topic).cloned(),
        };
        let inputs = self.env.inputs.iter().zip(&state.progress.positions);
        inputs
            .map(|(topic, offset)| OffsetCommit {
                partition: TopicPartition::new(topic, state.partition),
                committed: CommittedOffset {
                    offset: *offset,
                    metadata: metadata(topic).to_string(),
                },
            })
            .collect()
    }

    /// Commit step 5: rows, and what they stand for. `ends` are those of the backing topics.
    pub(crate) fn stage(&self, ends: Vec<(String, u64)>, batch: &mut StoreBatch) {
        let TaskState { partition, incarnation, progress, tables, .. } = &self.state;
        for (index, table) in tables.iter().enumerate() {
            table.stage(index, *partition, batch);
        }
        let inputs = self.env.inputs.iter().cloned().zip(progress.positions.iter().copied());
        let checkpoint = Checkpoint {
            incarnation: *incarnation,
            sequence: progress.sequence,
            stream_time: progress.stream_time,
            inputs: inputs.collect(),
            backing: ends,
            ids: self.ids.clone(),
            stores: self.env.topology.store_names(),
            stamped: Vec::new(),
        };
        batch.checkpoint(*partition, checkpoint);
        batch.hold(*partition, self.claim);
    }

    /// The transaction holds.
    pub(crate) fn committed(&mut self) {
        self.state.tables.iter_mut().for_each(Table::committed);
        self.committed = self.state.progress.sequence;
        self.state.counters.clear();
        self.times.clear();
        self.pending = 0;
        self.is_unknown = false;
    }

    /// Bytes of rows that the open transaction has brought into memory.
    pub(crate) fn added_bytes(&self) -> usize {
        self.state.tables.iter().map(Table::added).sum()
    }
}

fn refuse_half_written(state: &TaskState, record: &Record<'_>) -> Result<()> {
    if state.written == 0 {
        return Ok(());
    }
    let partition = TopicPartition::new(record.topic, record.partition);
    let cause = "the processor wrote something and then called the record a dead letter".to_owned();
    Err(Error::Invariant { partition, offset: record.offset, cause })
}

impl TaskState {
    /// Adds what was counted in the open transaction, which holds.
    pub(crate) fn add_counters(&self, all: &mut BTreeMap<&'static str, u64>) {
        for (name, count) in &self.counters {
            *all.entry(name).or_default() += count;
        }
    }

    fn count(&mut self, name: &'static str) {
        // There are few, and nearly always it is the same text at the same place.
        let same = |(known, _): &&mut (&str, u64)| std::ptr::eq(*known, name) || *known == name;
        match self.counters.iter_mut().find(same) {
            Some((_, count)) => *count += 1,
            None => self.counters.push((name, 1)),
        }
    }
}
