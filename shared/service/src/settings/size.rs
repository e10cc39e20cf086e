//! An amount of memory as people write it: `512MiB`, `1GiB`, or a number of bytes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::NumberOrText;

/// An amount of memory; a whole number of one unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "NumberOrText", into = "String")]
pub struct Size(pub u64);

/// Units, the largest first, in bytes.
const UNITS: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("", 1)];

/// A text that is no amount of memory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no size: write 512MiB, 1GiB, or a number of bytes")]
pub struct SizeError(String);

impl FromStr for Size {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Size, SizeError> {
        let wrong = || SizeError(text.to_owned());
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (count, unit) = text.split_at(digits);
        let (_, bytes) = UNITS.iter().find(|(name, _)| *name == unit.trim()).ok_or_else(wrong)?;
        let count: u64 = count.parse().map_err(|_| wrong())?;
        Ok(Size(count.checked_mul(*bytes).ok_or_else(wrong)?))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, bytes): &&(&str, u64)| self.0 > 0 && self.0.is_multiple_of(*bytes);
        let (unit, bytes) = UNITS.iter().find(fits).unwrap_or(&("", 1));
        write!(f, "{}{unit}", self.0 / bytes)
    }
}

impl TryFrom<NumberOrText> for Size {
    type Error = SizeError;

    fn try_from(written: NumberOrText) -> Result<Size, SizeError> {
        match written {
            NumberOrText::Number(bytes) => Ok(Size(bytes)),
            NumberOrText::Text(text) => text.parse(),
        }
    }
}

impl From<Size> for String {
    fn from(size: Size) -> String {
        size.to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::settings::SettingsFile;

    #[track_caller]
    fn check(text: &str, bytes: Option<u64>, shown: &str) {
        let size = text.parse::<Size>().ok();
        assert_eq!(size.map(|size| size.0), bytes, "{text}");
        assert_eq!(size.map(|size| size.to_string()).unwrap_or_default(), shown, "{text}");
    }

    #[test]
    fn a_size_is_a_number_with_a_unit_or_of_bytes() {
        check("512MiB", Some(512 << 20), "512MiB");
        check("1GiB", Some(1 << 30), "1GiB");
        check("2048 MiB", Some(2 << 30), "2GiB");
        check("1536KiB", Some(1536 << 10), "1536KiB");
        check("1048577", Some(1_048_577), "1048577");
        check("1048576", Some(1 << 20), "1MiB");
        check("0", Some(0), "0");
        for wrong in ["", "MiB", "1MB", "1.5GiB", "-1", "5 apples", "20000000TiB"] {
            check(wrong, None, "");
        }
    }

    #[test]
    fn a_file_has_a_size_as_a_text_or_a_number() {
        let of = |text: &str| {
            let mut file = SettingsFile::parse(Path::new("a.toml"), text).expect("TOML");
            file.or::<Size>("memory", None).map_err(|error| error.to_string())
        };
        assert_eq!(of("memory = \"64MiB\""), Ok(Some(Size(64 << 20))));
        assert_eq!(of("memory = 4096"), Ok(Some(Size(4096))));
        for (text, told) in [
            ("memory = \"much\"", "\"much\" is no size: write 512MiB"),
            ("memory = true", "invalid type: boolean `true`, expected a number or a text"),
            ("memory = -1", "invalid value: integer `-1`, expected a number or a text"),
        ] {
            let error = of(text).expect_err(text);
            assert!(error.starts_with("a.toml: memory: ") && error.contains(told), "{error}");
        }
    }
}
