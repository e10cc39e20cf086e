//! A request's timestamp: RFC 3339, or milliseconds since 1970; without one it is now.

use bps_streams::record::TIME_MIN;

use super::Moment;
use crate::problem::{Problem, ProblemKind};

/// Reads the raw JSON of the field `timestamp`.
///
/// # Errors
/// A timestamp that cannot be read, one that no record can carry, or one that is later than allowed.
pub fn read(raw: Option<&str>, at: Moment) -> Result<i64, Problem> {
    let Some(raw) = raw else { return Ok(at.now_ms) };
    let wrong = |detail: &str| Problem::of(ProblemKind::Timestamp, "timestamp", detail);
    let stamp = match raw.as_bytes().first() {
        Some(b'"') => serde_json::from_str::<String>(raw)
            .ok()
            .and_then(|text| text.parse::<jiff::Timestamp>().ok())
            .map(jiff::Timestamp::as_millisecond),
        _ => raw.parse::<i64>().ok(),
    };
    let unreadable = "it is neither RFC 3339, as \"2017-01-01T11:53:26Z\", nor whole milliseconds";
    let stamp = stamp.ok_or_else(|| wrong(unreadable))?;
    if stamp < TIME_MIN {
        return Err(wrong("it is not after the beginning of 1970, which no record can carry"));
    }
    if stamp > at.now_ms.saturating_add_unsigned(at.future_max_ms) {
        let detail = format!("it is more than {} ms later than now", at.future_max_ms);
        return Err(wrong(&detail));
    }
    Ok(stamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(raw: &str, expected: Result<i64, &str>) {
        let at = Moment { now_ms: 2_000_000_000_000, future_max_ms: 1_000 };
        match (read(Some(raw), at), expected) {
            (Ok(stamp), Ok(expected)) => assert_eq!(stamp, expected, "{raw}"),
            (Err(problem), Err(told)) => {
                assert_eq!(problem.field.as_deref(), Some("timestamp"));
                assert!(problem.detail.contains(told), "{problem:?}");
            }
            (found, _) => panic!("{raw}: {found:?}"),
        }
    }

    #[test]
    fn a_timestamp_is_rfc_3339_or_milliseconds() {
        check("1483271606000", Ok(1_483_271_606_000));
        check(r#""2017-01-01T11:53:26Z""#, Ok(1_483_271_606_000));
        check(r#""2017-01-01T12:53:26.5+01:00""#, Ok(1_483_271_606_500));
        check("2000000001000", Ok(2_000_000_001_000));
        check("2000000001001", Err("later than now"));
        check(r#""2217-01-01T11:53:26Z""#, Err("later than now"));
        check("1", Ok(1));
        check(r#""1970-01-01T00:00:00.001Z""#, Ok(1));
        for raw in ["0", "-1", r#""1970-01-01T00:00:00Z""#, r#""1969-12-31T23:59:59Z""#] {
            check(raw, Err("after the beginning of 1970"));
        }
        for raw in
            [r#""2017-01-01""#, r#""soon""#, "1.5", "1e3", "true", "[]", "99999999999999999999"]
        {
            check(raw, Err("neither RFC 3339"));
        }
    }
}
