//! Ticks: records with the time of a worker's clock, for tasks whose rows fall due. The task says when it
//! wants one; the worker writes it, in its transaction; and it comes back as a record of an input.
//!
//! A tick is decided behind all that was there before it, and before all else, whatever is stamped how:
//! as soon as the ends of all other inputs, asked after it was there, have been reached. So nothing that
//! was acknowledged before a tick finds the time of that tick, and neither a steady stream nor old
//! timestamps postpone it.

use super::due_index::DueRows;
use super::order::Choice;
use super::queue::InputQueue;
use super::{Output, Task, letters, refuse_half_written};
use crate::broker::Now;
use crate::error::Result;
#[cfg(feature = "mutants")]
use crate::mutant::Mutant;
use crate::processor::{DeadLetter, TICK_SPAN_MAX};
use crate::record::Outgoing;
use crate::stamp::Clocks;
use crate::topology::Topology;

/// Between two ticks of a task at least (ms).
const SPACING_MS: u64 = 50;
/// Between two ticks where a row waits for the running clock (ms).
const PERIOD_MS: u64 = 1_000;

/// What a tick says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tick {
    /// The time (ms since 1970).
    pub(crate) time: u64,
    /// The running clock (ms).
    pub(crate) running: u64,
}

impl Tick {
    pub(crate) fn write(self) -> String {
        format!("{{\"time\":{},\"running\":{}}}", self.time, self.running)
    }

    fn read(value: &[u8]) -> Option<Tick> {
        let text = std::str::from_utf8(value).ok()?;
        let numbers = text.strip_prefix("{\"time\":")?.strip_suffix('}')?;
        let (time, running) = numbers.split_once(",\"running\":")?;
        Some(Tick { time: time.parse().ok()?, running: running.parse().ok()? })
    }
}

/// What a task knows of its ticks.
pub(super) struct Ticking {
    input: usize,
    /// Ends of all inputs that were told after the tick at the head was there.
    ends: Option<Vec<u64>>,
    /// The time of the last one that was decided.
    last: Option<u64>,
    /// When the last one was written here (monotonic ms).
    written_ms: Option<u64>,
    /// One is in the open transaction.
    is_open: bool,
    /// Questions for ends that had been asked when the last one was committed.
    asked: u64,
    /// In how long one is wanted (ms).
    wanted_in_ms: Option<u64>,
}

impl Ticking {
    pub(super) fn of(topology: &Topology) -> Option<Self> {
        Some(Self {
            input: topology.tick_input()?,
            ends: None,
            last: None,
            written_ms: None,
            is_open: false,
            asked: 0,
            wanted_in_ms: None,
        })
    }
}

impl Task {
    /// Whether an input holds ticks.
    pub(super) fn is_tick(&self, input: usize) -> bool {
        self.ticking.as_ref().is_some_and(|ticking| ticking.input == input)
    }

    /// What a tick that waits has the task do; nothing while others go first.
    pub(super) fn tick_choice(&self) -> Option<Choice> {
        let Ticking { input, ends, .. } = self.ticking.as_ref()?;
        if self.queues[*input].is_empty() {
            return None;
        }
        #[cfg(feature = "mutants")]
        if self.state.is(Mutant::TickBeforeEnds) {
            return Some(Choice::Take(*input));
        }
        let Some(ends) = ends else {
            return Some(Choice::Ask);
        };
        let mut others = self.queues.iter().zip(ends).enumerate().filter(|(i, _)| i != input);
        others.all(|(_, (queue, end))| queue.next() >= *end).then_some(Choice::Take(*input))
    }

    /// Ends were told: a tick that waits takes them in, once.
    pub(crate) fn hear_ends(&mut self) {
        let Self { ticking, queues, .. } = self;
        let Some(Ticking { input, ends: ends @ None, .. }) = ticking else {
            return;
        };
        let Some(waiting) = queues[*input].state(None).waiting else {
            return;
        };
        let answers = || queues.iter().map(InputQueue::answered);
        let mut others = answers().enumerate().filter(|(other, _)| other != input);
        if others.all(|(_, (question, _))| question > waiting.asked) {
            *ends = Some(answers().map(|(_, end)| end).collect());
        }
    }

    /// Decides the tick at the head of its input; it stays there while rows fall due by it.
    pub(super) fn take_tick(&mut self, now: Now, out: &mut dyn Output) -> Result<()> {
        let Self { env, queues, state, ticking: Some(ticking), .. } = self else {
            return Ok(());
        };
        state.written = 0;
        let input = ticking.input;
        let Some(record) = queues[input].head(&env.inputs[input], state.partition) else {
            return Ok(());
        };
        let after = record.offset + 1;
        match record.value.and_then(Tick::read) {
            Some(Tick { time, running }) => {
                let before = state.progress.clocks;
                let by_time = Clocks { due_ms: time.max(before.due_ms), ..before };
                let by_both = Clocks { running_ms: running.max(before.running_ms), ..by_time };
                for clocks in [by_time, by_both] {
                    state.progress.clocks = clocks;
                    if state.due.as_ref().is_some_and(|due| due.is_reached(clocks)) {
                        return Ok(());
                    }
                }
                ticking.last = Some(time);
            }
            None => {
                let letter = DeadLetter::new("NO_TICK", "it is no tick");
                refuse_half_written(state, &record)?;
                letters::bury(env, state, &record, &letter, now, out)?;
            }
        }
        state.progress.positions[input] = after;
        ticking.ends = None;
        queues[input].advance();
        self.pending += 1;
        self.hear_ends();
        Ok(())
    }

