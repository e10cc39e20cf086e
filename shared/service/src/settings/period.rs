//! A span of time as people write it: `100ms`, `5s`, `5min`, `24h`, `30d`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A span of time; a whole number of one unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Period(pub Duration);

/// Units, the longest first, in milliseconds.
const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000), ("ms", 1)];

/// A text that is no span of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no span of time: write 100ms, 5s, 5min, 24h or 30d")]
pub struct PeriodError(String);

impl Period {
    /// The span in milliseconds.
    pub fn as_ms(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }
}

impl FromStr for Period {
    type Err = PeriodError;

    fn from_str(text: &str) -> Result<Period, PeriodError> {
        let wrong = || PeriodError(text.to_owned());
        let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (count, unit) = text.split_at(digits);
        let (_, ms) = UNITS.iter().find(|(name, _)| *name == unit.trim()).ok_or_else(wrong)?;
        let count: u64 = count.parse().map_err(|_| wrong())?;
        Ok(Period(Duration::from_millis(count.checked_mul(*ms).ok_or_else(wrong)?)))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all_ms = self.as_ms();
        let fits = |(_, ms): &&(&str, u64)| all_ms > 0 && all_ms.is_multiple_of(*ms);
        let (unit, ms) = UNITS.iter().find(fits).unwrap_or(&("ms", 1));
        write!(f, "{}{unit}", all_ms / ms)
    }
}

impl TryFrom<String> for Period {
    type Error = PeriodError;

    fn try_from(text: String) -> Result<Period, PeriodError> {
        text.parse()
    }
}

impl From<Period> for String {
    fn from(period: Period) -> String {
        period.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, ms: Option<u64>, shown: &str) {
        let period = text.parse::<Period>().ok();
        assert_eq!(period.map(Period::as_ms), ms, "{text}");
        assert_eq!(period.map(|p| p.to_string()).unwrap_or_default(), shown, "{text}");
    }

    #[test]
    fn a_period_is_a_number_with_a_unit() {
        check("5min", Some(300_000), "5min");
        check("100ms", Some(100), "100ms");
        check("120 s", Some(120_000), "2min");
        check("48h", Some(172_800_000), "2d");
        check("0s", Some(0), "0ms");
        for wrong in ["", "5", "s", "-5s", "1.5s", "5 weeks", "99999999999999999999s"] {
            check(wrong, None, "");
        }
    }
}
