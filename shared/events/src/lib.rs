//! The contract: what is said on the topics of book-purchase-streams, and how it is read.
//!
//! It knows no Kafka, no clock and no rule; it turns bytes into events and events into bytes.
//! Reading order: [`topics`] (where), [`ids`] (what an id is), [`quantity`], [`reason`] (why not); then a
//! file for each thing that is asked for, as an event, as a request to a service, and its answer:
//! [`restock`], [`purchase`], [`command`] (what all others have in common); [`stock`] (the public table).

pub mod command;
pub mod fields;
pub mod ids;
mod json;
pub mod purchase;
pub mod quantity;
pub mod reason;
pub mod restock;
pub mod stock;
pub mod topics;

pub use command::{Command, CommandFinished, CommandResult};
pub use fields::Unreadable;
pub use ids::{IdError, check_id};
pub use purchase::{Purchase, PurchaseFinished, PurchaseRequest, PurchaseResult};
pub use quantity::{QUANTITY_MAX, Quantity};
pub use reason::Reason;
pub use restock::{Restock, RestockFinished, RestockRequest, RestockResult};
pub use stock::StockRow;
pub use topics::Topics;
