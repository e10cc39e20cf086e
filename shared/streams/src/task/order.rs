//! Which input goes next: by timestamp, less the head start of its source; ties go to the input
//! that the topology names first.
//!
//! An input that looks empty is believed empty only once it has reached an end offset that was
//! asked after the record at hand was there: after it had been fetched, or an earlier question had
//! told an end behind it. So a record that was appended after another one was acknowledged can
//! never overtake it, and a backlog takes two questions, however many fetches it takes.

/// What is known of one input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// Its next record.
    Head {
        /// Timestamp less head start.
        time: i64,
        /// How many end-offset questions had been asked when it was surely there.
        asked: u64,
    },
    /// No record is here.
    Empty {
        /// Number of the last question whose answer it has reached; 0: none.
        reached: u64,
    },
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Process the head of this input.
    Take(usize),
    /// Records are here, but an input that looks empty may not be: ask for its end, or fetch.
    Ask,
    /// Nothing is here.
    Idle,
}

pub(crate) fn choose(inputs: impl Iterator<Item = Input> + Clone) -> Choice {
    let heads = inputs.clone().enumerate().filter_map(|(index, input)| match input {
        Input::Head { time, asked } => Some((time, index, asked)),
        Input::Empty { .. } => None,
    });
    let Some((_, first, asked)) = heads.min_by_key(|(time, index, _)| (*time, *index)) else {
        return Choice::Idle;
    };
    let known = |input| !matches!(input, Input::Empty { reached } if reached <= asked);
    match { inputs }.all(known) {
        true => Choice::Take(first),
        false => Choice::Ask,
    }
}

#[cfg(test)]
mod tests {
    use super::Input::{Empty, Head};
    use super::*;

    #[track_caller]
    fn check(inputs: &[Input], expected: Choice) {
        assert_eq!(choose(inputs.iter().copied()), expected);
    }

    #[test]
    fn the_earliest_goes_and_ties_go_to_the_first() {
        let head = |time| Head { time, asked: 0 };
        check(&[head(5), head(4)], Choice::Take(1));
        check(&[head(4), head(4)], Choice::Take(0));
        check(&[head(-4), head(-5), head(i64::MAX)], Choice::Take(1));
        check(&[Empty { reached: 0 }, Empty { reached: 9 }], Choice::Idle);
    }

    #[test]
    fn an_empty_input_must_have_reached_an_end_asked_after_the_fetch() {
        let head = Head { time: 0, asked: 3 };
        check(&[Empty { reached: 3 }, head], Choice::Ask);
        check(&[Empty { reached: 4 }, head], Choice::Take(1));
        check(&[head, Empty { reached: 4 }, Empty { reached: 2 }], Choice::Ask);
    }
}
