//! The records of one input that were fetched and not processed yet, bounded in bytes.
//!
//! What is looked through for the earliest record ([`super::order`]) is what is here: all that was
//! there when it was asked, or, where more is there than there is room for, at least half of the
//! room behind the batch at hand. It costs a look at each record when it comes, and a number for
//! each batch.

use std::collections::VecDeque;

use super::order::{Input, Known, Waiting};
use crate::record::{Batch, Record};

/// Records of one input, and what is known of its end.
#[derive(Debug)]
pub(crate) struct InputQueue {
    batches: VecDeque<(Batch, u64)>,
    cursor: usize,
    bytes: usize,
    /// No more is fetched when so much is here (bytes).
    bytes_max: usize,
    /// Whether what is here may do, although more is there.
    is_enough: bool,
    /// Batches taken so far: it numbers them.
    taken: u64,
    /// The smallest timestamp of a batch behind the first one, by its number; only of those that
    /// have none as small behind them, so they grow from the front to the back.
    least_behind: VecDeque<(u64, i64)>,
    /// Where the fetch stands: everything below is here or processed.
    fetched: u64,
    /// Number of the last question answered, and the end it told.
    answered: (u64, u64),
    /// The same of an earlier question, as long as its end is behind the head: all below it was
    /// there when it was asked, whenever it is fetched.
    there: (u64, u64),
    /// Since when it has been told to end before what it had been told to hold (monotonic ms).
    cut_since: Option<u64>,
    /// Whether it is known that the head can be read; only asked of one that others wait behind.
    is_judged: bool,
    /// An emptied batch, kept for its memory.
    spare: Batch,
}

impl InputQueue {
    /// One without a bound.
    pub(crate) fn new(position: u64) -> Self {
        InputQueue {
            batches: VecDeque::new(),
            cursor: 0,
            bytes: 0,
            bytes_max: usize::MAX,
            is_enough: false,
            taken: 0,
            least_behind: VecDeque::new(),
            fetched: position,
            answered: (0, 0),
            there: (0, 0),
            cut_since: None,
            is_judged: false,
            spare: Batch::default(),
        }
    }

    /// Sets the bound.
    pub(crate) fn set_bytes_max(&mut self, bytes: usize) {
        self.bytes_max = bytes;
        self.is_enough = self.holds_enough();
    }

    /// Whether more may be fetched.
    pub(crate) fn has_room(&self) -> bool {
        self.bytes < self.bytes_max
    }

    /// An empty batch to fetch into.
    pub(crate) fn spare(&mut self) -> Batch {
        std::mem::take(&mut self.spare)
    }

    /// Takes what was fetched. `asked` is how many questions had been asked by then.
    pub(crate) fn push(&mut self, mut batch: Batch, position: u64, asked: u64) {
        self.fetched = self.fetched.max(position);
        if batch.is_empty() {
            self.spare = batch;
            return;
        }
        let least = batch.find_least();
        if !self.batches.is_empty() {
            while self.least_behind.back().is_some_and(|(_, before)| *before >= least) {
                self.least_behind.pop_back();
            }
            self.least_behind.push_back((self.taken, least));
        }
        self.taken += 1;
        self.bytes += batch.size();
        self.batches.push_back((batch, asked));
        self.is_enough = self.holds_enough();
    }

    /// The answer to question `number`: this input's end.
    pub(crate) fn answer(&mut self, number: u64, end: u64) {
        self.answered = (number, end);
        self.cut_since = None;
        if self.next() >= self.there.1 || end < self.there.1 {
            self.there = self.answered;
        }
    }

    /// Number of the last question answered, and the end it told.
    pub(crate) fn answered(&self) -> (u64, u64) {
        self.answered
    }

    /// Nothing before this is to be taken any more.
    pub(crate) fn next(&self) -> u64 {
        self.batches.front().map_or(self.fetched, |(batch, _)| batch.place(self.cursor).0)
    }

    /// Whether an end contradicts an earlier answer: records that it had told, and that have not
    /// been fetched, are not there. For how long it has been so (ms), and which end was told.
    pub(crate) fn cut(&mut self, end: u64, now_ms: u64) -> Option<(u64, u64)> {
        if !self.is_behind() || end >= self.answered.1 {
            return None;
        }
        let since = *self.cut_since.get_or_insert(now_ms);
        Some((now_ms.saturating_sub(since), self.answered.1))
    }

