//! One JSON object, one event.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Inbox;
use super::acks::Acks;
use crate::problem::{Kind, Problem};

/// Longest body that is read (bytes); one between a value's bound and this is refused by 400.
const BODY_BYTES_MAX: usize = 1 << 20;

pub(super) async fn take(inbox: &Inbox, body: Body) -> Result<Response, Problem> {
    let body = to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| {
        let detail = format!("more than {BODY_BYTES_MAX} bytes: send application/x-ndjson");
        Problem::new(Kind::TooLarge, detail)
    })?;
    let event = inbox.event(&body, inbox.moment())?;
    let with_ids = |problem: Problem| Problem { ids: event.ids.clone(), ..problem };
    let partitions = inbox.partitions().await.map_err(with_ids)?;
    let acks = Arc::<Acks>::default();
    let failure = match inbox.append(&event, partitions, acks.ack(0)) {
        Ok(()) => acks.settled().await.pop().map(|(_, error)| error),
        Err(error) => Some(error),
    };
    inbox.note(failure.as_ref());
    if let Some(error) = failure {
        return Err(with_ids(error.into()));
    }
    let kind = [(header::CONTENT_TYPE, "application/json")];
    Ok((StatusCode::ACCEPTED, kind, format!("{{{}}}", event.ids)).into_response())
}