    /// What a tick would say at this time.
    pub(crate) fn tick_at(&self, time: u64) -> Tick {
        let last = self.ticking.as_ref().and_then(|ticking| ticking.last);
        let span = time.saturating_sub(last.unwrap_or(time)).min(TICK_SPAN_MAX.as_millis() as u64);
        #[cfg(feature = "mutants")]
        if self.state.is(Mutant::RunningFromWall) {
            return Tick { time, running: time };
        }
        Tick { time, running: self.state.progress.clocks.running_ms.saturating_add(span) }
    }

    /// Looks whether a row waits for a tick, and for how long it does not need one yet.
    pub(crate) fn plan_tick(&mut self, now: Now) -> Result<()> {
        let wall_ms = u64::try_from(now.wall_ms).unwrap_or(0);
        let would_run = self.tick_at(wall_ms).running;
        let Self { env, state, ticking: Some(ticking), queues, .. } = self else {
            return Ok(());
        };
        ticking.wanted_in_ms = None;
        let Some(due) = &mut state.due else {
            return Ok(());
        };
        if ticking.is_open || !queues[ticking.input].is_empty() {
            return Ok(());
        }
        let since = ticking.written_ms.map(|ms| now.monotonic_ms.saturating_sub(ms));
        let until = |ms: u64| since.map_or(0, |since| ms.saturating_sub(since));
        let (at, running) = due.next(&*env.store, state.partition)?;
        let by_time = (at < u64::MAX).then(|| at.saturating_sub(wall_ms));
        let by_running =
            (running < u64::MAX).then(|| until(PERIOD_MS).min(running.saturating_sub(would_run)));
        let first = by_time.into_iter().chain(by_running).min();
        ticking.wanted_in_ms = first.map(|ms| ms.max(until(SPACING_MS)));
        Ok(())
    }

    /// Whether a row may wait for the running clock.
    pub(crate) fn waits_for_running(&self) -> bool {
        self.state.due.as_ref().is_some_and(DueRows::waits_for_running)
    }

    /// In how long it wants a tick, if nothing comes (ms).
    pub(crate) fn wants_tick_in(&self) -> Option<u64> {
        self.ticking.as_ref()?.wanted_in_ms
    }

    /// Whether it wants a tick, and whether all that were written have been decided; else the ends must
    /// be asked for.
    pub(crate) fn wants_tick(&self) -> Option<bool> {
        let ticking = self.ticking.as_ref().filter(|ticking| ticking.wanted_in_ms == Some(0))?;
        #[cfg(feature = "mutants")]
        if self.state.is(Mutant::TickBeforeEarlier) {
            return Some(true);
        }
        let queue = &self.queues[ticking.input];
        let (question, end) = queue.answered();
        Some(question > ticking.asked && queue.is_empty() && queue.fetched() >= end)
    }

    /// Writes a tick.
    pub(crate) fn write_tick(&mut self, now: Now, out: &mut dyn Output) -> Result<()> {
        let tick = self.tick_at(u64::try_from(now.wall_ms).unwrap_or(0));
        let Self { env, state, ticking: Some(ticking), .. } = self else {
            return Ok(());
        };
        (ticking.is_open, ticking.written_ms) = (true, Some(now.monotonic_ms));
        ticking.wanted_in_ms = None;
        out.send(Outgoing {
            topic: &env.inputs[ticking.input],
            partition: state.partition,
            timestamp: now.wall_ms,
            key: None,
            value: Some(tick.write().as_bytes()),
            headers: &[],
        })?;
        Ok(())
    }

    /// Whether the open transaction has a tick.
    pub(crate) fn has_open_tick(&self) -> bool {
        self.ticking.as_ref().is_some_and(|ticking| ticking.is_open)
    }

    /// The open transaction holds; so many questions for ends had been asked by then.
    pub(crate) fn tick_committed(&mut self, asked: u64) {
        if let Some(ticking) = self.ticking.as_mut().filter(|ticking| ticking.is_open) {
            (ticking.is_open, ticking.asked) = (false, asked);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_is_read_as_it_was_written() {
        let tick = Tick { time: 1_780_000_000_000, running: 7 };
        assert_eq!(tick.write(), r#"{"time":1780000000000,"running":7}"#);
        assert_eq!(Tick::read(tick.write().as_bytes()), Some(tick));
        for text in ["", "{}", r#"{"time":1}"#, r#"{"time":-1,"running":7}"#] {
            assert_eq!(Tick::read(text.as_bytes()), None, "{text}");
        }
    }
}
