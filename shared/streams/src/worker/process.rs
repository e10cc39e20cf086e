//! Fetches, asks for ends, and processes, in bounded pieces.

use std::collections::BTreeMap;

use super::{Assigned, Worker};
use crate::broker::{Isolation, Now, OffsetSpec, TopicPartition};
use crate::error::{Error, Result};
use crate::task::order::Choice;
use crate::task::queue::InputQueue;
use crate::task::{Task, ticks};

/// Time after which the ends are asked again where records do not come (ms).
const ASK_AGAIN_MS: u64 = 1_000;
/// For so long a broker that came back may know less of its log than it holds (ms).
const CUT_MS_MAX: u64 = 10_000;
/// More than this is not queued of one input, however few of them share the bound (bytes).
const QUEUE_BYTES: usize = 1 << 20;
/// Rows of the store that a task's filters are told of before its next turn.
const LEARN_ROWS: usize = 2_000;
/// Records of one task processed before the next one's turn, and before the group is served.
const TURN_RECORDS: u64 = 2_000;

impl Worker {
    /// Tells the consumer to read what running tasks want, from where they are.
    pub(super) fn assign_running(&mut self) -> Result<()> {
        self.slots.clear();
        let mut from = Vec::new();
        let queue_bytes = self.queue_bytes();
        for (partition, assigned) in &mut self.tasks {
            let Assigned::Running(task, _) = assigned else {
                continue;
            };
            for (input, topic) in self.env.inputs.iter().enumerate() {
                self.slots.push((*partition, input));
                let queue = &mut task.queues[input];
                queue.set_bytes_max(queue_bytes);
                from.push((TopicPartition::new(topic, *partition), queue.fetched()));
            }
        }
        Ok(self.consumer.assign(&from)?)
    }

    /// What may wait in one queue (bytes).
    fn queue_bytes(&self) -> usize {
        let shares = self.env.inputs.len() * self.env.partitions.max(1) as usize;
        (self.config.queue_bytes_max / shares).min(QUEUE_BYTES)
    }

    pub(super) fn running(&self) -> impl Iterator<Item = &Task> {
        self.tasks.values().filter_map(|assigned| match assigned {
            Assigned::Running(task, _) => Some(&**task),
            Assigned::Restoring(_) => None,
        })
    }

    /// Next offset to process, of the inputs of running tasks.
    pub(super) fn processed(&self) -> BTreeMap<TopicPartition, u64> {
        let of = |task: &Task| {
            let partition = task.state.partition;
            let positions = task.state.progress.positions.iter().zip(&task.queues);
            // Behind the last record there may be markers, which an empty queue has passed.
            let reached = |(at, queue): (&u64, &InputQueue)| match queue.is_empty() {
                true => queue.fetched().max(*at),
                false => *at,
            };
            let named = move |(topic, at)| (TopicPartition::new(topic, partition), at);
            self.env.inputs.iter().zip(positions.map(reached)).map(named).collect::<Vec<_>>()
        };
        self.running().flat_map(of).collect()
    }

    /// Whether a record could be processed, or a row fall due, right now.
    pub(super) fn has_work(&self) -> bool {
        let is_work = |task: &Task| matches!(task.choice(), Choice::Take(_) | Choice::Due);
        self.producer_ready && self.running().any(is_work)
    }

    /// Fetches, asks and processes. Whether anything was done.
    pub(super) fn work(&mut self, now: Now) -> Result<bool> {
        let fetched = self.fetch()?;
        if !self.producer_ready {
            return Ok(false);
        }
        self.plan_ticks(now)?;
        let asked = self.ask(now)?;
        let processed = self.process(now)?;
        let ticked = self.write_ticks(now)?;
        Ok(fetched || asked || processed || ticked)
    }

