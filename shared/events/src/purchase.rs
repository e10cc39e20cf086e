//! A purchase: units taken from an item. What it is, is (itemId, purchaseId).

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::fields::{Unreadable, id, own_id, present, read_fields, text};
use crate::json::{json, json_inner, outcome, put, raw_quantity};
use crate::quantity::Quantity;
use crate::reason::Reason;

/// A record of `purchase-created`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purchase<'a> {
    /// Its id, unique within the item.
    pub purchase_id: Cow<'a, str>,
    /// The item.
    pub item_id: Cow<'a, str>,
    /// How many units.
    pub quantity: Quantity<'a>,
    /// Who asks; empty where it is not said.
    pub purchased_by: Cow<'a, str>,
}

impl<'a> Purchase<'a> {
    /// Reads a record's value.
    ///
    /// # Errors
    /// When its ids cannot be read: only then it gets no result.
    pub fn read(value: Option<&'a [u8]>) -> Result<Purchase<'a>, Unreadable> {
        read_fields!(
            value,
            "purchaseId" as purchase,
            "itemId" as item,
            "quantity" as quantity,
            "purchasedBy" as by
        );
        Ok(Purchase {
            purchase_id: id("purchaseId", purchase)?,
            item_id: id("itemId", item)?,
            quantity: quantity.map_or(Quantity::NotAnInteger, |q| Quantity::read(q.get())),
            purchased_by: text(by).unwrap_or_default(),
        })
    }

    /// Writes the record's value.
    pub fn write(&self) -> Vec<u8> {
        let json = |text: &str| serde_json::Value::from(text).to_string();
        format!(
            r#"{{"purchaseId":{},"itemId":{},"quantity":{},"purchasedBy":{}}}"#,
            json(&self.purchase_id),
            json(&self.item_id),
            self.quantity,
            json(&self.purchased_by),
        )
        .into_bytes()
    }
}

/// A request to take units, as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PurchaseRequest<'a> {
    /// Its id, if it has one.
    pub purchase_id: Option<Cow<'a, str>>,
    /// The item.
    pub item_id: Cow<'a, str>,
    /// Raw JSON, whatever it is; `None` where it is missing.
    pub quantity: Option<&'a str>,
    /// Who asks; empty where it is not said.
    pub purchased_by: Cow<'a, str>,
    /// Raw JSON; `None` where it is missing or null.
    pub timestamp: Option<&'a str>,
}

