//! The answers: to a purchase (the ledger) and to a restock.

use std::borrow::Cow;
use std::fmt;
use std::io::Write;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::quantity::Quantity;

/// Whether the wish was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// The units are the buyer's (or added).
    Success,
    /// Nothing changed.
    Failed,
}

/// Why a wish was refused.
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

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Success => "SUCCESS",
            Self::Failed => "FAILED",
        })
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
    /// Who wished.
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
        let status = if self.reason.is_some() { Status::Failed } else { Status::Success };
        into.extend_from_slice(b"{\"purchaseId\":");
        json(self.purchase_id, into);
        into.extend_from_slice(b",\"itemId\":");
        json(self.item_id, into);
        print(into, format_args!(",\"quantity\":{},\"purchasedBy\":", self.quantity));
        json(self.purchased_by, into);
        print(into, format_args!(",\"status\":\"{status}\",\"reason\":"));
        match self.reason {
            Some(reason) => print(into, format_args!("\"{}\"", reason.code())),
            None => into.extend_from_slice(b"null"),
        }
        let (supplied, booked, left) = (self.item_quantity, self.already_booked, self.remaining);
        print(
            into,
            format_args!(
                ",\"itemQuantity\":{supplied},\"alreadyBooked\":{booked},\"remaining\":{left},\
                 \"resultMessage\":\""
            ),
        );
        json_inner(self.purchase_id, into);
        into.extend_from_slice(b" - ");
        json_inner(self.item_id, into);
        let (quantity, decided_at) = (self.quantity, self.decided_at);
        print(
            into,
            format_args!(
                " {status} quantity: {supplied} alreadyBooked: {booked} purchaseQuantity: \
                 {quantity} remaining: {left}\",\"decidedAt\":{decided_at}}}"
            ),
        );
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
    /// Who wished.
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
        let status = if self.reason.is_some() { Status::Failed } else { Status::Success };
        into.extend_from_slice(b"{\"restockId\":");
        json(self.restock_id, into);
        into.extend_from_slice(b",\"itemId\":");
        json(self.item_id, into);
        print(into, format_args!(",\"quantity\":{},\"status\":\"{status}\"", self.quantity));
        match self.reason {
            Some(reason) => print(into, format_args!(",\"reason\":\"{}\"", reason.code())),
            None => into.extend_from_slice(b",\"reason\":null"),
        }
        print(into, format_args!(",\"supplied\":{}}}", self.supplied));
    }
}

fn print(into: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    // Writing to a vector cannot fail.
    let _ = into.write_fmt(text);
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
