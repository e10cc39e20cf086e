//! The header `Idempotency-Key`: a caller's own name for what it wants done once.

use std::borrow::Cow;

use axum::http::{HeaderMap, HeaderName};
use bps_events::ids::{check_id, fresh_id};

use crate::problem::{Problem, ProblemKind};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const NAME: &str = "Idempotency-Key";

/// What the header says; without it, nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdempotencyKey(Option<String>);

impl IdempotencyKey {
    /// Reads the header, with or without the quotes of a structured field.
    ///
    /// # Errors
    /// A key that cannot be an id.
    pub fn of(headers: &HeaderMap) -> Result<IdempotencyKey, Problem> {
        let Some(value) = headers.get(IDEMPOTENCY_KEY) else {
            return Ok(IdempotencyKey::default());
        };
        let wrong = |detail: &str| Problem::of(ProblemKind::Parameter, NAME, detail);
        let text = value.to_str().map_err(|_| wrong("it is not ASCII"))?.trim();
        let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        let key = inner.unwrap_or(text);
        check_id(key).map_err(|error| wrong(&format!("it {error}")))?;
        Ok(IdempotencyKey(Some(key.to_owned())))
    }

    /// The id of an event whose body has this one in `field`: one of both, or a fresh one, which
    /// is then not the caller's.
    ///
    /// # Errors
    /// When both are there and differ.
    pub fn name<'a>(
        &'a self,
        field: &'static str,
        own: Option<Cow<'a, str>>,
    ) -> Result<(Cow<'a, str>, bool), Problem> {
        match (own, &self.0) {
            (Some(own), Some(key)) if own != **key => {
                let detail =
                    format!("it is {key:?}, and {field} is {own:?}: send one, or the same");
                Err(Problem::of(ProblemKind::Parameter, NAME, detail))
            }
            (Some(own), _) => Ok((own, true)),
            (None, Some(key)) => Ok((Cow::Borrowed(key), true)),
            (None, None) => Ok((Cow::Owned(fresh_id()), false)),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn key(text: &str) -> Result<IdempotencyKey, Problem> {
        let mut headers = HeaderMap::new();
        headers.insert(IDEMPOTENCY_KEY, HeaderValue::from_str(text).expect("a header"));
        IdempotencyKey::of(&headers)
    }

    #[test]
    fn a_key_is_an_id_quoted_or_not() {
        for text in ["a-1", "\"a-1\"", " a-1 "] {
            assert_eq!(key(text), Ok(IdempotencyKey(Some("a-1".to_owned()))), "{text}");
        }
        assert_eq!(IdempotencyKey::of(&HeaderMap::new()), Ok(IdempotencyKey(None)));
        for (text, told) in [("", "is empty"), ("é", "ASCII"), (&*"x".repeat(257), "256 bytes")] {
            let problem = key(text).expect_err(text);
            assert_eq!(problem.field.as_deref(), Some(NAME));
            assert!(problem.detail.contains(told), "{problem:?}");
        }
    }

    #[test]
    fn an_event_has_one_name() {
        let key = key("a").expect("a key");
        let name = |own: Option<&'static str>| key.name("purchaseId", own.map(Cow::Borrowed));
        assert_eq!(name(None), Ok(("a".into(), true)));
        assert_eq!(name(Some("a")), Ok(("a".into(), true)));
        assert!(name(Some("b")).expect_err("two names").detail.contains("purchaseId is \"b\""));
        let none = IdempotencyKey::default();
        assert_eq!(none.name("purchaseId", Some("b".into())), Ok(("b".into(), true)));
        assert!(!none.name("purchaseId", None).expect("a fresh one").1);
    }
}