impl<'a> PurchaseRequest<'a> {
    /// Reads a request.
    ///
    /// # Errors
    /// What would make the event unreadable.
    pub fn read(request: &'a [u8]) -> Result<PurchaseRequest<'a>, Unreadable> {
        read_fields!(
            Some(request),
            "purchaseId" as purchase,
            "itemId" as item,
            "quantity" as quantity,
            "purchasedBy" as by,
            "timestamp" as timestamp
        );
        Ok(PurchaseRequest {
            purchase_id: own_id("purchaseId", present(purchase))?,
            item_id: id("itemId", item)?,
            quantity: quantity.map(|q| q.get()),
            purchased_by: text(by).unwrap_or_default(),
            timestamp: present(timestamp).map(|t| t.get()),
        })
    }

    /// Writes the event's value under this id: as [`crate::Purchase::write`] does, with the
    /// quantity as it was.
    pub fn write(&self, purchase_id: &str) -> Vec<u8> {
        let mut value = Vec::with_capacity(192);
        value.extend_from_slice(b"{\"purchaseId\":");
        json(purchase_id, &mut value);
        value.extend_from_slice(b",\"itemId\":");
        json(&self.item_id, &mut value);
        raw_quantity(self.quantity, &mut value);
        value.extend_from_slice(b",\"purchasedBy\":");
        json(&self.purchased_by, &mut value);
        value.push(b'}');
        value
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn refused(value: &str, code: &str, told: &str) {
        let error = Purchase::read(Some(value.as_bytes())).expect_err(value);
        assert_eq!((error.code(), error.to_string().contains(told)), (code, true), "{error}");
    }

    #[test]
    fn a_purchase_needs_its_ids_and_nothing_else() {
        let value = br#"{"extra":[1,{"a":1}],"purchaseId":"1","itemId":"a\u0062"}"#;
        let purchase = Purchase::read(Some(value)).expect("readable");
        assert_eq!((&*purchase.item_id, &*purchase.purchased_by), ("ab", ""));
        assert_eq!(purchase.quantity, Quantity::NotAnInteger);
        refused("", "NOT_JSON", "not a JSON object");
        refused("[]", "NOT_JSON", "not a JSON object");
        refused(r#"{"itemId":"1","purchaseId":"1"} x"#, "NOT_JSON", "trailing");
        refused(r#"{"itemId":"1","quantity":1}"#, "UNREADABLE_ID", "purchaseId is missing");
        refused(r#"{"itemId":1,"purchaseId":"1"}"#, "UNREADABLE_ID", "itemId is not a string");
        refused(r#"{"itemId":"","purchaseId":"1"}"#, "UNREADABLE_ID", "itemId is empty");
        refused(r#"{"itemId":"\n","purchaseId":"1"}"#, "UNREADABLE_ID", "control");
        refused(r#"{"itemId":"1","purchaseId":"1","itemId":"1"}"#, "FIELD_TWICE", "itemId");
        refused(r#"{"itemId":"1","purchaseId":"1","x":1,"x":2}"#, "FIELD_TWICE", "\"x\"");
        let long = format!(r#"{{"x":"{}"}}"#, "x".repeat(64 << 10));
        refused(&long, "TOO_LONG", "65536 are read");
        assert_eq!(Purchase::read(None).expect_err("none").code(), "NO_VALUE");
        assert_eq!(Purchase::read(Some(b"{\"a\xff\":1}")).expect_err("bad").code(), "NOT_UTF8");
    }

    #[track_caller]
    fn carried(quantity: &str, written: &str) {
        let request = format!(
            r#"{{"itemId":"i","purchasedBy":"b","purchaseId":"p"{quantity},"timestamp":7,"x":1}}"#
        );
        let asked = PurchaseRequest::read(request.as_bytes()).expect(quantity);
        let expected = format!(r#"{{"purchaseId":"p","itemId":"i"{written},"purchasedBy":"b"}}"#);
        assert_eq!(String::from_utf8_lossy(&asked.write("p")), expected);
        assert_eq!(asked.timestamp, Some("7"));
    }

    #[test]
    fn a_quantity_is_carried_word_for_word() {
        for raw in
            ["1", "-3", "0", "1.0", "1e2", "\"two\"", "null", "{\"a\":1}", "18446744073709551616"]
        {
            carried(&format!(r#","quantity": {raw}"#), &format!(r#","quantity":{raw}"#));
        }
        carried("", "");
    }

    #[test]
    fn what_the_rule_reads_is_what_was_asked_for() {
        let request = br#"{"purchaseId":"p\"","itemId":"\u0069","quantity":5,"purchasedBy":"b\\"}"#;
        let value = PurchaseRequest::read(request).expect("readable").write("p\"");
        let event = Purchase::read(Some(&value)).expect("readable");
        assert_eq!((&*event.purchase_id, &*event.item_id), ("p\"", "i"));
        assert_eq!(event.write(), value);
        let bad = PurchaseRequest::read(br#"{"itemId":"i","purchaseId":7}"#).expect_err("a number");
        assert_eq!(bad.field(), Some("purchaseId"));
    }

    #[test]
    fn a_result_is_json_with_a_message_for_people() {
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
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            a in "[^\\p{Cc}]{1,20}", b in "[^\\p{Cc}]{1,20}", by in ".*", q in 1..=1_u64 << 53,
        ) {
            let purchase = Purchase {
                purchase_id: a.into(), item_id: b.into(), quantity: Quantity::Valid(q),
                purchased_by: by.into(),
            };
            let value = purchase.write();
            prop_assert_eq!(Purchase::read(Some(&value)), Ok(purchase.clone()));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = Purchase::read(Some(&bytes));
        }
    }
}
