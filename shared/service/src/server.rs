//! Serves HTTP until the end is asked for, and lets what is under way finish.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;

use crate::signals::Shutdown;

/// How long requests that are under way may take after the end was asked for.
const DRAIN: Duration = Duration::from_secs(4);

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
    let ended = {
        let shutdown = shutdown.clone();
        async move { shutdown.wait().await }
    };
    // Answers are small and awaited: they must not wait for more.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    let server = axum::serve(listener, router).with_graceful_shutdown(ended);
    tokio::select! {
        served = server => served,
        () = async { shutdown.wait().await; tokio::time::sleep(DRAIN).await } => {
            tracing::warn!("requests were still under way at the end");
            Ok(())
        }
    }
}
