//! A request to take units: what it is, is (itemId, purchaseId).

use std::borrow::Cow;

use crate::fields::{Fields, Unreadable, id, text};
use crate::quantity::Quantity;

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
        let fields = Fields::read(value)?;
        Ok(Purchase {
            purchase_id: id("purchaseId", fields.purchase_id)?,
            item_id: id("itemId", fields.item_id)?,
            quantity: fields.quantity.map_or(Quantity::NotAnInteger, |q| Quantity::read(q.get())),
            purchased_by: text(fields.purchased_by).unwrap_or_default(),
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
