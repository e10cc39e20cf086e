//! What the whole-system tests share: an installation (topics, a processor) on either broker, and
//! a naive oracle.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc)] // a test's set-up fails by panicking

pub mod installation;
pub mod oracle;
pub mod rigs;

pub use installation::{Installation, Written};
pub use rigs::{Rig, on_every_rig};