    /// A slot that cannot be read for now holds up no other one.
    fn fetch(&mut self) -> Result<bool> {
        let mut any = false;
        self.unread = None;
        let queue_bytes = self.queue_bytes();
        for slot in 0..self.slots.len() {
            let (partition, input) = self.slots[slot];
            let Some(Assigned::Running(task, _)) = self.tasks.get_mut(&partition) else {
                continue;
            };
            let queue = &mut task.queues[input];
            if !queue.has_room() {
                continue;
            }
            let mut batch = queue.spare();
            match self.consumer.fetch(slot, queue_bytes / 4, &mut batch) {
                Ok(position) => {
                    any |= !batch.is_empty();
                    queue.push(batch, position, self.asked);
                }
                Err(error) if error.is_unavailable() => {
                    self.unread.get_or_insert_with(|| error.to_string());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(any)
    }

    /// One question for all inputs, if a record or a tick waits for the answer: those that look empty may
    /// be, and of the others it tells what is there by now. It is asked again, now and then, where what was
    /// told to be there does not come.
    fn ask(&mut self, now: Now) -> Result<bool> {
        let is_long_ago = now.monotonic_ms.saturating_sub(self.asked_ms) >= ASK_AGAIN_MS;
        let is_a_while_ago = now.monotonic_ms.saturating_sub(self.asked_ms) >= ticks::ASK_AGAIN_MS;
        let wants = |task: &Task| {
            task.choice() == Choice::Ask
                || is_long_ago && task.is_waiting()
                || is_a_while_ago && task.wants_tick() == Some(false)
        };
        if !self.running().any(wants) {
            return Ok(false);
        }
        let inputs = &self.env.inputs;
        let at =
            |(partition, input): &(u32, usize)| TopicPartition::new(&inputs[*input], *partition);
        let partitions: Vec<_> = self.slots.iter().map(at).collect();
        self.asked += 1;
        self.asked_ms = now.monotonic_ms;
        let ends = self.broker.offsets(&partitions, OffsetSpec::End(Isolation::ReadCommitted));
        if ends.is_err() {
            // A broker that is away tells nothing.
            for task in self.tasks.values_mut().filter_map(Assigned::running_mut) {
                task.queues.iter_mut().for_each(InputQueue::forget_cut);
            }
        }
        for (((partition, input), at), end) in self.slots.iter().zip(partitions).zip(ends?) {
            if let Some(Assigned::Running(task, _)) = self.tasks.get_mut(partition) {
                let queue = &mut task.queues[*input];
                if believes(queue, at, end, now)? {
                    queue.answer(self.asked, end);
                }
            }
        }
        let running = self.tasks.values_mut().filter_map(Assigned::running_mut);
        running.for_each(Task::hear_ends);
        Ok(true)
    }

    fn process(&mut self, now: Now) -> Result<bool> {
        let room = self.config.commit.records_max;
        let mut pending: u64 = self.running().map(|t| t.pending).sum();
        let before = pending;
        let mut failed = None;
        'tasks: for task in self.tasks.values_mut().filter_map(Assigned::running_mut) {
            task.learn(LEARN_ROWS)?;
            let turn = TURN_RECORDS.min(room.saturating_sub(pending));
            for _ in 0..turn {
                let before = task.pending;
                let taken = task.take_next(now, &mut self.producer);
                if matches!(taken, Ok(false)) {
                    break;
                }
                self.transaction_since.get_or_insert(now.monotonic_ms);
                if let Err(error) = taken {
                    failed = Some(error);
                    break 'tasks;
                }
                pending += task.pending - before;
            }
        }
        // A record half done must not be committed.
        failed.map_or(Ok(()), |error| self.give_up(error, now))?;
        Ok(pending > before)
    }
}

/// Whether an input's end is to be believed: not where it is before what an earlier answer has told.
/// If it stays so, the log has lost its tail.
fn believes(queue: &mut InputQueue, partition: TopicPartition, end: u64, now: Now) -> Result<bool> {
    match queue.cut(end, now.monotonic_ms) {
        None => Ok(true),
        Some((ms, _)) if ms < CUT_MS_MAX => Ok(false),
        Some((_, told)) => Err(Error::LostTail { partition, told, end }),
    }
}
