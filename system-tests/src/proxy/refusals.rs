//! Which partitions are refused to whoever reads them, and with which of Kafka's errors.

use super::frame::api;

const OFFSET_OUT_OF_RANGE: i16 = 1;
const NOT_LEADER: i16 = 6;

/// What is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Refusals {
    /// Nothing.
    #[default]
    None,
    /// So many fetches of a partition fail.
    Next {
        /// Kafka's code.
        error: i16,
        /// How many.
        count: u32,
    },
    /// The log of this partition is said to be shorter than any position, of every topic.
    Short {
        /// Its number.
        partition: i32,
    },
    /// The broker leads no partition, and no other one does: nothing can be read.
    Leaderless {
        /// Where logs end is not told either.
        offsets_too: bool,
    },
}

impl Refusals {
    /// The error that a partition is refused with in an answer.
    pub(super) fn of(&mut self, asked: i16, of: i32) -> Option<i16> {
        let is_fetch = asked == api::FETCH;
        match self {
            Refusals::Next { error, count } if is_fetch && *count > 0 => {
                *count -= 1;
                Some(*error)
            }
            Refusals::Short { partition } if is_fetch && *partition == of => {
                Some(OFFSET_OUT_OF_RANGE)
            }
            Refusals::Leaderless { offsets_too } if is_fetch || *offsets_too => Some(NOT_LEADER),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_as_was_told() {
        let check = |mut refusals: Refusals, expected: [Option<i16>; 4]| {
            let asked = [(api::FETCH, 1), (api::FETCH, 2), (api::FETCH, 1), (api::LIST_OFFSETS, 1)];
            assert_eq!(asked.map(|(api, of)| refusals.of(api, of)), expected, "{refusals:?}");
        };
        check(Refusals::None, [None; 4]);
        check(Refusals::Next { error: -1, count: 2 }, [Some(-1), Some(-1), None, None]);
        check(Refusals::Short { partition: 1 }, [Some(1), None, Some(1), None]);
        check(Refusals::Leaderless { offsets_too: false }, [Some(6), Some(6), Some(6), None]);
        check(Refusals::Leaderless { offsets_too: true }, [Some(6); 4]);
    }
}
