//! What the whole-system tests share: an installation (topics, a processor) on either broker, and
//! a naive oracle; the binaries as processes, and the faults that are played on them.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc)] // a test's set-up fails by panicking

pub mod accounting;
pub mod backends;
pub mod budget;
pub mod damaged;
pub mod golden;
pub mod installation;
pub mod kafka_installation;
pub mod load;
pub mod operator;
pub mod oracle;
pub mod own_kafka;
pub mod processes;
pub mod proxy;
pub mod reading;
pub mod simulator;
pub mod torture;
pub mod year;

pub use backends::{Backend, now_ms, on_both_brokers, on_every_backend, on_every_backend_made};
pub use installation::{Installation, Written};
