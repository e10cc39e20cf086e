//! Which input goes next. Each input keeps the order of its log: only its head can be taken.
//!
//! The time of a record is its timestamp, less the head start of its source. The head with the
//! earliest time goes; ties go to the input that the topology names first. But where a source has
//! a head start, all that waits in it counts, not its head alone: its head goes as soon as
//! anything in it, however far behind, is no later than the heads of the inputs after it. So a
//! record that is stamped ahead holds up none of those behind it; it goes early, with them. It is
//! the other way round for an input without a head start: its head goes by its own time, and
//! whatever waits behind it, it overtakes nothing that must go before it.
//!
//! That is worth what is known of the other inputs. One that looks empty is believed empty only
//! once it has reached an end offset that was asked after the record at hand was there: after it
//! had been fetched, or an earlier question had told an end behind it. The same is asked of an
//! input with a head start in which records wait: an earlier one may be on its way. So a record
//! that was appended after another one was acknowledged can never overtake it, and a backlog takes
//! two questions, however many fetches it takes. Where more waits than there is room for, what is
//! here must do: as much of it as a queue may hold is looked through ([`super::queue`]).

/// What is known of one input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Input {
    /// The records that are here, if there are any.
    pub(crate) waiting: Option<Waiting>,
    /// How much of the input is here.
    pub(crate) known: Known,
    /// Whether its source has a head start: then all that waits in it counts.
    pub(crate) is_first: bool,
}

impl Input {
    /// One that has no part in the order.
    pub(crate) const NOTHING: Input =
        Input { waiting: None, known: Known::Until(u64::MAX), is_first: false };
}

/// What makes of an input something that it is not: for engines that are wrong on purpose.
#[cfg(feature = "mutants")]
pub(crate) type Mistake = fn(Input) -> Input;

/// Records that are here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// Time of the head.
    pub(crate) head: i64,
    /// The earliest time of all.
    pub(crate) least: i64,
    /// How many end-offset questions had been asked when the head was surely there.
    pub(crate) asked: u64,
}

/// How much of an input is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// All that was there when the question of this number was asked; 0: none was.
    Until(u64),
    /// More is known to be there, and is on its way.
    OnItsWay,
    /// More is known to be there, and what is here is as much as is looked through.
    Enough,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Process the head of this input.
    Take(usize),
    /// Records are here, but others that go before them may be there: ask for the ends.
    Ask,
    /// Records are here, but others are on their way that may go before them: fetch.
    Fetch,
    /// Rows have fallen due: they go before all records.
    Due,
    /// Nothing is here.
    Idle,
}

pub(crate) fn choose(inputs: impl Iterator<Item = Input> + Clone) -> Choice {
    let heads = inputs.clone().enumerate().filter_map(|(index, input)| {
        input.waiting.map(|waiting| Candidate { index, waiting, is_first: input.is_first })
    });
    let Some(mut candidate) = heads.min_by_key(|c| (c.waiting.head, c.index)) else {
        return Choice::Idle;
    };
    loop {
        match review(inputs.clone(), candidate) {
            Review::Takes(choice) => return choice,
            // From inputs without a head start to those with one, and among these to earlier ones.
            Review::Yields(to) => candidate = to,
        }
    }
}

/// An input whose head may be the next.
#[derive(Clone, Copy)]
struct Candidate {
    index: usize,
    waiting: Waiting,
    is_first: bool,
}

enum Review {
    Takes(Choice),
    Yields(Candidate),
}

