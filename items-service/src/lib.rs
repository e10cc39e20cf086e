//! Takes restocks over HTTP, and shows what there is of each item.
//!
//! It decides nothing: a restock is appended to `items-added`, a bad quantity too, for the rule to
//! refuse. Reading order: `intake` (a request, an event, its answer), `stock` (the read side: a
//! global table of the rows), `http` (the paths).

mod http;
mod intake;
mod stock;

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
use crate::intake::Restocks;
use crate::stock::{Keeper, Stock};

/// What it is, in its command line and its documentation.
pub const ABOUT: About = About {
    name: "items-service",
    title: "Items",
    about: "Takes restocks and shows what there is: POST /items",
    listen: SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7401),
};

/// The rows of the read side are made in this way; another number makes them anew.
const ROWS: &str = "items-1";

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
    let restock_finished = topics.restock_finished.clone();
    let read = [topics.stock.clone(), restock_finished.clone()];
    let keeper = Keeper { restock_finished, waiters: waiters.clone(), moved: sender };
    let table = GlobalTable::start(broker.clone(), Arc::new(keeper), config.table(ROWS, &read))?;
    let stock = Stock { view: table.view(), topic: Arc::from(&*topics.stock), moved };
    let intake = Restocks { stock: stock.clone(), waiters: waiters.clone() };
    let inbox = Inbox::start(broker, Arc::new(intake), &config.inbox, shutdown)?;
    let paths = Paths { inbox: inbox.clone(), stock, streams: Streams::new(shutdown) };
    let parts = Parts { paths: paths.router(), inboxes: vec![inbox], waiters, table };
    Ok(Service::new(&ABOUT, parts, config))
}
