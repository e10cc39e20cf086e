//! The answers: to a purchase (the ledger) and to a restock.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::quantity::Quantity;

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Reason {
    /// Not an integer from 1 to 2^53.
    InvalidQuantity,
    /// The item was never restocked.
    UnknownItem,
    /// More than remains.
    InsufficientStock,
    /// Stamped earlier than the memory of decided ids reaches.
    TooOld,
    /// The sum would exceed 2^64 - 1.
    Overflow,
}

impl Reason {
    /// The code as it stands in results.
    pub fn code(self) -> &'static str {
        match self {
            Self::InvalidQuantity => "INVALID_QUANTITY",
            Self::UnknownItem => "UNKNOWN_ITEM",
            Self::InsufficientStock => "INSUFFICIENT_STOCK",
            Self::TooOld => "TOO_OLD",
            Self::Overflow => "OVERFLOW",
        }
    }
}

/// The answer to one purchase: a record of `purchase-finished`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PurchaseFinished<'a> {
    /// The purchase.
    pub purchase_id: &'a str,
    /// The item.
    pub item_id: &'a str,
    /// As the purchase had it.
    pub quantity: &'a Quantity<'a>,
    /// Who asked.
    pub purchased_by: &'a str,
    /// `None`: granted.
    pub reason: Option<Reason>,
    /// Units supplied so far.
    pub item_quantity: u64,
    /// Units booked before this purchase.
    pub already_booked: u64,
    /// What is left after the decision.
    pub remaining: u64,
    /// The purchase's own timestamp (ms since 1970).
    pub decided_at: i64,
}

impl PurchaseFinished<'_> {
    /// Appends the record's value to `into`.
    pub fn write(&self, into: &mut Vec<u8>) {
        let mut digits = [itoa::Buffer::new(); 5];
        let [supplied, booked, left, quantity, at] = &mut digits;
        let supplied = supplied.format(self.item_quantity);
        let booked = booked.format(self.already_booked);
        let left = left.format(self.remaining);
        let quantity = self.quantity.text(quantity);
        let (status, reason) = outcome(self.reason);
        put(into, &["{\"purchaseId\":"]);
        json(self.purchase_id, into);
        put(into, &[",\"itemId\":"]);
        json(self.item_id, into);
        put(into, &[",\"quantity\":", quantity, ",\"purchasedBy\":"]);
        json(self.purchased_by, into);
        put(into, &[",\"status\":\"", status, "\",\"reason\":"]);
        put(into, &reason);
        put(into, &[",\"itemQuantity\":", supplied, ",\"alreadyBooked\":", booked]);
        put(into, &[",\"remaining\":", left, ",\"resultMessage\":\""]);
        json_inner(self.purchase_id, into);
        put(into, &[" - "]);
        json_inner(self.item_id, into);
        put(into, &[" ", status, " quantity: ", supplied, " alreadyBooked: ", booked]);
        put(into, &[" purchaseQuantity: ", quantity, " remaining: ", left]);
        put(into, &["\",\"decidedAt\":", at.format(self.decided_at), "}"]);
    }
}

/// A record of `purchase-finished` as its readers see it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PurchaseResult<'a> {
    /// The purchase.
    #[serde(borrow)]
    pub purchase_id: Cow<'a, str>,
    /// The item.
    #[serde(borrow)]
    pub item_id: Cow<'a, str>,
    /// As the purchase had it, or null.
    #[serde(borrow)]
    pub quantity: &'a RawValue,
    /// Who asked.
    #[serde(borrow)]
    pub purchased_by: Cow<'a, str>,
    /// `None`: granted.
    pub reason: Option<Reason>,
    /// Units supplied so far.
    pub item_quantity: u64,
    /// Units booked before this purchase.
    pub already_booked: u64,
    /// What is left after the decision.
    pub remaining: u64,
    /// For people.
    #[serde(borrow)]
    pub result_message: Cow<'a, str>,
    /// The purchase's own timestamp (ms since 1970).
    pub decided_at: i64,
}

/// A record of `restock-finished` as its readers see it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestockResult<'a> {
    /// The restock.
    #[serde(borrow)]
    pub restock_id: Cow<'a, str>,
    /// The item.
    #[serde(borrow)]
    pub item_id: Cow<'a, str>,
    /// As the restock had it, or null.
    #[serde(borrow)]
    pub quantity: &'a RawValue,
    /// `None`: added.
    pub reason: Option<Reason>,
    /// Units supplied after it.
    pub supplied: u64,
}

