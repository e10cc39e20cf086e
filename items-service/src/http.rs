//! The paths of the service.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum_extra::TypedHeader;
use axum_extra::headers::{ETag, IfNoneMatch};
use bps_service::feed::Streams;
use bps_service::page::{self, LIMIT};
use bps_service::problem::{ProblemBody, ProblemKind};
use bps_service::{Inbox, Params, Problem, Segment};
use garde::Validate;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::stock::{Filter, Stock};

/// Where in its topic an answer is true: `TOPIC PARTITION@OFFSET`, the next record to come.
const POSITION: HeaderName = HeaderName::from_static("bps-position");

#[derive(Clone)]
pub(crate) struct Paths {
    pub(crate) inbox: Inbox,
    pub(crate) stock: Stock,
    pub(crate) streams: Streams,
}

impl Paths {
    pub(crate) fn router(self) -> OpenApiRouter {
        OpenApiRouter::new()
            .routes(routes!(restock, list))
            .routes(routes!(stream))
            .routes(routes!(find))
            .with_state(self)
    }
}

/// Units to be added.
#[derive(ToSchema)]
#[allow(dead_code)] // read by `RestockRequest`, word for word; this is what the documentation shows
#[schema(example = json!({"itemId": "1", "description": "one", "quantity": 10}))]
pub(crate) struct RestockRequest {
    /// Its id, 1 to 256 bytes; made where it is missing. `Idempotency-Key` may stand for it.
    #[schema(rename = "restockId", max_length = 256)]
    restock_id: Option<String>,
    /// The item, 1 to 256 bytes.
    #[schema(rename = "itemId", min_length = 1, max_length = 256)]
    item_id: String,
    /// What the item is; an empty one changes nothing.
    description: Option<String>,
    /// Units, 1 to 2^53; anything else is refused by the rule: INVALID_QUANTITY.
    quantity: u64,
    /// RFC 3339, or milliseconds since 1970; now where it is missing.
    timestamp: Option<String>,
}

/// What there is of an item.
#[derive(ToSchema)]
#[allow(dead_code)] // the JSON comes from the topic as it is
pub(crate) struct Item {
    /// The item.
    #[schema(rename = "itemId")]
    item_id: String,
    /// What it is.
    description: String,
    /// Units supplied so far.
    supplied: u64,
    /// Units booked so far.
    booked: u64,
    /// What is left.
    remaining: u64,
    /// Time of the record that last changed it (ms since 1970).
    #[schema(rename = "updatedAt")]
    updated_at: i64,
}

/// The answer to a restock.
#[derive(ToSchema)]
#[allow(dead_code)] // the JSON comes from the topic as it is
pub(crate) struct RestockAnswer {
    /// Its id.
    #[schema(rename = "restockId")]
    restock_id: String,
    /// The item.
    #[schema(rename = "itemId")]
    item_id: String,
    /// Units that were to be added.
    quantity: Option<i64>,
    /// SUCCESS.
    status: String,
    /// Null.
    reason: Option<String>,
    /// Units supplied after it.
    supplied: u64,
}

/// A restock that was added, and the row that includes it.
#[derive(ToSchema)]
#[allow(dead_code)] // written by the intake
pub(crate) struct Added {
    restock: RestockAnswer,
    item: Item,
}

/// Id of a restock that is durable and will be added.
#[derive(ToSchema)]
#[allow(dead_code)] // written by the intake
pub(crate) struct Accepted {
    /// Its id.
    #[schema(rename = "restockId")]
    restock_id: String,
}

/// Adds units to an item.
///
/// Answered once it is durable; with `Prefer: wait=N` (s, at most 60) once it is added, with the
/// row that includes it. The same id (or `Idempotency-Key`) adds once.
///
/// As `application/x-ndjson` there is one restock a line and one answer a line.
#[utoipa::path(
    post, path = "/items", tag = "items", security(("token" = ["restock"])),
    params(
        ("Prefer" = Option<String>, Header, description = "`wait=N` (s) or `respond-async`"),
        ("Idempotency-Key" = Option<String>, Header, description = "Stands for restockId"),
    ),
    request_body(content((RestockRequest = "application/json"), (String = "application/x-ndjson"))),
    responses(
        (status = 200, description = "JSON lines: an answer a line", content_type = "application/x-ndjson", body = String),
        (status = 201, description = "Added", body = Added,
            headers(("Location" = String), ("Idempotency-Replayed" = Option<String>))),
        (status = 202, description = "Durable, to be added; see Location", body = Accepted,
            headers(("Location" = String))),
        (status = 409, description = "OVERFLOW", content_type = "application/problem+json", body = ProblemBody),
        (status = 422, description = "INVALID_QUANTITY, TOO_OLD, or another body under the same id", content_type = "application/problem+json", body = ProblemBody),
    ),
)]
async fn restock(State(paths): State<Paths>, headers: HeaderMap, body: Body) -> Response {
    paths.inbox.take(&headers, body).await
}

