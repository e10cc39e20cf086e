//! The public table of stock: one row an item, readable JSON. Rows may get further fields; who reads them
//! passes over those that it does not know.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// A record of `stock`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StockRow<'a> {
    /// The item.
    #[serde(borrow)]
    pub item_id: Cow<'a, str>,
    /// What it is.
    #[serde(borrow)]
    pub description: Cow<'a, str>,
    /// Units supplied so far.
    pub supplied: u64,
    /// Units booked so far.
    pub booked: u64,
    /// What is left.
    pub remaining: u64,
    /// Timestamp of the record that last changed the row (ms since 1970).
    pub updated_at: i64,
}

impl StockRow<'_> {
    /// Appends the record's value to `into`.
    pub fn write(&self, into: &mut Vec<u8>) {
        // Plain numbers and texts always serialise.
        let _ = serde_json::to_writer(into, self);
    }
}
