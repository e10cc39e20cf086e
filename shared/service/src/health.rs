//! What operators ask of every program: whether it lives, whether it should be sent requests, and
//! its numbers. A program without paths of its own answers them by a [`Probe`].

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use tokio::runtime::Runtime;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::Access;
use crate::metrics::{self, Metrics};
use crate::problem::{Problem, ProblemBody, ProblemKind};
use crate::settings::ListenSettings;
use crate::{Shutdown, exit, layers, server};

/// Says why a program should not be sent requests; `None`: it should.
pub type Trouble = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// `/livez`, `/readyz` and `/metrics`.
pub(crate) fn paths(trouble: Trouble, metrics: Arc<Metrics>) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(livez))
        .routes(routes!(readyz))
        .with_state(trouble)
        .merge(metrics::paths(metrics))
}

/// A program that is well.
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
async fn readyz(State(trouble): State<Trouble>) -> Result<Json<Well>, Problem> {
    match trouble() {
        None => Ok(Json(Well { status: "ready" })),
        Some(trouble) => Err(Problem::new(ProblemKind::NotReady, trouble)),
    }
}

/// Answers what operators ask, on a thread of its own, until it is dropped.
pub struct Probe(Option<Runtime>);

impl Probe {
    /// Listens on `address`, and says so.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub fn start(
        name: &'static str,
        address: SocketAddr,
        settings: &ListenSettings,
        trouble: Trouble,
        metrics: Arc<Metrics>,
        shutdown: &Shutdown,
    ) -> io::Result<Probe> {
        let runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = { runtime }.worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(server::listen(address))?;
        exit::say(format_args!("{name} http://{}", listener.local_addr()?));
        let access = Access { tokens: settings.known.clone(), needed: Arc::default() };
        let router = paths(trouble, metrics.clone()).into();
        let router = layers::around(router, access, name, metrics);
        runtime.spawn(server::serve(listener, router, shutdown.clone()));
        Ok(Probe(Some(runtime)))
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
