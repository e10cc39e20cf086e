//! A worker on a simulated cluster, stepped by hand: what it makes of stores, groups and topics that
//! are not as it left them.
#![allow(missing_docs, clippy::unwrap_used)]

mod deleted_rows;
mod due;
mod group;
mod lost_rows;
mod new_parts;
mod outage;
mod rig;
mod stale;
