//! A quantity as it was written: kept word for word, so that a refusal can repeat it.

use std::borrow::Cow;
use std::fmt;

/// Largest quantity: the largest integer that every JSON reader keeps exact.
pub const QUANTITY_MAX: u64 = 1 << 53;

/// Most digits that a result repeats: of a longer integer common JSON readers could not even read
/// the result (a double ends at 308).
pub const DIGITS_MAX: usize = 300;

/// What stood in the field `quantity`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Quantity<'a> {
    /// An integer from 1 to [`QUANTITY_MAX`].
    Valid(u64),
    /// An integer outside of that, in its own digits.
    OutOfRange(Cow<'a, str>),
    /// Missing, or something else: a text, `1.0`, `1e2`, `null`; or longer than [`DIGITS_MAX`].
    NotAnInteger,
}

impl<'a> Quantity<'a> {
    /// Reads the raw JSON text of the field.
    pub fn read(raw: &'a str) -> Quantity<'a> {
        let digits = raw.strip_prefix('-').unwrap_or(raw);
        let is_integer = digits.bytes().all(|b| b.is_ascii_digit());
        if !is_integer || !(1..=DIGITS_MAX).contains(&digits.len()) {
            return Quantity::NotAnInteger;
        }
        match raw.parse::<u64>() {
            Ok(n @ 1..=QUANTITY_MAX) => Quantity::Valid(n),
            _ => Quantity::OutOfRange(Cow::Borrowed(raw)),
        }
    }

    /// As a result repeats it: the integer, or `null`.
    pub fn text<'t>(&'t self, digits: &'t mut itoa::Buffer) -> &'t str {
        match self {
            Self::Valid(n) => digits.format(*n),
            Self::OutOfRange(text) => text,
            Self::NotAnInteger => "null",
        }
    }

    /// The quantity, if it is valid.
    pub fn valid(&self) -> Option<u64> {
        match self {
            Self::Valid(n) => Some(*n),
            _ => None,
        }
    }
}

/// As a result repeats it.
impl fmt::Display for Quantity<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text(&mut itoa::Buffer::new()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(raw: &str, valid: Option<u64>, shown: &str) {
        let quantity = Quantity::read(raw);
        assert_eq!((quantity.valid(), quantity.to_string().as_str()), (valid, shown), "{raw}");
    }

    #[test]
    fn integers_are_repeated_and_everything_else_is_null() {
        check("1", Some(1), "1");
        check("9007199254740992", Some(QUANTITY_MAX), "9007199254740992");
        check("9007199254740993", None, "9007199254740993");
        check("99999999999999999999999", None, "99999999999999999999999");
        check("0", None, "0");
        check("-3", None, "-3");
        let [long, longer] = [DIGITS_MAX, DIGITS_MAX + 1].map(|digits| "9".repeat(digits));
        check(&long, None, &long);
        check(&longer, None, "null");
        for raw in ["1.0", "1e2", "\"2\"", "null", "true", "[1]", "{}", "-"] {
            check(raw, None, "null");
        }
    }
}