/// The answer to one restock: a record of `restock-finished`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestockFinished<'a> {
    /// The restock.
    pub restock_id: &'a str,
    /// The item.
    pub item_id: &'a str,
    /// As the restock had it.
    pub quantity: &'a Quantity<'a>,
    /// `None`: added.
    pub reason: Option<Reason>,
    /// Units supplied after it.
    pub supplied: u64,
}

impl RestockFinished<'_> {
    /// Appends the record's value to `into`.
    pub fn write(&self, into: &mut Vec<u8>) {
        let mut digits = [itoa::Buffer::new(); 2];
        let [quantity, supplied] = &mut digits;
        let (quantity, supplied) = (self.quantity.text(quantity), supplied.format(self.supplied));
        let (status, reason) = outcome(self.reason);
        put(into, &["{\"restockId\":"]);
        json(self.restock_id, into);
        put(into, &[",\"itemId\":"]);
        json(self.item_id, into);
        put(into, &[",\"quantity\":", quantity, ",\"status\":\"", status, "\",\"reason\":"]);
        put(into, &reason);
        put(into, &[",\"supplied\":", supplied, "}"]);
    }
}

/// Status and, as JSON, reason.
fn outcome(reason: Option<Reason>) -> (&'static str, [&'static str; 3]) {
    match reason {
        None => ("SUCCESS", ["null", "", ""]),
        Some(reason) => ("FAILED", ["\"", reason.code(), "\""]),
    }
}

/// Appends texts: a result is written for every purchase, and `fmt` costs a multiple of it.
fn put(into: &mut Vec<u8>, texts: &[&str]) {
    texts.iter().for_each(|text| into.extend_from_slice(text.as_bytes()));
}

/// A JSON string.
pub(crate) fn json(text: &str, into: &mut Vec<u8>) {
    into.push(b'"');
    json_inner(text, into);
    into.push(b'"');
}

/// The inside of a JSON string; what needs no escape, which is nearly all, is copied whole.
fn json_inner(text: &str, into: &mut Vec<u8>) {
    let plain = |b: u8| b >= 0x20 && b != b'"' && b != b'\\';
    if text.bytes().all(plain) {
        into.extend_from_slice(text.as_bytes());
        return;
    }
    let start = into.len();
    if serde_json::to_writer(&mut *into, text).is_ok() {
        into.remove(start);
        into.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_json_with_a_message_for_people() {
        let mut value = Vec::new();
        PurchaseFinished {
            purchase_id: "2\"2",
            item_id: "2",
            quantity: &Quantity::NotAnInteger,
            purchased_by: "bob\n",
            reason: Some(Reason::InvalidQuantity),
            item_quantity: 2,
            already_booked: 1,
            remaining: 1,
            decided_at: 7,
        }
        .write(&mut value);
        let read: PurchaseResult<'_> = serde_json::from_slice(&value).expect("JSON");
        assert_eq!((&*read.purchased_by, read.quantity.get()), ("bob\n", "null"));
        assert_eq!((read.reason, read.remaining), (Some(Reason::InvalidQuantity), 1));
        insta::assert_snapshot!(String::from_utf8_lossy(&value), @r#"{"purchaseId":"2\"2","itemId":"2","quantity":null,"purchasedBy":"bob\n","status":"FAILED","reason":"INVALID_QUANTITY","itemQuantity":2,"alreadyBooked":1,"remaining":1,"resultMessage":"2\"2 - 2 FAILED quantity: 2 alreadyBooked: 1 purchaseQuantity: null remaining: 1","decidedAt":7}"#);
        value.clear();
        let quantity = Quantity::Valid(5);
        let finished = RestockFinished {
            restock_id: "r",
            item_id: "1",
            quantity: &quantity,
            reason: None,
            supplied: 6,
        };
        finished.write(&mut value);
        let read: RestockResult<'_> = serde_json::from_slice(&value).expect("JSON");
        assert_eq!((&*read.restock_id, read.reason, read.supplied), ("r", None, 6));
        insta::assert_snapshot!(String::from_utf8_lossy(&value), @r#"{"restockId":"r","itemId":"1","quantity":5,"status":"SUCCESS","reason":null,"supplied":6}"#);
    }
}
