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
    /// The same of an earlier question, as long as its end is behind the head: all below it was
    /// there when it was asked, whenever it is fetched.
    there: (u64, u64),
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
        let next =
            self.batches.front().map_or(self.fetched, |(batch, _)| batch.place(self.cursor).0);
        if next >= self.there.1 {
            self.there = self.answered;
        }
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
                let (offset, timestamp) = batch.place(self.cursor);
                let (number, end) = self.there;
                let asked = if offset < end { number.min(*asked) } else { *asked };
                Input::Head { time: timestamp.saturating_sub_unsigned(head_start_ms), asked }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn fetched(queue: &mut InputQueue, offsets: std::ops::Range<u64>, asked: u64) {
        let mut batch = Batch::default();
        offsets.clone().for_each(|offset| batch.push(offset, 0, None, None, []));
        queue.push(batch, offsets.end, asked);
    }

    fn asked(queue: &InputQueue) -> u64 {
        match queue.state(0) {
            Input::Head { asked, .. } => asked,
            Input::Empty { .. } => panic!("it has a head"),
        }
    }

    #[test]
    fn a_record_below_an_end_was_there_when_that_was_asked() {
        let mut queue = InputQueue::new(0);
        fetched(&mut queue, 0..2, 0);
        assert_eq!(asked(&queue), 0, "nothing was asked before");
        queue.answer(1, 3);
        queue.answer(2, 9);
        fetched(&mut queue, 2..5, 2);
        queue.advance();
        queue.advance();
        assert_eq!(asked(&queue), 1, "2 is below 3");
        queue.advance();
        assert_eq!(asked(&queue), 2, "3 may have come since: what is known is its fetch");
        queue.answer(3, 9);
        fetched(&mut queue, 5..9, 7);
        queue.advance();
        queue.advance();
        assert_eq!(asked(&queue), 3, "5 is below 9, whenever it was fetched");
        (5..8).for_each(|_| queue.advance());
        assert_eq!(asked(&queue), 3);
        fetched(&mut queue, 9..10, 8);
        queue.advance();
        assert_eq!(asked(&queue), 8);
    }
}
