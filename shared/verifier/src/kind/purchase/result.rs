//! A record of the ledger.

use std::borrow::Cow;
use std::fmt::Write;

use serde::Deserialize;
use serde_json::value::RawValue;

/// A record of the ledger.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PurchaseResult<'a> {
    #[serde(borrow)]
    pub(crate) purchase_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) item_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) quantity: &'a RawValue,
    #[serde(borrow)]
    pub(crate) purchased_by: Cow<'a, str>,
    pub(crate) status: &'a str,
    pub(crate) reason: Option<&'a str>,
    pub(crate) item_quantity: u64,
    pub(crate) already_booked: u64,
    pub(crate) remaining: u64,
    #[serde(borrow)]
    pub(crate) result_message: Cow<'a, str>,
    pub(crate) decided_at: i64,
}

impl PurchaseResult<'_> {
    /// The message for people that belongs to it.
    pub(crate) fn message(&self, into: &mut String) {
        let PurchaseResult { purchase_id, item_id, status, quantity, .. } = self;
        let (supplied, booked, left) = (self.item_quantity, self.already_booked, self.remaining);
        into.clear();
        // Writing to a string cannot fail.
        let _ = write!(
            into,
            "{purchase_id} - {item_id} {status} quantity: {supplied} alreadyBooked: {booked} \
             purchaseQuantity: {} remaining: {left}",
            quantity.get()
        );
    }
}
