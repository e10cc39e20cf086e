//! Takes purchases over HTTP, and tells what was decided of them.
//!
//! It decides nothing: a request is appended to `purchase-created`, and the answer waits for the
//! result in `purchase-finished`. Reading order: `intake` (a request, an event, its decision),
//! `ledger` (the read side: a global table of all results), `http` (the paths).

mod http;
mod intake;
mod ledger;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bps_service::feed::Streams;
use bps_service::service::{About, Parts, Service, ServiceConfig};
use bps_service::{Inbox, Shutdown, Waiters};
use bps_streams::Result;
use bps_streams::broker::Broker;
use bps_streams::global::GlobalTable;
use tokio::sync::watch;

use crate::http::Paths;
use crate::intake::Purchases;
use crate::ledger::{Keeper, Ledger};

/// What it is, in its command line and its documentation.
pub const ABOUT: About = About {
    name: "purchase-service",
    title: "Purchases",
    about: "Takes purchases and tells what was decided: POST /purchases",
    listen: SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7402),
};

/// The rows of the read side are made in this way; another number makes them anew.
const ROWS: &str = "purchases-1";

/// Starts the service on this log.
///
/// # Errors
/// When its folder cannot be taken, or no writer can be made.
pub fn start(
    broker: Arc<dyn Broker>,
    config: &ServiceConfig,
    shutdown: &Shutdown,
) -> Result<Service> {
    let topics = &config.inbox.topics;
    let (sender, moved) = watch::channel(0);
    let waiters = Waiters::new(config.http.waiters_max, shutdown);
    let keeper = Arc::new(Keeper { waiters: waiters.clone(), moved: sender });
    let read = [topics.purchase_finished.clone()];
    let table = GlobalTable::start(broker.clone(), keeper, config.table(ROWS, &read))?;
    let topic = Arc::from(&*topics.purchase_finished);
    let ledger = Ledger { view: table.view(), topic, moved };
    let intake = Purchases { ledger: ledger.clone(), waiters: waiters.clone() };
    let inbox = Inbox::start(broker, Arc::new(intake), &config.inbox, shutdown)?;
    let streams = Streams::new(shutdown);
    let paths = Paths { inbox: inbox.clone(), ledger, waiters: waiters.clone(), streams };
    let parts = Parts { paths: paths.router(), inboxes: vec![inbox], waiters, table };
    Ok(Service::new(&ABOUT, parts, config))
}
