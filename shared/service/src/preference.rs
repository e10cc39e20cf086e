//! How long a caller wants to wait: the header `Prefer` (RFC 7240), `wait=N` in seconds and
//! `respond-async`.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};

/// Longest wait for a decision; who asks for more waits as long.
pub const WAIT_MAX: Duration = Duration::from_secs(60);

const PREFER: HeaderName = HeaderName::from_static("prefer");
/// What of the preferences was followed.
const APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// What a caller prefers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preference {
    /// How long to wait; zero: not at all.
    pub wait: Duration,
    /// Whether the caller said so.
    pub is_given: bool,
}

impl Preference {
    /// Reads the headers; of several the first one counts, and what is not known is passed over,
    /// as the RFC wants it.
    pub fn of(headers: &HeaderMap, otherwise: Duration) -> Preference {
        let texts = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
        let mut preferences = texts.flat_map(|text| text.split(',')).filter_map(wait);
        let given = preferences.next();
        Preference { wait: given.unwrap_or(otherwise).min(WAIT_MAX), is_given: given.is_some() }
    }

    /// What the answer says of it.
    pub fn applied(self) -> Option<(HeaderName, HeaderValue)> {
        let text = match self.wait.as_secs() {
            0 => "respond-async".to_owned(),
            seconds => format!("wait={seconds}"),
        };
        let value = HeaderValue::from_str(&text).ok()?;
        self.is_given.then_some((APPLIED, value))
    }
}

fn wait(preference: &str) -> Option<Duration> {
    let name = preference.split(';').next()?.trim();
    let (name, value) = name.split_once('=').unwrap_or((name, ""));
    let (name, value) = (name.trim(), value.trim().trim_matches('"'));
    if name.eq_ignore_ascii_case("respond-async") {
        return Some(Duration::ZERO);
    }
    let is_wait = name.eq_ignore_ascii_case("wait");
    is_wait.then(|| value.parse().ok()).flatten().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(prefer: &[&'static str], wait: u64, applied: Option<&str>) {
        let mut headers = HeaderMap::new();
        for text in prefer {
            headers.append(PREFER, HeaderValue::from_static(text));
        }
        let preference = Preference::of(&headers, Duration::from_secs(10));
        assert_eq!(preference.wait.as_secs(), wait, "{prefer:?}");
        let told = preference.applied().map(|(_, value)| value);
        assert_eq!(told, applied.map(|text| HeaderValue::from_str(text).expect("text")));
    }

    #[test]
    fn the_first_wait_that_is_known_counts() {
        check(&[], 10, None);
        check(&["wait=5"], 5, Some("wait=5"));
        check(&["Wait = \"5\"; foo=bar"], 5, Some("wait=5"));
        check(&["respond-async, wait=5"], 0, Some("respond-async"));
        check(&["handling=lenient", "wait=7, respond-async"], 7, Some("wait=7"));
        check(&["wait=0"], 0, Some("respond-async"));
        check(&["wait=3600"], 60, Some("wait=60"));
        check(&["wait=soon"], 10, None);
        check(&["wait=-1, return=minimal"], 10, None);
    }
}
