//! What the whole-system tests share: an installation (topics, a processor) on either broker, and
//! a naive oracle; the binaries as processes.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc)] // a test's set-up fails by panicking

pub mod accounting;
pub mod damaged;
pub mod installation;
pub mod oracle;
pub mod processes;
pub mod rigs;
pub mod simulator;

pub use installation::{Installation, Written};
pub use rigs::{Rig, now_ms, on_both_brokers, on_every_rig, on_every_rig_made};
