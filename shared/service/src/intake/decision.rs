//! What was decided of an event, and the wait for it.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use super::{Event, Inbox};
use crate::problem::{Problem, ProblemKind};
use crate::waiters::Waiting;

/// Says that the answer is to an earlier request.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The decision on an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Done as asked: what there is to know of it, a JSON object.
    Granted(String),
    /// Not done, or not what was asked for under this name.
    Refused(Problem),
}

impl Decision {
    /// The answer to a single request.
    pub(super) fn response(self, location: Option<Uri>, is_replayed: bool) -> Response {
        let is_other = matches!(&self, Self::Refused(p) if p.kind == ProblemKind::AnotherBody);
        let mut response = match self {
            Self::Granted(json) => {
                let kind = [(header::CONTENT_TYPE, "application/json")];
                (StatusCode::CREATED, kind, json).into_response()
            }
            Self::Refused(problem) => problem.into_response(),
        };
        let headers = response.headers_mut();
        set_location(headers, location);
        if is_replayed && !is_other {
            headers.insert(REPLAYED, HeaderValue::from_static("true"));
        }
        response
    }
}

pub(super) fn set_location(headers: &mut HeaderMap, location: Option<Uri>) {
    let value = location.map(|location| HeaderValue::try_from(location.to_string()));
    if let Some(Ok(value)) = value {
        headers.insert(header::LOCATION, value);
    }
}

impl Inbox {
    /// Whoever waits for this event, from now on.
    pub(super) fn register(&self, event: &Event) -> Result<Waiting, Problem> {
        self.intake.waiters().register(self.intake.subject(event))
    }

    /// Waits for the decision; `None` at the deadline, and when the service ends.
    pub(super) async fn decided(
        &self,
        event: &Event,
        waiting: &Waiting,
        deadline: Instant,
    ) -> Result<Option<Decision>, Problem> {
        waiting.until(deadline, || self.intake.decision(event)).await
    }
}