/// An item.
///
/// `Bps-Position` says where in the topic of stock the answer is true.
#[utoipa::path(
    get, path = "/items/{itemId}", tag = "items",
    params(
        ("itemId" = String, Path, description = "The item (one named \"stream\" is found by the list only)"),
        ("If-None-Match" = Option<String>, Header, description = "`ETag` of an earlier answer"),
    ),
    responses(
        (status = 200, description = "Its row", body = Item,
            headers(("ETag" = String), ("Bps-Position" = String))),
        (status = 304, description = "It is as it was"),
        (status = 404, description = "It was never restocked, as far as is known here", content_type = "application/problem+json", body = ProblemBody),
    ),
)]
async fn find(
    State(paths): State<Paths>,
    Segment(item_id): Segment,
    known: Option<TypedHeader<IfNoneMatch>>,
) -> Result<Response, Problem> {
    let stock = &paths.stock;
    let place = stock.place(&item_id);
    let Some(row) = stock.find(&item_id)? else {
        let detail = format!("item {item_id:?} was never restocked, as far as is known here");
        return Err(Problem::new(ProblemKind::UnknownItem, detail));
    };
    // Each row has a place of its own, and all instances know it by that.
    let tag = format!("\"{}-{}\"", row.place.partition, row.place.offset);
    let is_known = tag
        .parse::<ETag>()
        .is_ok_and(|tag| known.is_some_and(|TypedHeader(known)| !known.precondition_passes(&tag)));
    let mut response = match is_known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => ([(header::CONTENT_TYPE, "application/json")], row.json).into_response(),
    };
    let headers = response.headers_mut();
    headers.extend(HeaderValue::from_str(&tag).ok().map(|tag| (header::ETAG, tag)));
    let position = place.map(|place| format!("{} {place}", stock.topic));
    let position = position.and_then(|text| HeaderValue::from_str(&text).ok());
    headers.extend(position.map(|value| (POSITION, value)));
    Ok(response)
}

#[derive(Deserialize, Validate, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Asked {
    /// Only items that begin so.
    #[serde(default)]
    #[garde(length(bytes, max = 256))]
    prefix: String,
    /// Only items of which something is left.
    #[serde(default)]
    #[garde(skip)]
    available: bool,
    /// Most items of this page.
    #[garde(inner(range(min = 1, max = page::LIMIT_MAX)))]
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// Where the page begins: `next` of the page before.
    #[garde(skip)]
    cursor: Option<String>,
}

/// A page of items.
#[derive(Serialize, ToSchema)]
pub(crate) struct Page {
    /// In the order of their ids; may be fewer than the limit, also where there are more.
    #[schema(value_type = Vec<Item>)]
    items: Vec<Box<RawValue>>,
    /// Cursor of the next page; null at the end.
    next: Option<String>,
}

/// Items, in the order of their ids.
#[utoipa::path(
    get, path = "/items", tag = "items", params(Asked),
    responses(
        (status = 200, description = "A page", body = Page),
    ),
)]
async fn list(
    State(paths): State<Paths>,
    Params(asked): Params<Asked>,
) -> Result<Json<Page>, Problem> {
    let from = asked.cursor.as_deref().map(|cursor| page::key(cursor, |key| !key.is_empty()));
    let from = from.transpose()?;
    let limit = asked.limit.unwrap_or(LIMIT);
    let filter = Filter { prefix: asked.prefix, only_available: asked.available };
    let read = move || paths.stock.page(&filter, from.as_deref(), limit);
    let (rows, next) = page::read(read).await??;
    let raw = rows.into_iter().map(|row| RawValue::from_string(row.json));
    let items =
        raw.collect::<Result<_, _>>().map_err(|e| Problem::new(ProblemKind::Internal, e))?;
    Ok(Json(Page { items, next: next.as_deref().map(page::cursor) }))
}

/// Changes of items as they come: server-sent events.
///
/// Each event is named `item` and holds the latest row of one; `Last-Event-ID` goes on with the
/// latest row of every item that has changed since.
#[utoipa::path(
    get, path = "/items/stream", tag = "items",
    params(("Last-Event-ID" = Option<String>, Header, description = "Of the last event read")),
    responses(
        (status = 200, description = "Events, until the caller goes", content_type = "text/event-stream", body = String),
    ),
)]
async fn stream(State(paths): State<Paths>, headers: HeaderMap) -> Result<Response, Problem> {
    paths.streams.open(Arc::new(paths.stock), &headers)
}
