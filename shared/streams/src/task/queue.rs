//! The records of one input that were fetched and not processed yet, bounded in bytes.

use std::collections::VecDeque;

use super::order::Input;
use crate::record::{Batch, Record};

/// Records of one input, and what is known of its end.
#[derive(Debug, Default)]
pub(crate) struct InputQueue {
    batches: VecDeque<(Batch, u64)>,
    cursor: usize,
    bytes: usize,
    /// Where the fetch stands: everything below is here or processed.
    fetched: u64,
    /// Number of the last question answered, and the end it told.
    answered: (u64, u64),
    /// An emptied batch, kept for its memory.
    spare: Batch,
}

impl InputQueue {
    pub(crate) fn new(position: u64) -> Self {
        Self { fetched: position, ..Self::default() }
    }

    /// An empty batch to fetch into.
    pub(crate) fn spare(&mut self) -> Batch {
        std::mem::take(&mut self.spare)
    }

    /// Takes what was fetched. `asked` is how many questions had been asked by then.
    pub(crate) fn push(&mut self, batch: Batch, position: u64, asked: u64) {
        self.fetched = self.fetched.max(position);
        if batch.is_empty() {
            self.spare = batch;
            return;
        }
        self.bytes += batch.size();
        self.batches.push_back((batch, asked));
    }

    /// The answer to question `number`: this input's end.
    pub(crate) fn answer(&mut self, number: u64, end: u64) {
        self.answered = (number, end);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Whether records are known to be there that have not been fetched.
    pub(crate) fn is_behind(&self) -> bool {
        self.fetched < self.answered.1
    }

    pub(crate) fn state(&self, head_start_ms: u64) -> Input {
        match self.batches.front() {
            Some((batch, asked)) => {
                let (_, timestamp) = batch.place(self.cursor);
                Input::Head {
                    time: timestamp.saturating_sub_unsigned(head_start_ms),
                    asked: *asked,
                }
            }
            None if self.is_behind() => Input::Empty { reached: 0 },
            None => Input::Empty { reached: self.answered.0 },
        }
    }

    /// The next record, as one of `topic` and `partition`.
    pub(crate) fn head<'a>(&'a self, topic: &'a str, partition: u32) -> Option<Record<'a>> {
        let (batch, _) = self.batches.front()?;
        Some(batch.get(self.cursor, topic, partition))
    }

    /// Drops the head.
    pub(crate) fn advance(&mut self) {
        self.cursor += 1;
        let done = self.batches.front().is_some_and(|(batch, _)| self.cursor >= batch.len());
        if done && let Some((mut batch, _)) = self.batches.pop_front() {
            self.bytes -= batch.size();
            self.cursor = 0;
            batch.clear();
            self.spare = batch;
        }
    }

    /// Where the fetch stands.
    pub(crate) fn fetched(&self) -> u64 {
        self.fetched
    }
}
