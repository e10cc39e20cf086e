//! How many threads each topology has, as people write it: `3`, or `stock=2,orders=1`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};

use super::Topologies;
use crate::settings::{NumberOrText, SettingsError};

/// Threads of topologies.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "NumberOrText")]
pub enum Workers {
    /// Of the first topology.
    First(u32),
    /// By name, in the order in which they are written.
    Named(Vec<(String, u32)>),
}

/// A text that is no number of threads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no number of threads: write 3, or NAME=2,NAME=1")]
pub struct WorkersError(String);

/// More threads than this would be a slip of the finger.
const WORKERS_MAX: u32 = 256;

impl Workers {
    /// How many each topology of the list has, in its order; what is not told is the list's own.
    ///
    /// # Errors
    /// A name that no topology has, or that stands there twice; a number out of bounds.
    pub(crate) fn of<S>(
        told: Option<&Workers>,
        topologies: &Topologies<S>,
    ) -> Result<Vec<(&'static str, u32)>, SettingsError> {
        let wrong = |cause: &dyn fmt::Display| SettingsError::new("workers", cause);
        let mut all: Vec<_> = topologies.0.iter().map(|t| (t.name, t.workers)).collect();
        match told {
            None => {}
            Some(Workers::First(count)) => {
                all.iter_mut().take(1).for_each(|first| first.1 = *count)
            }
            Some(Workers::Named(named)) => {
                let names: Vec<&str> = named.iter().map(|(name, _)| name.as_str()).collect();
                topologies.select(&names).map_err(|error| wrong(&error))?;
                for (name, workers) in &mut all {
                    let told = named.iter().find(|(told, _)| told == name);
                    *workers = told.map_or(*workers, |(_, count)| *count);
                }
            }
        }
        match all.iter().find(|(_, count)| !(1..=WORKERS_MAX).contains(count)) {
            Some((_, count)) => Err(wrong(&format!("{count} is not from 1 to {WORKERS_MAX}"))),
            None => Ok(all),
        }
    }
}

impl FromStr for Workers {
    type Err = WorkersError;

    fn from_str(text: &str) -> Result<Workers, WorkersError> {
        let wrong = || WorkersError(text.to_owned());
        let count = |text: &str| text.trim().parse::<u32>().map_err(|_| wrong());
        if !text.contains('=') {
            return count(text).map(Workers::First);
        }
        let one = |part: &str| {
            let (name, number) = part.split_once('=').ok_or_else(wrong)?;
            Ok((name.trim().to_owned(), count(number)?))
        };
        text.split(',').map(one).collect::<Result<_, _>>().map(Workers::Named)
    }
}

impl TryFrom<NumberOrText> for Workers {
    type Error = WorkersError;

    fn try_from(written: NumberOrText) -> Result<Workers, WorkersError> {
        match written {
            NumberOrText::Text(text) => text.parse(),
            NumberOrText::Number(number) => {
                let count = u32::try_from(number).map_err(|_| WorkersError(number.to_string()))?;
                Ok(Workers::First(count))
            }
        }
    }
}

impl fmt::Display for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Workers::First(count) => write!(f, "{count}"),
            Workers::Named(named) => {
                let parts = named.iter().map(|(name, count)| format!("{name}={count}"));
                f.write_str(&parts.collect::<Vec<_>>().join(","))
            }
        }
    }
}

impl Serialize for Workers {
    fn serialize<T: Serializer>(&self, serializer: T) -> Result<T::Ok, T::Error> {
        match self {
            Workers::First(count) => serializer.serialize_u32(*count),
            Workers::Named(_) => serializer.collect_str(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::TWO;
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<[u32; 2], &str>) {
        let read = text.parse::<Workers>().map_err(|error| error.to_string());
        let all = read.and_then(|told| {
            assert_eq!(told.to_string().parse(), Ok(told.clone()), "{text}");
            Workers::of(Some(&told), &TWO).map_err(|error| error.to_string())
        });
        let all = all.map(|all| all.into_iter().map(|(_, count)| count).collect::<Vec<_>>());
        assert_eq!(all, expected.map(Vec::from).map_err(str::to_owned), "{text}");
    }

    #[test]
    fn a_number_is_of_the_first_and_names_are_of_any() {
        check("3", Ok([3, 1]));
        check("one=3", Ok([3, 1]));
        check("two=4", Ok([2, 4]));
        check("two = 4, one = 3", Ok([3, 4]));
        check("0", Err("workers: 0 is not from 1 to 256"));
        check("two=257", Err("workers: 257 is not from 1 to 256"));
        check("x=1", Err("workers: topology \"x\" does not exist; there are: one, two"));
        let twice = "workers: topology \"one\" is named twice; there are: one, two";
        check("one=1,one=2", Err(twice));
        for wrong in ["", "many", "-1", "one=", "one=2,3", "one=2,"] {
            let told = format!("{wrong:?} is no number of threads: write 3, or NAME=2,NAME=1");
            check(wrong, Err(&told));
        }
        assert_eq!(Workers::of(None, &TWO), Ok(vec![("one", 2), ("two", 1)]));
    }
}
