//! What a task does next: what the order says, but dead letters before all.

use super::Task;
use super::admit::admit;
use super::order::{self, Choice};
use super::queue::InputQueue;
use crate::broker::Now;
use crate::topology::Topology;

/// How far ahead of the clock a record of each input may be stamped. One that was moved may be of
/// any source: it is looked at where the strictest of them would have it so.
pub(super) fn ahead_ms(topology: &Topology) -> Vec<u64> {
    let each: Vec<u64> =
        topology.sources.iter().map(|s| s.future_max_ms.unwrap_or(u64::MAX)).collect();
    let moved = each.iter().copied().min().filter(|_| topology.rekey.is_some());
    each.into_iter().chain(moved).collect()
}

impl Task {
    /// The same, wrong on purpose.
    #[cfg(feature = "mutants")]
    pub(crate) fn mistaken(mut self, mistake: Option<order::Mistake>) -> Task {
        self.mistaken = mistake;
        self
    }

    /// What the order says.
    pub(crate) fn choice(&self) -> Choice {
        let sources = &self.env.topology.sources;
        let head_start = |input: usize| sources.get(input).and_then(|s| s.head_start_ms);
        let inputs = self.queues.iter().enumerate().map(|(i, q)| q.state(head_start(i)));
        #[cfg(feature = "mutants")]
        let inputs = inputs.map(|input| self.mistaken.map_or(input, |mistake| mistake(input)));
        order::choose(inputs)
    }

    /// Whether records are known to be there that do not come, and nothing else is to be done.
    pub(crate) fn is_waiting(&self) -> bool {
        match self.choice() {
            Choice::Fetch => true,
            Choice::Idle => self.queues.iter().any(InputQueue::is_behind),
            Choice::Ask | Choice::Take(_) => false,
        }
    }

    /// What is to be done: a head that becomes a dead letter goes at once, so that it holds nothing
    /// up; else what the order says.
    pub(crate) fn next(&mut self, now: Now) -> Choice {
        let choice = self.choice();
        for input in 0..self.queues.len() {
            if choice != Choice::Take(input) && self.is_doomed(input, now) {
                return Choice::Take(input);
            }
        }
        choice
    }

    /// Whether the head of an input becomes a dead letter. To read a record is dear: it is done
    /// where the head may hold something up, and once.
    fn is_doomed(&mut self, input: usize, now: Now) -> bool {
        let Self { env, queues, state, .. } = self;
        let queue = &mut queues[input];
        if !queue.must_be_judged(now.wall_ms.saturating_add_unsigned(env.ahead_ms[input])) {
            return false;
        }
        let head = queue.head(&env.inputs[input], state.partition);
        head.is_some_and(|record| admit(env, input, &record, now).is_err())
    }
}
