//! The paths of the service.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use bps_service::feed::Streams;
use bps_service::page::{self, LIMIT};
use bps_service::problem::{ProblemBody, ProblemKind};
use bps_service::{Inbox, Params, Problem, Segment, Waiters};
use garde::Validate;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::{Duration, Instant};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::ledger::{Found, Ledger, Results};

#[derive(Clone)]
pub(crate) struct Paths {
    pub(crate) inbox: Inbox,
    pub(crate) ledger: Ledger,
    pub(crate) waiters: Arc<Waiters>,
    pub(crate) streams: Streams,
}

impl Paths {
    pub(crate) fn router(self) -> OpenApiRouter {
        OpenApiRouter::new()
            .routes(routes!(buy, of_buyer))
            .routes(routes!(stream))
            .routes(routes!(find))
            .with_state(self)
    }
}

/// A request to take units.
#[derive(ToSchema)]
#[allow(dead_code)] // read by `PurchaseRequest`, word for word; this is what the documentation shows
#[schema(example = json!({"itemId": "1", "quantity": 2, "purchasedBy": "ada"}))]
pub(crate) struct PurchaseRequest {
    /// Its id, 1 to 256 bytes; made where it is missing. `Idempotency-Key` may stand for it.
    #[schema(rename = "purchaseId", max_length = 256)]
    purchase_id: Option<String>,
    /// The item, 1 to 256 bytes.
    #[schema(rename = "itemId", min_length = 1, max_length = 256)]
    item_id: String,
    /// Units, 1 to 2^53; anything else is refused by the rule: INVALID_QUANTITY.
    quantity: u64,
    /// Who asks.
    #[schema(rename = "purchasedBy")]
    purchased_by: Option<String>,
    /// RFC 3339, or milliseconds since 1970; now where it is missing.
    timestamp: Option<String>,
}

/// The decision on a purchase.
#[derive(ToSchema)]
#[allow(dead_code)] // the JSON comes from the topic as it is
pub(crate) struct PurchaseResult {
    /// Its id.
    #[schema(rename = "purchaseId")]
    purchase_id: String,
    /// The item.
    #[schema(rename = "itemId")]
    item_id: String,
    /// Units asked for; null where that was no integer.
    quantity: Option<i64>,
    /// Who asked.
    #[schema(rename = "purchasedBy")]
    purchased_by: String,
    /// SUCCESS or FAILED.
    status: String,
    /// Why it FAILED: INSUFFICIENT_STOCK, UNKNOWN_ITEM, INVALID_QUANTITY or TOO_OLD.
    reason: Option<String>,
    /// Units supplied so far.
    #[schema(rename = "itemQuantity")]
    item_quantity: u64,
    /// Units booked before this purchase.
    #[schema(rename = "alreadyBooked")]
    already_booked: u64,
    /// Units left after the decision.
    remaining: u64,
    /// For people.
    #[schema(rename = "resultMessage")]
    result_message: String,
    /// The purchase's own time (ms since 1970).
    #[schema(rename = "decidedAt")]
    decided_at: i64,
}

/// Ids of a purchase that is durable and will be decided.
#[derive(ToSchema)]
#[allow(dead_code)] // written by the intake
pub(crate) struct Accepted {
    /// Its id.
    #[schema(rename = "purchaseId")]
    purchase_id: String,
    /// The item.
    #[schema(rename = "itemId")]
    item_id: String,
}

/// Buys: waits for the decision.
///
/// It waits for 10 s, or as long as `Prefer: wait=N` says (at most 60); with
/// `Prefer: respond-async` not at all. The same id (or `Idempotency-Key`) and the same body get
/// the same answer again, with `Idempotency-Replayed: true`; it is decided once. A purchase is
/// its item and its id: the same id with another item is another purchase.
///
/// As `application/x-ndjson` there is one request a line and one answer a line; a line waits for its
/// decision only with `Prefer: wait=N`.
#[utoipa::path(
    post, path = "/purchases", tag = "purchases", security(("token" = ["purchase"])),
    params(
        ("Prefer" = Option<String>, Header, description = "`wait=N` (s) or `respond-async`"),
        ("Idempotency-Key" = Option<String>, Header, description = "Stands for purchaseId"),
    ),
    request_body(content((PurchaseRequest = "application/json"), (String = "application/x-ndjson"))),
    responses(
        (status = 200, description = "JSON lines: an answer a line", content_type = "application/x-ndjson", body = String),
        (status = 201, description = "Granted", body = PurchaseResult,
            headers(("Location" = String), ("Idempotency-Replayed" = Option<String>))),
        (status = 202, description = "Durable, not decided yet; see Location", body = Accepted,
            headers(("Location" = String))),
        (status = 404, description = "UNKNOWN_ITEM", content_type = "application/problem+json", body = ProblemBody),
        (status = 409, description = "INSUFFICIENT_STOCK", content_type = "application/problem+json", body = ProblemBody),
        (status = 422, description = "INVALID_QUANTITY, TOO_OLD, or another body under the same id", content_type = "application/problem+json", body = ProblemBody),
    ),
)]
async fn buy(State(paths): State<Paths>, headers: HeaderMap, body: Body) -> Response {
    paths.inbox.take(&headers, body).await
}

