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
use super::tick::Tick;
use super::{Output, Task, letters, refuse_half_written};
use crate::broker::Now;
use crate::due::TICK_SPAN_MAX;
use crate::error::Result;
#[cfg(feature = "mutants")]
use crate::mutant::Mutant;
use crate::processor::DeadLetter;
use crate::record::Outgoing;
use crate::stamp::Clocks;
use crate::topology::Topology;

/// Between two ticks of a task at least (ms).
const SPACING_MS: u64 = 50;
/// Between two ticks where a row waits for the running clock (ms).
const PERIOD_MS: u64 = 1_000;

/// Before the ends are asked for again where one that was written has not come yet (ms).
pub(crate) const ASK_AGAIN_MS: u64 = 5;

/// What a task knows of its ticks.
pub(super) struct Ticking {
    input: usize,
    /// Ends of all inputs that were told after the tick at the head was there.
    ends: Option<Vec<u64>>,
    /// The time at which the last one was decided, or its own if that is later.
    last: Option<u64>,
    /// When the last one was written here (monotonic ms).
    written_ms: Option<u64>,
    /// One is in the open transaction.
    is_open: bool,
    /// Questions for ends that had been asked when the last one was committed.
    asked: u64,
    /// In how long one is wanted (ms), as of when that was asked (monotonic ms).
    wanted_in_ms: Option<u64>,
    planned_ms: u64,
    /// The time of the last one that was decided (ms since 1970).
    time: u64,
    /// The latest timestamp of a record (ms since 1970), and how far ticks were ahead of it then (ms).
    newest: i64,
    ahead_ms: u64,
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
            planned_ms: 0,
            time: 0,
            newest: i64::MIN,
            ahead_ms: 0,
        })
    }

    /// A record was processed.
    pub(super) fn see(&mut self, timestamp: i64) {
        if timestamp > self.newest {
            self.newest = timestamp;
            self.ahead_ms = self.time.saturating_sub(u64::try_from(timestamp).unwrap_or(0));
        }
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
        if ends.is_none() {
            return Some(Choice::Ask);
        }
        let mut others = (0..self.queues.len()).filter(|other| other != input);
        others.all(|other| self.waits_for_tick(other)).then_some(Choice::Take(*input))
    }

    /// Whether a tick goes before all that is left of an input: what lies behind its end waits for it.
    pub(super) fn waits_for_tick(&self, input: usize) -> bool {
        let ends = self.ticking.as_ref().and_then(|ticking| ticking.ends.as_ref());
        ends.is_some_and(|ends| self.queues[input].next() >= ends[input])
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
                // What waits for the running clock comes after what waits for the time.
                for running_ms in [0, running] {
                    let clocks = &mut state.progress.clocks;
                    *clocks = clocks.latest(Clocks { due_ms: time, running_ms });
                    if state.has_due() {
                        return Ok(());
                    }
                }
                // What goes by until the next one has gone by since this one was decided, no earlier.
                let wall = u64::try_from(now.wall_ms).ok().filter(|_| now.wall_ms < i64::MAX);
                ticking.last = Some(wall.map_or(time, |wall| wall.max(time)));
                ticking.time = time;
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
        (ticking.wanted_in_ms, ticking.planned_ms) = (None, now.monotonic_ms);
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

    /// How far ticks were ahead of the newest record (ms); `None` where there are none.
    pub(crate) fn ticks_ahead_ms(&self) -> Option<u64> {
        self.ticking.as_ref().map(|ticking| ticking.ahead_ms)
    }

    /// In how long it wants a tick, if nothing comes (ms); a while later where others have to be decided
    /// before.
    pub(crate) fn wants_tick_in(&self, now: Now) -> Option<u64> {
        let ticking = self.ticking.as_ref()?;
        let wanted = ticking.wanted_in_ms?;
        // A while may have gone by since it was planned: the poll may have waited.
        let gone = now.monotonic_ms.saturating_sub(ticking.planned_ms);
        let left = wanted.saturating_sub(gone);
        Some(if self.wants_tick() == Some(false) { ASK_AGAIN_MS } else { left })
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
    use std::sync::Arc;

    use super::*;
    use crate::broker::BrokerError;
    use crate::record::Batch;
    use crate::store::memory::MemoryStore;
    use crate::task::{Progress, TaskEnv};
    use crate::topology::nothing::node;
    use crate::topology::{Layout, Source, as_it_is};

    /// A task of two inputs and ticks, whose queues hold records of these times.
    fn task(times: [&[i64]; 2]) -> Task {
        let node = node("n", |wiring| _ = wiring.store("rows"));
        let node =
            node.reads(Source::new("a", "a", as_it_is)).reads(Source::new("b", "b", as_it_is));
        let topology = Topology::named("t")
            .store(crate::topology::Store::new("rows", "rows").due(1, |_| None))
            .processor(node)
            .ticks("ticks")
            .build()
            .expect("well wired");
        let layout = Layout { partitions: 1, dead_letter_partitions: 1 };
        let env = TaskEnv::new(Arc::new(topology), Arc::new(MemoryStore::default()), layout);
        let begin = Progress { positions: vec![0; 3], ..Progress::default() };
        let mut task = Task::new(Arc::new(env), 0, 1, begin);
        times.into_iter().enumerate().for_each(|(input, times)| push(&mut task, input, times));
        // It looks into the index once.
        task.fall_due(&mut Nothing).expect("nothing is due");
        task
    }

    fn push(task: &mut Task, input: usize, times: &[i64]) {
        let (mut batch, from) = (Batch::default(), task.queues[input].fetched());
        let tick = Tick { time: 500, running: 0 }.write();
        for (offset, at) in (from..).zip(times) {
            batch.push(offset, *at, Some(b"k"), Some(tick.as_bytes()), []);
        }
        task.queues[input].push(batch, from + times.len() as u64, 0);
    }

    fn answer(task: &mut Task, question: u64) {
        for queue in &mut task.queues {
            let end = queue.fetched();
            queue.answer(question, end);
        }
        task.hear_ends();
    }

    /// Which inputs the next ones are taken of.
    fn taken(task: &mut Task, count: usize) -> Vec<usize> {
        let mut nothing = Nothing;
        let mut take = |_| match task.next(Now::default()) {
            Choice::Take(input) => {
                task.process(input, Now::default(), &mut nothing).expect("taken");
                input
            }
            other => panic!("{other:?}"),
        };
        (0..count).map(&mut take).collect()
    }

    struct Nothing;

    impl Output for Nothing {
        fn send(&mut self, _: Outgoing<'_>) -> Result<(), BrokerError> {
            Ok(())
        }
    }

    #[test]
    fn old_records_that_came_later_do_not_postpone_a_tick() {
        let mut task = task([&[10], &[20]]);
        push(&mut task, 2, &[500]);
        assert_eq!(task.next(Now::default()), Choice::Ask);
        answer(&mut task, 1);
        // These were not there.
        push(&mut task, 0, &[1, 2, 3]);
        answer(&mut task, 2);
        assert_eq!(taken(&mut task, 6), [0, 1, 2, 0, 0, 0]);
    }

    #[test]
    fn what_was_there_goes_before_a_tick_whatever_it_is_stamped() {
        let mut task = task([&[900, 901], &[20]]);
        push(&mut task, 2, &[500, 501]);
        answer(&mut task, 1);
        assert_eq!(taken(&mut task, 5), [1, 0, 0, 2, 2]);
    }

    #[test]
    fn time_that_went_by_before_a_tick_was_decided_is_counted_once() {
        let mut task = task([&[10], &[]]);
        push(&mut task, 2, &[500]);
        answer(&mut task, 1);
        // It is decided 5 s late.
        let late = Now { monotonic_ms: 5_000, wall_ms: 5_500 };
        while let Choice::Take(input) = task.next(late) {
            task.process(input, late, &mut Nothing).expect("taken");
        }
        assert_eq!(task.tick_at(5_500), Tick { time: 5_500, running: 0 });
        assert_eq!(task.tick_at(6_000), Tick { time: 6_000, running: 500 });
        assert_eq!(task.tick_at(60_000), Tick { time: 60_000, running: 2_000 });
    }

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