/// Whether the head of the candidate may go, as far as the other inputs are known.
fn review(inputs: impl Iterator<Item = Input>, candidate: Candidate) -> Review {
    let Candidate { index: own, waiting: Waiting { head, asked, .. }, .. } = candidate;
    let mut choice = Choice::Take(own);
    for (index, Input { waiting, known, is_first }) in inputs.enumerate() {
        let goes_before = is_first && (!candidate.is_first || index < own);
        if let Some(waiting) = waiting {
            if index == own || !goes_before {
                continue;
            }
            if (waiting.least, index) < (head, own) {
                return Review::Yields(Candidate { index, waiting, is_first });
            }
        }
        match known {
            Known::Until(question) if question > asked => {}
            Known::Until(_) if choice == Choice::Fetch => {}
            Known::Until(_) => choice = Choice::Ask,
            // An answer would not help.
            Known::OnItsWay => choice = Choice::Fetch,
            Known::Enough => {}
        }
    }
    Review::Takes(choice)
}

#[cfg(test)]
mod tests {
    use super::super::queue::InputQueue;
    use super::*;

    #[track_caller]
    fn check(inputs: &[Input], expected: Choice) {
        assert_eq!(choose(inputs.iter().copied()), expected);
    }

    fn waits(head: i64, least: i64, asked: u64) -> Option<Waiting> {
        Some(Waiting { head, least, asked })
    }

    /// An input without a head start, with records from `head` on.
    fn plain(head: i64) -> Input {
        Input { waiting: waits(head, head, 0), known: Known::Until(0), is_first: false }
    }

    /// One with a head start, all of which is here.
    fn first(head: i64, least: i64) -> Input {
        Input { waiting: waits(head, least, 0), known: Known::Until(1), is_first: true }
    }

    fn empty(known: Known) -> Input {
        Input { waiting: None, known, is_first: false }
    }

    #[test]
    fn the_earliest_goes_and_ties_go_to_the_first() {
        check(&[plain(5), plain(4)], Choice::Take(1));
        check(&[plain(4), plain(4)], Choice::Take(0));
        check(&[plain(-4), plain(-5), plain(i64::MAX)], Choice::Take(1));
        check(&[first(5, 5), plain(4)], Choice::Take(1));
        check(&[first(4, 4), plain(4)], Choice::Take(0));
        check(&[empty(Known::Until(0)), empty(Known::Until(9))], Choice::Idle);
    }

    #[test]
    fn one_stamped_ahead_holds_up_none_of_those_behind_it() {
        check(&[first(90, 10), plain(20)], Choice::Take(0));
        check(&[first(90, 20), plain(20)], Choice::Take(0));
        check(&[first(90, 21), plain(20)], Choice::Take(1));
        check(&[first(90, 10), plain(95), plain(20)], Choice::Take(0));
        check(&[first(90, 80), first(70, 20), plain(30)], Choice::Take(1));
        check(&[first(90, 60), first(70, 20), plain(30)], Choice::Take(0));
    }

    #[test]
    fn an_old_one_behind_a_head_without_a_head_start_does_not_pull_it_forward() {
        let old_behind = |head, least| Input { waiting: waits(head, least, 0), ..plain(head) };
        check(&[first(10, 10), old_behind(20, -900)], Choice::Take(0));
        check(&[first(10, 10), old_behind(20, -900), plain(15)], Choice::Take(0));
        check(&[plain(15), old_behind(20, -900)], Choice::Take(0));
    }

    #[test]
    fn an_empty_input_must_have_reached_an_end_asked_after_the_fetch() {
        let head = Input { waiting: waits(0, 0, 3), ..plain(0) };
        let until = |question| empty(Known::Until(question));
        check(&[until(3), head], Choice::Ask);
        check(&[until(4), head], Choice::Take(1));
        check(&[head, until(4), until(2)], Choice::Ask);
        check(&[empty(Known::OnItsWay), head], Choice::Fetch);
        check(&[empty(Known::OnItsWay), head, until(2)], Choice::Fetch);
        check(&[until(2), head, empty(Known::OnItsWay)], Choice::Fetch);
    }

