//! What the programs of this workspace share, so that each main is short: settings, logs,
//! signals, exit codes, HTTP, and the intake of events over it.
//!
//! It knows no rule, and nothing of items and purchases but the names of their topics. Reading
//! order: [`settings`] (file, environment, flags), [`exit`] (codes, the last line), [`signals`]
//! (the end), [`problem`] (what is answered instead), [`intake`] (events over HTTP), [`waiters`]
//! and [`preference`] (the wait for decisions), [`feed`] and [`page`] (what is read), [`access`]
//! (who may), `layers` (what every request passes), [`health`] and [`metrics`] (what operators
//! ask), [`logging`] and `trace` (what they are told), [`service`] (all of it as a program),
//! [`applications`] (a program that runs topologies).

pub mod access;
pub mod applications;
pub mod broker;
mod docs;
pub mod exit;
pub mod feed;
pub mod health;
pub mod intake;
mod layers;
pub mod logging;
pub mod metrics;
pub mod page;
mod params;
pub mod path;
pub mod preference;
pub mod problem;
pub mod server;
pub mod service;
pub mod settings;
pub mod signals;
mod trace;
pub mod waiters;

pub use intake::{Event, Inbox, InboxConfig, Intake, Moment};
pub use params::{Params, Segment};
pub use problem::Problem;
pub use service::{Service, ServiceConfig};
pub use signals::Shutdown;
pub use waiters::Waiters;
