//! What every request passes: an id, a span, its numbers, bounds on time and count, compression;
//! and a panic is an answer.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::error_handling::HandleErrorLayer;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, Method, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{BoxError, Router};
use tokio::sync::Semaphore;
use tower::ServiceBuilder;
use tower_http::ServiceBuilderExt as _;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate as _};
use tower_http::map_request_body::MapRequestBodyLayer;
use tower_http::request_id::MakeRequestUuid;
use tower_http::timeout::RequestBodyTimeoutLayer;
use tower_http::trace::{DefaultOnResponse, TraceLayer};
use tracing::Level;

use crate::access::{Access, guard};
use crate::metrics::{Call, Metrics};
use crate::preference::WAIT_MAX;
use crate::problem::{Problem, ProblemKind};
use crate::trace;

/// Names a request in answers and logs; a caller's own is kept.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Requests under way at a time; those that wait for decisions are among them.
const REQUESTS_MAX: usize = 20_000;
/// Longest time to the head of an answer: the longest wait, and some.
const ANSWER_MAX: Duration = WAIT_MAX.saturating_add(Duration::from_secs(30));
/// Longest silence in mid-body.
const BODY_SILENCE_MAX: Duration = Duration::from_secs(30);

/// The paths of this program, for who may, with all of it around them.
pub(crate) fn around(
    router: Router,
    access: Access,
    name: &'static str,
    metrics: Arc<Metrics>,
) -> Router {
    let router = router.fallback(missing).method_not_allowed_fallback(method);
    let router = router.layer(middleware::from_fn_with_state(access, guard));
    // Lines are small, and must not wait for a block to be full.
    let lines = NotForContentType::const_new("application/x-ndjson");
    let compression = CompressionLayer::new().compress_when(DefaultPredicate::new().and(lines));
    let trace = TraceLayer::new_for_http()
        .make_span_with(|request: &Request| trace::span(request))
        .on_response(DefaultOnResponse::new().level(Level::DEBUG))
        // 503 is an answer like others; what fails is logged where it does.
        .on_failure(());
    let permits = Arc::new(Semaphore::new(REQUESTS_MAX));
    let layers = ServiceBuilder::new()
        .set_request_id(REQUEST_ID, MakeRequestUuid)
        .layer(trace)
        .propagate_request_id(REQUEST_ID)
        .layer(middleware::from_fn_with_state((name, metrics), counted))
        .layer(middleware::from_fn_with_state(permits, bounded))
        .layer(compression)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(HandleErrorLayer::new(stopped))
        .timeout(ANSWER_MAX)
        .layer(RequestBodyTimeoutLayer::new(BODY_SILENCE_MAX))
        .layer(MapRequestBodyLayer::new(Body::new));
    router.layer(layers)
}

type Counting = (&'static str, Arc<Metrics>);

/// Counts a request by its route, of which there are few, not by its path.
async fn counted(
    State((service, metrics)): State<Counting>,
    request: Request,
    next: Next,
) -> Response {
    let under_way = metrics.request(service);
    let method = match *request.method() {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        _ => "other",
    };
    let matched = request.extensions().get::<MatchedPath>();
    let path = matched.map_or("other", MatchedPath::as_str).to_owned();
    let since = Instant::now();
    let response = next.run(request).await;
    let status = response.status().as_u16();
    metrics.answered(&Call { service, method, path, status }, since.elapsed());
    drop(under_way);
    response
}

/// The answer where there is no such path.
async fn missing(uri: Uri) -> Problem {
    let path = uri.path();
    Problem::new(ProblemKind::NotFound, format!("{path} is no path of this service: see /docs"))
}

/// The answer where the path takes another method.
async fn method() -> Problem {
    Problem::new(ProblemKind::MethodNotAllowed, "see /docs")
}

/// Refuses a request where too many are under way; what operators ask is always answered.
async fn bounded(
    State(permits): State<Arc<Semaphore>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if ["/livez", "/readyz", "/metrics"].contains(&request.uri().path()) {
        return Ok(next.run(request).await);
    }
    let busy =
        |_| Problem::new(ProblemKind::Busy, format!("{REQUESTS_MAX} requests are under way"));
    let _permit = permits.try_acquire().map_err(busy)?;
    Ok(next.run(request).await)
}

async fn stopped(_: BoxError) -> Problem {
    Problem::new(ProblemKind::Timeout, "the request was not complete in time")
}

/// The panic itself has been logged where it came up ([`crate::logging`]).
fn panicked(_: Box<dyn Any + Send>) -> Response {
    let detail = "the service met a fault of its own; its log tells which";
    Problem::new(ProblemKind::Internal, detail).into_response()
}

#[cfg(test)]
mod tests {
    use axum::http::{Request, StatusCode};
    use axum::routing::get;
    use tower::ServiceExt as _;

    use super::*;

    async fn ask(path: &str) -> Response {
        async fn panics() -> &'static str {
            panic!("on purpose")
        }
        let router = Router::new()
            .route("/panics", get(panics))
            .route("/long", get(|| async { "x".repeat(1_000) }));
        let request = Request::get(path).header("accept-encoding", "gzip").body(Body::empty());
        let access = Access { tokens: None, needed: Arc::default() };
        let router = around(router, access, "test", Arc::default());
        router.oneshot(request.expect("a request")).await.expect("an answer")
    }

    #[tokio::test]
    async fn a_panic_is_an_answer() {
        let answer = ask("/panics").await;
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        assert!(answer.headers().contains_key("x-request-id"));
    }

    #[tokio::test]
    async fn what_is_long_is_compressed() {
        assert_eq!(ask("/long").await.headers()["content-encoding"], "gzip");
    }
}
