//! Serves HTTP until the end is asked for, and lets what is under way finish.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use axum_server::accept::NoDelayAcceptor;
use hyper_util::rt::TokioTimer;
use tokio::net::TcpListener;

use crate::signals::Shutdown;

/// How long requests that are under way may take after the end was asked for.
const DRAIN: Duration = Duration::from_secs(4);
/// How long a caller may take to send the head of a request.
const HEAD_MAX: Duration = Duration::from_secs(30);

/// Listens on `address`; port 0 is any free one.
///
/// # Errors
/// When the address cannot be had; it is named.
pub async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{address}: {error}"));
    TcpListener::bind(address).await.map_err(named)
}

/// Serves until `shutdown`, then finishes what is under way, for a bounded time.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, router: Router, shutdown: Shutdown) -> io::Result<()> {
    let handle = Handle::new();
    // Answers are small and awaited: they must not wait for more.
    let acceptor = NoDelayAcceptor::new();
    let mut server = axum_server::from_tcp(listener.into_std()?)?
        .handle(handle.clone())
        .acceptor(acceptor)
        .http1_only();
    server.http_builder().http1().timer(TokioTimer::new()).header_read_timeout(HEAD_MAX);
    let end = async {
        shutdown.wait().await;
        handle.graceful_shutdown(Some(DRAIN));
        std::future::pending().await
    };
    tokio::select! {
        served = server.serve(router.into_make_service()) => served,
        () = end => Ok(()),
    }
}
