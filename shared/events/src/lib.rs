//! The contract: what is said on the topics of book-purchase-streams, and how it is read.
//!
//! It knows no Kafka, no clock and no rule; it turns bytes into events and events into bytes.
//! Reading order: [`ids`] (what an id is), [`quantity`], [`restock`] and [`purchase`] (what comes
//! in), [`request`] (what a service is asked), [`result`] (what goes out), [`stock`] (the public
//! table), [`topics`] (where).

pub mod fields;
pub mod ids;
pub mod purchase;
pub mod quantity;
pub mod request;
pub mod restock;
pub mod result;
pub mod stock;
pub mod topics;

pub use fields::Unreadable;
pub use ids::{IdError, check_id};
pub use purchase::Purchase;
pub use quantity::{QUANTITY_MAX, Quantity};
pub use request::{PurchaseRequest, RestockRequest};
pub use restock::Restock;
pub use result::{PurchaseFinished, PurchaseResult, Reason, RestockFinished, RestockResult};
pub use stock::StockRow;
pub use topics::Topics;
