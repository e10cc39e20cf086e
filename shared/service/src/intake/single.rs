//! One JSON object, one event.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use super::acks::Acks;
use super::decision::set_location;
use super::{Event, IdempotencyKey, Inbox};
use crate::preference::Preference;
use crate::problem::{Kind, Problem};

/// Longest body that is read (bytes); one between a value's bound and this is refused by 400.
const BODY_BYTES_MAX: usize = 1 << 20;

pub(super) async fn take(
    inbox: &Inbox,
    headers: &HeaderMap,
    preference: Preference,
    body: Body,
) -> Result<Response, Problem> {
    let deadline = Instant::now() + preference.wait;
    let body = to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| {
        let detail = format!("more than {BODY_BYTES_MAX} bytes: send application/x-ndjson");
        Problem::new(Kind::TooLarge, detail)
    })?;
    let key = IdempotencyKey::of(headers)?;
    let event = inbox.event(&body, &key, inbox.moment())?;
    let mut response = answer(inbox, &event, preference, deadline).await?;
    response.headers_mut().extend(preference.applied());
    Ok(response)
}

async fn answer(
    inbox: &Inbox,
    event: &Event,
    preference: Preference,
    deadline: Instant,
) -> Result<Response, Problem> {
    let location = inbox.intake.location(event);
    if preference.wait.is_zero() {
        append(inbox, event).await?;
        return Ok(accepted(event, location));
    }
    // Registered before the event is sent, and looked up after that: no wake-up is lost.
    let waiting = inbox.register(event)?;
    if event.is_named
        && let Some(decision) = inbox.intake.decision(event)?
    {
        return Ok(decision.response(location, true));
    }
    append(inbox, event).await?;
    match inbox.decided(event, &waiting, deadline).await? {
        Some(decision) => Ok(decision.response(location, false)),
        None => Ok(accepted(event, location)),
    }
}

/// Appends the event, and waits until it is durable.
async fn append(inbox: &Inbox, event: &Event) -> Result<(), Problem> {
    let named = |problem: Problem| Problem { members: event.ids.clone(), ..problem };
    let partitions = inbox.partitions().await.map_err(named)?;
    let acks = Arc::<Acks>::default();
    let failure = match inbox.append(event, partitions, acks.ack(0)) {
        Ok(()) => acks.settled().await.pop().map(|(_, error)| error),
        Err(error) => Some(error),
    };
    inbox.note(failure.as_ref());
    failure.map_or(Ok(()), |error| Err(named(error.into())))
}

/// It is durable, and will be decided.
fn accepted(event: &Event, location: Option<Uri>) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    let body = format!("{{{}}}", event.ids);
    let mut response = (StatusCode::ACCEPTED, kind, body).into_response();
    set_location(response.headers_mut(), location);
    response
}
