//! What a service answers instead of 202: problem+json (RFC 9457).

use std::borrow::Cow;
use std::fmt;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bps_events::Unreadable;
use bps_streams::broker::BrokerError;

/// A kind of problem: what its `type` and `title` say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The rule would dead-letter it.
    Unreadable,
    /// Its timestamp cannot be read, or is too far in the future.
    Timestamp,
    /// The log will never take it.
    Refused,
    /// There is nothing at this path.
    NotFound,
    /// The path takes another method.
    MethodNotAllowed,
    /// The body is longer than is read.
    TooLarge,
    /// The body is of a kind that is not read.
    ContentType,
    /// The broker is away: the same request may succeed later.
    Unavailable,
}

impl Kind {
    /// HTTP status, the end of `type`, and `title`.
    fn parts(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::Unreadable => (400, "unreadable", "the event cannot be read"),
            Self::Timestamp => (400, "timestamp", "the timestamp cannot be taken"),
            Self::Refused => (400, "refused", "the log does not take the event"),
            Self::NotFound => (404, "not-found", "there is nothing here"),
            Self::MethodNotAllowed => (405, "method", "the method is not for this path"),
            Self::TooLarge => (413, "too-large", "the body is too long"),
            Self::ContentType => (415, "content-type", "the content type is not read"),
            Self::Unavailable => (503, "unavailable", "the event could not be made durable"),
        }
    }
}

/// A problem, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its kind.
    pub kind: Kind,
    /// What is wrong with this one.
    pub detail: String,
    /// The field that is wrong, if it is a single one.
    pub field: Option<Cow<'static, str>>,
    /// The ids of the event, as fields of a JSON object: who sends it again must send these.
    pub ids: String,
}

impl Problem {
    /// A problem of no single field.
    pub fn new(kind: Kind, detail: impl fmt::Display) -> Problem {
        Problem { kind, detail: detail.to_string(), field: None, ids: String::new() }
    }

    /// A problem of one field.
    pub fn of(
        kind: Kind,
        field: impl Into<Cow<'static, str>>,
        detail: impl fmt::Display,
    ) -> Problem {
        Problem { field: Some(field.into()), ..Problem::new(kind, detail) }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.kind.parts().0
    }

    /// Appends the fields of the JSON object, without its braces.
    pub fn write(&self, into: &mut Vec<u8>) {
        let (status, slug, title) = self.kind.parts();
        let json = |text: &str| serde_json::Value::from(text).to_string();
        let detail = json(&self.detail);
        let head =
            format!(r#""type":"urn:bps:problem:{slug}","title":"{title}","status":{status}"#);
        into.extend_from_slice(head.as_bytes());
        into.extend_from_slice(format!(r#","detail":{detail}"#).as_bytes());
        if let Some(field) = &self.field {
            into.extend_from_slice(format!(r#","field":{}"#, json(field)).as_bytes());
        }
        if !self.ids.is_empty() {
            into.push(b',');
            into.extend_from_slice(self.ids.as_bytes());
        }
    }
}

impl From<Unreadable> for Problem {
    fn from(error: Unreadable) -> Problem {
        let field = error.field().map(|field| Cow::Owned(field.to_owned()));
        Problem { field, ..Problem::new(Kind::Unreadable, error) }
    }
}

impl From<BrokerError> for Problem {
    fn from(error: BrokerError) -> Problem {
        match &error {
            BrokerError::Refused { cause, .. } => {
                // Both brokers name it so; their clock may differ from ours.
                let stamp = cause.to_lowercase().contains("timestamp");
                let field = stamp.then_some(Cow::Borrowed("timestamp"));
                Problem { field, ..Problem::new(Kind::Refused, error) }
            }
            _ => Problem::new(Kind::Unavailable, error),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = vec![b'{'];
        self.write(&mut body);
        body.push(b'}');
        let status = StatusCode::from_u16(self.status()).unwrap_or(StatusCode::BAD_REQUEST);
        let kind: (HeaderName, HeaderValue) =
            (header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        let mut response = (status, [kind], body).into_response();
        if self.kind == Kind::Unavailable {
            let seconds = HeaderValue::from_static("1");
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}
