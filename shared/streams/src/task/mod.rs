//! A task: one partition number of all inputs, with its stores. It knows no broker and no clock:
//! records are pushed into it, what it writes goes to an [`Output`].
//!
//! Reading order: [`order`] (which record next), [`queue`], [`next`] (dead letters before all),
//! [`overlay`] (the open transaction's state), [`filter`] (what the store does not hold), this file
//! (one record from head to position), [`admit`] (where it belongs), [`scope`] (what lets it in, and
//! what a processor may do), [`due`] (rows that fall due) and [`due_index`] (which is next), [`ticks`],
//! [`moved`] and [`letters`] (what is sent on), [`commit`].

mod admit;
mod commit;
mod due;
pub(crate) mod due_index;
mod env;
mod filter;
mod letters;
mod metadata;
mod moved;
mod next;
pub(crate) mod order;
pub(crate) mod overlay;
pub(crate) mod queue;
mod scan;
mod scope;
mod tick;
pub(crate) mod ticks;

use std::collections::BTreeMap;
use std::sync::Arc;

use self::admit::Entry;
use self::due_index::DueRows;
pub use self::env::TableBounds;
pub(crate) use self::env::TaskEnv;
pub(crate) use self::metadata::Metadata;
use self::order::Choice;
use self::overlay::Table;
use self::queue::InputQueue;
use self::scope::{Scope, Subject};
use self::ticks::Ticking;
use crate::broker::{BrokerError, Now, TopicPartition};
use crate::error::{Error, Result};
use crate::processor::ProcessError;
use crate::record::{Outgoing, Record};
use crate::stamp::Clocks;
use crate::store::{Claim, TopicIds};
use crate::topology::AnyProcessor;

/// Where a task's records go: the open transaction of a producer, or a test's list.
pub(crate) trait Output {
    fn send(&mut self, record: Outgoing<'_>) -> Result<(), BrokerError>;
}

impl Output for Box<dyn crate::broker::Producer> {
    fn send(&mut self, record: Outgoing<'_>) -> Result<(), BrokerError> {
        crate::broker::Producer::send(&mut **self, record)
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
    /// They move where rows fall due, and are 0 elsewhere.
    pub(crate) clocks: Clocks,
}

/// What processing changes.
pub(crate) struct TaskState {
    pub(crate) partition: u32,
    pub(crate) incarnation: u64,
    pub(crate) progress: Progress,
    pub(crate) tables: Vec<Table>,
    /// Where rows fall due.
    due: Option<DueRows>,
    /// The record at hand waits for rows to fall due.
    is_held_up: bool,
    /// What was counted in the open transaction.
    pub(crate) counters: Vec<(&'static str, u64)>,
    /// Buffer for stamps and rows.
    scratch: Vec<u8>,
    /// Records written for the record at hand.
    written: u32,
    /// What is wrong with it, on purpose.
    #[cfg(feature = "mutants")]
    pub(crate) mutant: Option<crate::mutant::Mutant>,
}

pub(crate) struct Task {
    env: Arc<TaskEnv>,
    /// One for each node of the topology.
    processors: Vec<Box<dyn AnyProcessor>>,
    pub(crate) queues: Vec<InputQueue>,
    pub(crate) state: TaskState,
    /// Where rows fall due.
    ticking: Option<Ticking>,
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
        let tables = env::bounds(&env).into_iter().map(Table::new).collect();
        Self {
            processors: topology.processors(),
            queues: at.positions.iter().map(|p| InputQueue::new(*p)).collect(),
            state: TaskState {
                partition,
                incarnation,
                progress: at.clone(),
                tables,
                due: topology.due_index().map(DueRows::new),
                is_held_up: false,
                counters: Vec::new(),
                scratch: Vec::new(),
                written: 0,
                #[cfg(feature = "mutants")]
                mutant: None,
            },
            ticking: Ticking::of(topology),
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

    /// Does what is to be done next, if there is anything.
    pub(crate) fn take_next(&mut self, now: Now, out: &mut dyn Output) -> Result<bool> {
        match self.next(now) {
            Choice::Take(input) => self.process(input, now, out)?,
            Choice::Due => self.fall_due(out)?,
            Choice::Ask | Choice::Fetch | Choice::Idle => return Ok(false),
        }
        Ok(true)
    }

    /// Processes the head of input `input`; it stays where it is while rows fall due before it.
    pub(crate) fn process(&mut self, input: usize, now: Now, out: &mut dyn Output) -> Result<()> {
        if self.is_tick(input) {
            return self.take_tick(now, out);
        }
        let Self { env, queues, state, processors, .. } = self;
        let Some(record) = queues[input].head(&env.inputs[input], state.partition) else {
            return Ok(());
        };
        (state.written, state.is_held_up) = (0, false);
        let before = (state.progress.stream_time, state.progress.clocks);
        // Not the record's own: markers may lie between.
        let position = state.progress.positions[input];
        state.progress.positions[input] = record.offset + 1;
        let taken = match Entry::of(env, input, &record, now) {
            Ok(entry) => {
                let spec = entry.source(env);
                let mut scope = Scope::new(env, state, out, Subject::Record(entry));
                processors[spec.node].take(spec.place, &record, &mut scope)
            }
            Err(letter) => Err(letter.into()),
        };
        match taken {
            Ok(()) if state.is_held_up => {
                state.progress.positions[input] = position;
                return Ok(());
            }
            Ok(()) => {}
            Err(ProcessError::DeadLetter(letter)) => {
                // An unread record has no time either.
                (state.progress.stream_time, state.progress.clocks) = before;
                refuse_half_written(state, &record)?;
                letters::bury(env, state, &record, &letter, now, out)?;
            }
            Err(ProcessError::Engine(error)) => return Err(error),
            Err(ProcessError::Failed(source)) => {
                let partition = TopicPartition::new(record.topic, record.partition);
                return Err(Error::Processor { partition, offset: record.offset, source });
            }
        }
        let timestamp = record.timestamp;
        if let Some(ticking) = &mut self.ticking {
            ticking.see(timestamp);
        }
        self.queues[input].advance();
        self.pending += 1;
        self.times.push(timestamp);
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
    #[cfg(feature = "mutants")]
    fn is(&self, mutant: crate::mutant::Mutant) -> bool {
        self.mutant == Some(mutant)
    }

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
