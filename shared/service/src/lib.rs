//! What the programs of this workspace share, so that each main is short: settings, logs,
//! signals, exit codes, HTTP, and the intake of events over it.
//!
//! It knows no rule, and nothing of items and purchases but the names of their topics. Reading
//! order: [`settings`] (file, environment, flags), [`exit`] (codes, the last line), [`signals`]
//! (the end), [`problem`] (what is answered instead), [`intake`] (events over HTTP), [`http`]
//! (the main function of a service that is an intake).

pub mod broker;
pub mod exit;
pub mod http;
pub mod intake;
pub mod logging;
pub mod problem;
pub mod server;
pub mod settings;
pub mod signals;

pub use intake::{Event, Inbox, InboxConfig, Intake, Moment};
pub use problem::Problem;
pub use signals::Shutdown;
