//! What a service answers instead of 202: problem+json (RFC 9457).

use std::borrow::Cow;
use std::fmt;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bps_events::{Reason, Unreadable};
use bps_streams::broker::BrokerError;
use bps_streams::store::StoreError;
use utoipa::ToSchema;

/// A kind of problem: what its `type` and `title` say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
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
    /// Too much is under way: the same request may succeed later.
    Busy,
    /// A parameter or a header that cannot be taken.
    Parameter,
    /// Under this name something else was asked for before.
    AnotherBody,
    /// Decided: more was asked than remains.
    InsufficientStock,
    /// Decided: the item was never restocked.
    UnknownItem,
    /// Decided: not an integer from 1 to 2^53.
    InvalidQuantity,
    /// Decided: stamped earlier than the memory of decided ids reaches.
    TooOld,
    /// Decided: the sum would exceed 2^64 - 1.
    Overflow,
    /// Nothing of this is known here, or not yet.
    Unknown,
    /// The read side cannot be read.
    Internal,
    /// It should not be sent requests now.
    NotReady,
    /// No token, or one that is not known.
    Unauthorized,
    /// The token is not good for this.
    Forbidden,
    /// The request took too long.
    Timeout,
}

impl ProblemKind {
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
            Self::Busy => (503, "busy", "too much is under way"),
            Self::Parameter => (400, "parameter", "a parameter cannot be taken"),
            Self::AnotherBody => (422, "another-body", "the id stands for another request"),
            Self::InsufficientStock => (409, "insufficient-stock", "more than remains"),
            Self::UnknownItem => (404, "unknown-item", "the item was never restocked"),
            Self::InvalidQuantity => (422, "invalid-quantity", "not an integer from 1 to 2^53"),
            Self::TooOld => (422, "too-old", "stamped earlier than decided ids are remembered"),
            Self::Overflow => (409, "overflow", "the sum would exceed 2^64 - 1"),
            Self::Unknown => (404, "unknown", "it is not known here, or not yet"),
            Self::Internal => (500, "internal", "the service failed"),
            Self::Unauthorized => (401, "unauthorized", "a token is needed"),
            Self::Forbidden => (403, "forbidden", "the token is not good for this"),
            Self::Timeout => (408, "timeout", "the request took too long"),
            Self::NotReady => (503, "not-ready", "the service is not ready"),
        }
    }
}

/// A problem, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its kind.
    pub kind: ProblemKind,
    /// What is wrong with this one.
    pub detail: String,
    /// The field that is wrong, if it is a single one.
    pub field: Option<Cow<'static, str>>,
    /// What else there is to know, as members of a JSON object, without its braces: the ids of an
    /// event, so that it can be sent again; all numbers of a refusal.
    pub members: String,
}

impl Problem {
    /// A problem of no single field.
    pub fn new(kind: ProblemKind, detail: impl fmt::Display) -> Problem {
        Problem { kind, detail: detail.to_string(), field: None, members: String::new() }
    }

    /// A problem of one field.
    pub fn of(
        kind: ProblemKind,
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
        if !self.members.is_empty() {
            into.push(b',');
            into.extend_from_slice(self.members.as_bytes());
        }
    }
}

/// A problem as it is answered (RFC 9457), for the documentation.
#[derive(ToSchema)]
#[allow(dead_code)] // written by `Problem::write`
pub struct ProblemBody {
    /// `urn:bps:problem:` and the kind: stable.
    r#type: String,
    /// The kind in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What is wrong with this request.
    detail: String,
    /// The field, parameter or header that is wrong, if it is a single one.
    field: Option<String>,
}

impl From<Reason> for ProblemKind {
    fn from(reason: Reason) -> ProblemKind {
        match reason {
            Reason::InvalidQuantity => Self::InvalidQuantity,
            Reason::UnknownItem => Self::UnknownItem,
            Reason::InsufficientStock => Self::InsufficientStock,
            Reason::TooOld => Self::TooOld,
            Reason::Overflow => Self::Overflow,
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        tracing::error!(%error, "the read side cannot be read");
        // Where its files are is nobody's business outside.
        Problem::new(
            ProblemKind::Internal,
            "the rows cannot be read; the log of the service says why",
        )
    }
}

impl From<Unreadable> for Problem {
    fn from(error: Unreadable) -> Problem {
        let field = error.field().map(|field| Cow::Owned(field.to_owned()));
        Problem { field, ..Problem::new(ProblemKind::Unreadable, error) }
    }
}

impl From<BrokerError> for Problem {
    fn from(error: BrokerError) -> Problem {
        match &error {
            BrokerError::Refused { cause, .. } => {
                // Both brokers name it so; their clock may differ from ours.
                let stamp = cause.to_lowercase().contains("timestamp");
                let field = stamp.then_some(Cow::Borrowed("timestamp"));
                Problem { field, ..Problem::new(ProblemKind::Refused, error) }
            }
            _ => Problem::new(ProblemKind::Unavailable, error),
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
        if matches!(self.kind, ProblemKind::Unavailable | ProblemKind::Busy) {
            let seconds = HeaderValue::from_static("1");
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        if self.kind == ProblemKind::Unauthorized {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}
