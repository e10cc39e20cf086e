//! What a task does next: rows that have fallen due, then what the order says, but dead letters before
//! all records.

use super::Task;
use super::admit::{Entry, Judge};
use super::order::{self, Choice, Input};
use super::queue::InputQueue;
use crate::broker::Now;
use crate::processor::ProcessError;
use crate::topology::Topology;

/// How far ahead of the clock a record of each input may be stamped. One that was moved may be of
/// any source: it is looked at where the strictest of them would have it so.
pub(super) fn ahead_ms(topology: &Topology) -> Vec<u64> {
    let of = |source: usize| topology.sources[source].future_max_ms.unwrap_or(u64::MAX);
    let strictest = (0..topology.sources.len()).map(of).min().unwrap_or(u64::MAX);
    let ahead = |input: usize| topology.source_of(input).map_or(strictest, of);
    (0..topology.kinds.len()).map(ahead).collect()
}

impl Task {
    /// The same, wrong on purpose.
    #[cfg(feature = "mutants")]
    pub(crate) fn mistaken(mut self, mistake: Option<order::Mistake>) -> Task {
        self.mistaken = mistake;
        self
    }

    /// What the order says, once all rows are taken that have fallen due, and ticks whose time it is.
    pub(crate) fn choice(&self) -> Choice {
        if self.has_due() {
            return Choice::Due;
        }
        let topology = &self.env.topology;
        let head_start = |input: usize| topology.sources[topology.source_of(input)?].head_start_ms;
        let inputs = self.queues.iter().enumerate();
        // It is asked for each record, and of each input several times.
        if self.ticking.is_none() {
            return self.choose(inputs.map(|(input, queue)| queue.state(head_start(input))));
        }
        if let Some(choice) = self.tick_choice() {
            return choice;
        }
        self.choose(inputs.map(|(input, queue)| {
            match self.is_tick(input) || self.waits_for_tick(input) {
                true => Input::NOTHING,
                false => queue.state(head_start(input)),
            }
        }))
    }

    fn choose(&self, inputs: impl Iterator<Item = Input> + Clone) -> Choice {
        #[cfg(feature = "mutants")]
        let inputs = inputs.map(|input| self.mistaken.map_or(input, |mistake| mistake(input)));
        order::choose(inputs)
    }

    /// Whether records are known to be there that do not come, and nothing else is to be done.
    pub(crate) fn is_waiting(&self) -> bool {
        match self.choice() {
            Choice::Fetch => true,
            Choice::Idle => self.queues.iter().any(InputQueue::is_behind),
            Choice::Ask | Choice::Take(_) | Choice::Due => false,
        }
    }

    /// What is to be done: rows that have fallen due go first. A head that becomes a dead letter goes at
    /// once, so that it holds nothing up; else what the order says.
    pub(crate) fn next(&mut self, now: Now) -> Choice {
        let choice = self.choice();
        if choice == Choice::Due {
            return choice;
        }
        for input in 0..self.queues.len() {
            let is_other = choice != Choice::Take(input) && !self.is_tick(input);
            if is_other && self.is_doomed(input, now) {
                return Choice::Take(input);
            }
        }
        choice
    }

    /// Whether the head of an input becomes a dead letter. To read a record is dear: it is done
    /// where the head may hold something up, and once.
    fn is_doomed(&mut self, input: usize, now: Now) -> bool {
        let Self { env, queues, state, processors, .. } = self;
        let queue = &mut queues[input];
        if !queue.must_be_judged(now.wall_ms.saturating_add_unsigned(env.ahead_ms[input])) {
            return false;
        }
        let Some(record) = queue.head(&env.inputs[input], state.partition) else {
            return false;
        };
        let Ok(entry) = Entry::of(env, input, &record, now) else {
            return true;
        };
        let spec = entry.source(env);
        let mut judge = Judge { env, entry };
        let judged = processors[spec.node].take(spec.place, &record, &mut judge);
        matches!(judged, Err(ProcessError::DeadLetter(_)))
    }
}
