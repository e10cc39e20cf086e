//! Takes restocks over HTTP and appends them to `items-added`.
//!
//! It decides nothing: a bad quantity is passed on, for the rule to refuse. How requests are
//! read, bounded and answered is [`bps_service::intake`]'s; this crate says what a restock is.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use bps_events::{RestockWish, Topics};
use bps_service::{Event, Inbox, InboxConfig, Intake, Moment, Problem, Shutdown, intake, server};
use bps_streams::broker::{Broker, Result};
use tokio::net::TcpListener;

/// Where the service listens, unless set.
pub const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7401);

/// `POST /items`: restocks.
#[derive(Clone, Copy, Debug)]
pub struct Restocks;

impl Intake for Restocks {
    fn name(&self) -> &'static str {
        "items-service"
    }

    fn path(&self) -> &'static str {
        "/items"
    }

    fn topic<'t>(&self, topics: &'t Topics) -> &'t str {
        &topics.items_added
    }

    fn event(&self, request: &[u8], at: Moment) -> Result<Event, Problem> {
        let wish = RestockWish::read(request)?;
        Ok(Event {
            timestamp: intake::stamp::read(wish.timestamp, at)?,
            key: wish.item_id.as_bytes().to_vec(),
            value: wish.write(),
            ids: intake::ids(&[("restockId", &wish.restock_id)]),
        })
    }
}

/// The paths of the service, on this broker.
///
/// # Errors
/// When no writer can be made.
pub fn router(
    broker: Arc<dyn Broker>,
    config: &InboxConfig,
    shutdown: &Shutdown,
) -> Result<Router> {
    Ok(Inbox::start(broker, Arc::new(Restocks), config, shutdown)?.router())
}

/// Serves them until `shutdown`.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, router: Router, shutdown: Shutdown) -> io::Result<()> {
    server::serve(listener, router, shutdown).await
}