#[derive(Deserialize, Validate, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct One {
    /// The item; without it, all purchases with this id are answered.
    #[garde(inner(length(bytes, min = 1, max = 256)))]
    item_id: Option<String>,
    /// How long to wait for the decision (s).
    #[garde(inner(range(max = 60)))]
    #[param(maximum = 60)]
    wait: Option<u64>,
}

/// The purchases with one id.
#[derive(Serialize, ToSchema)]
pub(crate) struct Same {
    /// One for each item.
    #[schema(value_type = Vec<PurchaseResult>)]
    purchases: Vec<Box<RawValue>>,
}

/// The decision, or all of one id.
#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code)] // what the documentation shows
pub(crate) enum Decided {
    One(PurchaseResult),
    All(Same),
}

/// The decision on a purchase.
///
/// With `itemId` its result, without it all results with this id.
#[utoipa::path(
    get, path = "/purchases/{purchaseId}", tag = "purchases",
    params(("purchaseId" = String, Path, description = "Its id"), One),
    responses(
        (status = 200, description = "Decided; without itemId, all with this id", body = Decided),
        (status = 404, description = "Not known here, or not decided yet", content_type = "application/problem+json", body = ProblemBody),
    ),
)]
async fn find(
    State(paths): State<Paths>,
    Segment(id): Segment,
    Params(one): Params<One>,
) -> Result<Response, Problem> {
    let wait = Duration::from_secs(one.wait.unwrap_or(0));
    let look = || -> Result<Option<Vec<Found>>, Problem> {
        let found = match &one.item_id {
            Some(item) => paths.ledger.find(&id, item)?.into_iter().collect(),
            None => paths.ledger.find_all(&id)?,
        };
        Ok(Some(found).filter(|found: &Vec<Found>| !found.is_empty()))
    };
    let found = match wait.is_zero() {
        true => look()?,
        false => {
            let waiting = paths.waiters.register(id.clone().into_bytes())?;
            waiting.until(Instant::now() + wait, look).await?
        }
    };
    let found = found.unwrap_or_default();
    let mut purchases = raw(found)?;
    if purchases.is_empty() {
        let detail = format!("no result of purchase {id:?} is known here; try wait=N");
        return Err(Problem::new(ProblemKind::Unknown, detail));
    }
    Ok(match one.item_id {
        Some(_) => Json(purchases.swap_remove(0)).into_response(),
        None => Json(Same { purchases }).into_response(),
    })
}

#[derive(Deserialize, Validate, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct OfBuyer {
    /// The buyer, word for word.
    #[garde(skip)]
    purchased_by: String,
    /// Most purchases of this page.
    #[garde(inner(range(min = 1, max = page::LIMIT_MAX)))]
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// Where the page begins: `next` of the page before.
    #[garde(skip)]
    cursor: Option<String>,
}

/// A page of a buyer's purchases.
#[derive(Serialize, ToSchema)]
pub(crate) struct Page {
    /// Newest first, by timestamp; those of one millisecond by partition.
    #[schema(value_type = Vec<PurchaseResult>)]
    purchases: Vec<Box<RawValue>>,
    /// Cursor of the next page; null at the end.
    next: Option<String>,
}

/// A buyer's purchases, newest first.
#[utoipa::path(
    get, path = "/purchases", tag = "purchases", params(OfBuyer),
    responses(
        (status = 200, description = "A page", body = Page),
    ),
)]
async fn of_buyer(
    State(paths): State<Paths>,
    Params(asked): Params<OfBuyer>,
) -> Result<Json<Page>, Problem> {
    let from = asked.cursor.as_deref().map(|cursor| page::key(cursor, Ledger::is_part));
    let from = from.transpose()?;
    let limit = asked.limit.unwrap_or(LIMIT);
    let read = move || paths.ledger.of_buyer(&asked.purchased_by, from.as_deref(), limit);
    let (found, next) = page::read(read).await??;
    Ok(Json(Page { purchases: raw(found)?, next: next.as_deref().map(page::cursor) }))
}

#[derive(Deserialize, Validate, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// Only this buyer's.
    #[garde(skip)]
    purchased_by: Option<String>,
}

/// Decisions as they come: server-sent events.
///
/// Each event is named `result` and holds one result; `Last-Event-ID` goes on where an earlier
/// stream ended.
#[utoipa::path(
    get, path = "/purchases/stream", tag = "purchases",
    params(Filter, ("Last-Event-ID" = Option<String>, Header, description = "Of the last event read")),
    responses(
        (status = 200, description = "Events, until the caller goes", content_type = "text/event-stream", body = String),
    ),
)]
async fn stream(
    State(paths): State<Paths>,
    Params(filter): Params<Filter>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let results = Results { ledger: paths.ledger, buyer: filter.purchased_by };
    paths.streams.open(Arc::new(results), &headers)
}

/// The JSON of the topic, as it is.
fn raw(found: Vec<Found>) -> Result<Vec<Box<RawValue>>, Problem> {
    let raw = found.into_iter().map(|found| RawValue::from_string(found.json));
    raw.collect::<Result<_, _>>().map_err(|error| Problem::new(ProblemKind::Internal, error))
}