    /// Nobody tells an end for now.
    pub(crate) fn forget_cut(&mut self) {
        self.cut_since = None;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Whether records are known to be there that have not been fetched.
    pub(crate) fn is_behind(&self) -> bool {
        self.fetched < self.answered.1
    }

    /// Of a source with this head start (ms), if it has one.
    pub(crate) fn state(&self, head_start_ms: Option<u64>) -> Input {
        let earlier = |time: i64| time.saturating_sub_unsigned(head_start_ms.unwrap_or(0));
        let waiting = self.batches.front().map(|(batch, asked)| {
            let (offset, timestamp) = batch.place(self.cursor);
            let (number, end) = self.there;
            let asked = if offset < end { number.min(*asked) } else { *asked };
            Waiting { head: earlier(timestamp), least: earlier(self.least(batch)), asked }
        });
        let known = match self.is_behind() {
            false => Known::Until(self.answered.0),
            true if self.is_enough => Known::Enough,
            true => Known::OnItsWay,
        };
        Input { waiting, known, is_first: head_start_ms.is_some() }
    }

    /// The smallest timestamp that waits; `front` is the first batch.
    fn least(&self, front: &Batch) -> i64 {
        let here = front.least_from(self.cursor);
        self.least_behind.front().map_or(here, |(_, behind)| here.min(*behind))
    }

    /// Whether nothing more is fetched, or half of the room is taken by batches that are whole, so
    /// that the fetch of one more need not be waited for.
    fn holds_enough(&self) -> bool {
        let Some((front, _)) = self.batches.front() else {
            return false;
        };
        !self.has_room() || self.bytes - front.size() >= self.bytes_max / 2
    }

    /// Whether the head is stamped later than one that waits behind it, or than `latest`, and has
    /// not been looked at for that yet; now it has.
    pub(crate) fn must_be_judged(&mut self, latest: i64) -> bool {
        let Some((batch, _)) = self.batches.front().filter(|_| !self.is_judged) else {
            return false;
        };
        let (_, timestamp) = batch.place(self.cursor);
        let is_odd = timestamp > latest || timestamp > self.least(batch);
        self.is_judged = is_odd;
        is_odd
    }

    /// The next record, as one of `topic` and `partition`.
    pub(crate) fn head<'a>(&'a self, topic: &'a str, partition: u32) -> Option<Record<'a>> {
        let (batch, _) = self.batches.front()?;
        Some(batch.get(self.cursor, topic, partition))
    }

    /// Drops the head.
    pub(crate) fn advance(&mut self) {
        self.cursor += 1;
        self.is_judged = false;
        let done = self.batches.front().is_some_and(|(batch, _)| self.cursor >= batch.len());
        if done && let Some((mut batch, _)) = self.batches.pop_front() {
            self.bytes -= batch.size();
            self.cursor = 0;
            batch.clear();
            self.spare = batch;
            let first = self.taken - self.batches.len() as u64;
            if self.least_behind.front().is_some_and(|(number, _)| *number == first) {
                self.least_behind.pop_front();
            }
            self.is_enough = self.holds_enough();
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
        queue.state(None).waiting.expect("a head").asked
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

    fn stamped(times: &[i64]) -> Batch {
        let mut batch = Batch::default();
        times.iter().for_each(|at| batch.push(0, *at, None, None, []));
        batch
    }

    #[test]
    fn the_earliest_that_waits_is_known_in_every_batch() {
        let mut queue = InputQueue::new(0);
        let batches = [&[9, 3, 8][..], &[5, 7], &[6], &[4, 9], &[11]];
        batches.iter().for_each(|times| queue.push(stamped(times), 0, 0));
        let mut found = Vec::new();
        while let Some(waiting) = queue.state(Some(1)).waiting {
            found.push((waiting.head + 1, waiting.least + 1));
            queue.advance();
        }
        let times = batches.concat();
        let expected = |from: usize| (times[from], *times[from..].iter().min().expect("some"));
        assert_eq!(found, (0..times.len()).map(expected).collect::<Vec<_>>());
        queue.push(stamped(&[2, 1]), 0, 0);
        assert_eq!(queue.state(Some(0)).waiting.map(|w| (w.head, w.least)), Some((2, 1)));
    }

    #[test]
    fn what_is_here_is_enough_only_where_there_is_room_for_little_more() {
        let one = stamped(&[1]).size();
        let mut queue = InputQueue::new(0);
        queue.set_bytes_max(6 * one);
        queue.answer(1, 100);
        let known = |queue: &InputQueue| (queue.state(None).known, queue.has_room());
        assert_eq!(known(&queue), (Known::OnItsWay, true), "nothing is here");
        queue.push(stamped(&[1, 1]), 2, 1);
        queue.push(stamped(&[1, 1]), 4, 1);
        assert_eq!(known(&queue), (Known::OnItsWay, true), "the first batch does not count");
        queue.push(stamped(&[1]), 5, 1);
        assert_eq!(known(&queue), (Known::Enough, true));
        let mut full = InputQueue::new(0);
        full.set_bytes_max(6 * one);
        full.answer(1, 100);
        full.push(stamped(&[1; 6]), 6, 1);
        assert_eq!(known(&full), (Known::Enough, false), "nothing more would come");
        full.answer(2, 6);
        assert_eq!(known(&full), (Known::Until(2), false));
    }

    #[test]
    fn only_a_head_that_is_out_of_line_is_judged_and_once() {
        let mut queue = InputQueue::new(0);
        queue.push(stamped(&[1, 9, 5]), 3, 0);
        assert!(!queue.must_be_judged(20), "the earliest of all");
        assert!(queue.must_be_judged(0), "later than is allowed");
        queue.advance();
        assert!(queue.must_be_judged(20), "another one waits behind it");
        assert!(!queue.must_be_judged(20), "it was");
        queue.advance();
        assert!(!queue.must_be_judged(20));
    }

    #[test]
    fn an_end_that_goes_back_is_believed_in_the_end_only() {
        let mut queue = InputQueue::new(3);
        queue.answer(1, 9);
        assert_eq!((queue.cut(9, 100), queue.cut(8, 100)), (None, Some((0, 9))));
        assert_eq!(queue.cut(5, 250), Some((150, 9)), "since the first one");
        queue.answer(2, 9);
        assert_eq!(queue.cut(5, 300), Some((0, 9)), "it was as before in the meantime");
        queue.answer(3, 5);
        assert_eq!(queue.cut(5, 400), None);
        fetched(&mut queue, 3..6, 3);
        assert_eq!(asked(&queue), 3, "what lies there now was not there at first");
        let mut reached = InputQueue::new(9);
        reached.answer(1, 9);
        assert_eq!(reached.cut(5, 100), None, "the fetch is told of that");
    }
}
