//! Takes purchases over HTTP and appends them to `purchase-created`.
//!
//! It decides nothing: a bad quantity is passed on, for the rule to refuse. How requests are
//! read, bounded and answered is [`bps_service::intake`]'s; this crate says what a purchase is.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use bps_events::{PurchaseWish, Topics};
use bps_service::{Event, Inbox, InboxConfig, Intake, Moment, Problem, Shutdown, intake, server};
use bps_streams::broker::{Broker, Result};
use tokio::net::TcpListener;

/// Where the service listens, unless set.
pub const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7402);

/// `POST /purchases`: purchases.
#[derive(Clone, Copy, Debug)]
pub struct Purchases;

impl Intake for Purchases {
    fn name(&self) -> &'static str {
        "purchase-service"
    }

    fn path(&self) -> &'static str {
        "/purchases"
    }

    fn topic<'t>(&self, topics: &'t Topics) -> &'t str {
        &topics.purchase_created
    }

    fn event(&self, request: &[u8], at: Moment) -> Result<Event, Problem> {
        let wish = PurchaseWish::read(request)?;
        Ok(Event {
            timestamp: intake::stamp::read(wish.timestamp, at)?,
            key: wish.item_id.as_bytes().to_vec(),
            value: wish.write(),
            ids: intake::ids(&[("purchaseId", &wish.purchase_id), ("itemId", &wish.item_id)]),
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
    Ok(Inbox::start(broker, Arc::new(Purchases), config, shutdown)?.router())
}

/// Serves them until `shutdown`.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, router: Router, shutdown: Shutdown) -> io::Result<()> {
    server::serve(listener, router, shutdown).await
}
