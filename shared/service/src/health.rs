//! Whether a service lives, and whether it should be sent requests.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use bps_streams::global::GlobalView;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::intake::Inbox;
use crate::problem::{Kind, Problem, ProblemBody};

/// A read side further behind than this is not ready (offsets).
const LAG_MAX: u64 = 10_000;

#[derive(Clone)]
struct Health {
    inbox: Inbox,
    view: Arc<GlobalView>,
}

/// `/livez` and `/readyz`.
pub(crate) fn paths(inbox: Inbox, view: Arc<GlobalView>) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(livez))
        .routes(routes!(readyz))
        .with_state(Health { inbox, view })
}

/// A service that is well.
#[derive(Serialize, ToSchema)]
struct Well {
    /// "up" or "ready".
    status: &'static str,
}

/// Whether the process answers.
#[utoipa::path(
    get, path = "/livez", tag = "health",
    responses((status = 200, description = "It does", body = Well)),
)]
async fn livez() -> Json<Well> {
    Json(Well { status: "up" })
}

/// Whether the service should be sent requests.
///
/// It should not while its log is away, or while its rows are restored or far behind.
#[utoipa::path(
    get, path = "/readyz", tag = "health",
    responses(
        (status = 200, description = "It should", body = Well),
        (status = 503, description = "Not now, and why", content_type = "application/problem+json", body = ProblemBody),
    ),
)]
async fn readyz(State(health): State<Health>) -> Result<Json<Well>, Problem> {
    match health.trouble() {
        None => Ok(Json(Well { status: "ready" })),
        Some(trouble) => Err(Problem::new(Kind::NotReady, trouble)),
    }
}

impl Health {
    fn trouble(&self) -> Option<String> {
        if self.inbox.known_partitions() == 0 {
            return Some(format!("topic {} is not known yet", self.inbox.topic()));
        }
        if self.inbox.is_away() {
            return Some("the log takes no events".to_owned());
        }
        let status = self.view.status();
        if let Some(trouble) = status.trouble {
            return Some(format!("the read side waits: {trouble}"));
        }
        if !status.is_caught_up {
            return Some("the rows of the read side are being restored".to_owned());
        }
        let lag = status.lag;
        (lag > LAG_MAX).then(|| format!("the read side is {lag} records behind"))
    }
}
