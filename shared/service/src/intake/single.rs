//! One JSON object, one event.

use std::error::Error as _;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use bps_events::fields::VALUE_BYTES_MAX;
use http_body_util::LengthLimitError;

use super::acks::Acks;
use super::decision::set_location;
use super::{Event, IdempotencyKey, Inbox};
use crate::preference::Preference;
use crate::problem::{Problem, ProblemKind};
use crate::trace;

/// Longest body that is read (bytes).
const BODY_BYTES_MAX: usize = VALUE_BYTES_MAX;

pub(super) async fn take(
    inbox: &Inbox,
    headers: &HeaderMap,
    preference: Preference,
    body: Body,
) -> Result<Response, Problem> {
    let deadline = Instant::now() + preference.wait;
    let body = to_bytes(body, BODY_BYTES_MAX).await.map_err(|error| unread(&error))?;
    let key = IdempotencyKey::of(headers)?;
    let event = inbox.event(&body, &key, inbox.moment())?;
    let trace = trace::parent(headers);
    let wait = Wait { preference, deadline };
    let mut response = answer(inbox, &event, trace.as_deref(), wait).await?;
    response.headers_mut().extend(preference.applied());
    Ok(response)
}

/// Why a body could not be read.
fn unread(error: &axum::Error) -> Problem {
    match error.source().is_some_and(|source| source.is::<LengthLimitError>()) {
        true => {
            let detail = format!(
                "more than {BODY_BYTES_MAX} bytes; many at once go as application/x-ndjson"
            );
            Problem::new(ProblemKind::TooLarge, detail)
        }
        false => Problem::new(ProblemKind::Timeout, "the body did not come in time"),
    }
}

/// How long the caller is kept.
struct Wait {
    preference: Preference,
    deadline: Instant,
}

async fn answer(
    inbox: &Inbox,
    event: &Event,
    trace: Option<&str>,
    wait: Wait,
) -> Result<Response, Problem> {
    let location = inbox.intake.location(event);
    if wait.preference.wait.is_zero() {
        append(inbox, event, trace).await?;
        return Ok(accepted(event, location));
    }
    // Registered before the event is sent, and looked up after that: no wake-up is lost.
    let waiting = inbox.register(event)?;
    if event.is_named
        && let Some(decision) = inbox.intake.decision(event)?
    {
        return Ok(decision.response(location, true));
    }
    append(inbox, event, trace).await?;
    match inbox.decided(event, &waiting, wait.deadline).await? {
        Some(decision) => Ok(decision.response(location, false)),
        None => Ok(accepted(event, location)),
    }
}

/// Appends the event, and waits until it is durable.
async fn append(inbox: &Inbox, event: &Event, trace: Option<&str>) -> Result<(), Problem> {
    let named = |problem: Problem| Problem { members: event.ids.clone(), ..problem };
    let partitions = inbox.partitions().await.map_err(named)?;
    let acks = Arc::<Acks>::default();
    if let Err(error) = inbox.append(event, trace, partitions, acks.ack(0)) {
        acks.refuse(0, error);
    }
    // A caller that goes away does not end this: what came of the event is counted.
    let noted = inbox.clone();
    let settle = async move {
        let failures = acks.settled().await;
        noted.note(1, &failures);
        failures
    };
    let settled = tokio::spawn(settle).await;
    let mut failures =
        settled.map_err(|error| named(Problem::new(ProblemKind::Internal, error)))?;
    failures.pop().map_or(Ok(()), |(_, error)| Err(named(error.into())))
}

/// It is durable, and will be decided.
fn accepted(event: &Event, location: Option<Uri>) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    let body = format!("{{{}}}", event.ids);
    let mut response = (StatusCode::ACCEPTED, kind, body).into_response();
    set_location(response.headers_mut(), location);
    response
}