    #[test]
    fn so_must_one_with_a_head_start_unless_enough_of_it_is_here() {
        let head = Input { waiting: waits(20, 20, 3), ..plain(20) };
        let later = |known| Input { known, ..first(90, 90) };
        check(&[later(Known::Until(3)), head], Choice::Ask);
        check(&[later(Known::Until(4)), head], Choice::Take(1));
        check(&[later(Known::OnItsWay), head], Choice::Fetch);
        check(&[later(Known::Enough), head], Choice::Take(1));
        // What is here goes at once, whatever is on its way.
        check(&[Input { known: Known::OnItsWay, ..first(90, 10) }, head], Choice::Take(0));
        // Those after it may have what they like on their way.
        let unknown = Input { known: Known::OnItsWay, ..plain(95) };
        check(&[first(90, 90), unknown], Choice::Take(0));
    }

    const SKEW: i64 = 5_000;

    /// Two logs, of which the first one has a head start; each append has a number of its own.
    #[derive(Default)]
    struct Logs {
        records: [Vec<(u64, i64)>; 2],
        taken: [usize; 2],
        appended: u64,
    }

    impl Logs {
        fn append(&mut self, input: usize, at: i64) {
            self.appended += 1;
            self.records[input].push((self.appended, at));
        }

        fn fetch(&self, input: usize, queue: &mut InputQueue, count: usize, asked: u64) {
            let from = queue.fetched() as usize;
            let mut batch = queue.spare();
            for (offset, (_, at)) in self.records[input].iter().enumerate().skip(from).take(count) {
                batch.push(offset as u64, *at, None, None, []);
            }
            let position = (from + batch.len()) as u64;
            queue.push(batch, position, asked);
        }

        /// The second input's head goes: all must have gone that was there before and is no later.
        fn check(&self) {
            let (number, at) = self.records[1][self.taken[1]];
            let waiting = &self.records[0][self.taken[0]..];
            let overtaken = waiting.iter().find(|(n, t)| *n < number && t - SKEW <= at);
            assert_eq!(overtaken, None, "overtaken by {number}, stamped {at}");
        }
    }

    /// Appends, fetches, asks and takes by chance; then what is left, in turns.
    fn play(seed: u64, bytes_max: usize, check: bool) {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut below = |bound: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % bound) as i64
        };
        let mut logs = Logs::default();
        let mut queues = [InputQueue::new(0), InputQueue::new(0)];
        queues.iter_mut().for_each(|queue| queue.set_bytes_max(bytes_max));
        let mut asked = 0;
        for step in 0..800 {
            let now = step * 700 + below(4_000) - 2_000;
            match if step < 400 { below(10) } else { 2 + step % 8 } {
                // Some are stamped ahead.
                0 => logs.append(0, now + 9_000 * (below(5) / 4)),
                // And some are old.
                1 => logs.append(1, now - 90_000 * (below(9) / 8)),
                what @ 2..=5 => {
                    let (input, count) = ((what % 2) as usize, 1 + below(4) as usize);
                    if queues[input].has_room() {
                        logs.fetch(input, &mut queues[input], count, asked);
                    }
                }
                6 => {
                    asked += 1;
                    let ends = logs.records.each_ref().map(|records| records.len() as u64);
                    queues.iter_mut().zip(ends).for_each(|(queue, end)| queue.answer(asked, end));
                }
                _ => {
                    let starts = [Some(SKEW as u64), None];
                    let inputs = queues.iter().zip(starts).map(|(queue, start)| queue.state(start));
                    if let Choice::Take(input) = choose(inputs) {
                        if check && input == 1 {
                            logs.check();
                        }
                        queues[input].advance();
                        logs.taken[input] += 1;
                    }
                }
            }
        }
        let all = logs.records.each_ref().map(Vec::len);
        assert_eq!(logs.taken, all, "seed {seed}: it stands still");
    }

    #[test]
    fn none_overtakes_what_was_there_before_it_and_none_is_left() {
        (0..2_000).for_each(|seed| play(seed, usize::MAX, true));
    }

    #[test]
    fn a_small_room_holds_nothing_up_for_ever() {
        (0..2_000).for_each(|seed| play(seed, 1 + 60 * (seed as usize % 5), false));
    }
}
