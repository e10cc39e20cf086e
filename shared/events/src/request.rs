//! What a caller asks of a service: an event that may still lack its id, and whose quantity is
//! carried word for word, since a bad one is for the rule to refuse.

use std::borrow::Cow;

use crate::fields::{Fields, Unreadable, id, text};
use crate::result::json;

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
        let fields = Fields::read(Some(request))?;
        Ok(PurchaseRequest {
            purchase_id: own_id("purchaseId", raw(fields.purchase_id))?,
            item_id: id("itemId", fields.item_id)?,
            quantity: fields.quantity.map(|q| q.get()),
            purchased_by: text(fields.purchased_by).unwrap_or_default(),
            timestamp: raw(fields.timestamp).map(|t| t.get()),
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
        quantity(self.quantity, &mut value);
        value.extend_from_slice(b",\"purchasedBy\":");
        json(&self.purchased_by, &mut value);
        value.push(b'}');
        value
    }
}

/// Units to be added, as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestockRequest<'a> {
    /// Its id, if it has one.
    pub restock_id: Option<Cow<'a, str>>,
    /// The item.
    pub item_id: Cow<'a, str>,
    /// What the item is; an empty one changes nothing.
    pub description: Cow<'a, str>,
    /// Raw JSON, whatever it is; `None` where it is missing.
    pub quantity: Option<&'a str>,
    /// Raw JSON; `None` where it is missing or null.
    pub timestamp: Option<&'a str>,
}

impl<'a> RestockRequest<'a> {
    /// Reads a request.
    ///
    /// # Errors
    /// What would make the event unreadable.
    pub fn read(request: &'a [u8]) -> Result<RestockRequest<'a>, Unreadable> {
        let fields = Fields::read(Some(request))?;
        Ok(RestockRequest {
            restock_id: own_id("restockId", raw(fields.restock_id))?,
            item_id: id("itemId", fields.item_id)?,
            description: text(fields.description).unwrap_or_default(),
            quantity: fields.quantity.map(|q| q.get()),
            timestamp: raw(fields.timestamp).map(|t| t.get()),
        })
    }

    /// Writes the event's value under this id: as [`crate::Restock::write`] does, with the
    /// quantity as it was.
    pub fn write(&self, restock_id: &str) -> Vec<u8> {
        let mut value = Vec::with_capacity(192);
        value.extend_from_slice(b"{\"restockId\":");
        json(restock_id, &mut value);
        value.extend_from_slice(b",\"itemId\":");
        json(&self.item_id, &mut value);
        value.extend_from_slice(b",\"description\":");
        json(&self.description, &mut value);
        quantity(self.quantity, &mut value);
        value.push(b'}');
        value
    }
}

type Raw<'a> = &'a serde_json::value::RawValue;

/// A field that is there; null stands for a missing one.
fn raw(field: Option<Raw<'_>>) -> Option<Raw<'_>> {
    field.filter(|raw| raw.get() != "null")
}

/// The id of a request; `null` stands for a missing one.
fn own_id<'a>(
    field: &'static str,
    raw: Option<Raw<'a>>,
) -> Result<Option<Cow<'a, str>>, Unreadable> {
    raw.map(|raw| id(field, Some(raw))).transpose()
}

fn quantity(raw: Option<&str>, into: &mut Vec<u8>) {
    if let Some(raw) = raw {
        into.extend_from_slice(b",\"quantity\":");
        into.extend_from_slice(raw.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Purchase, Restock};

    #[track_caller]
    fn check(quantity: &str, written: &str) {
        let request = format!(
            r#"{{"itemId":"i","purchasedBy":"b","purchaseId":"p"{quantity},"timestamp":7,"x":1}}"#
        );
        let asked = PurchaseRequest::read(request.as_bytes()).expect(quantity);
        let expected = format!(r#"{{"purchaseId":"p","itemId":"i"{written},"purchasedBy":"b"}}"#);
        assert_eq!(String::from_utf8_lossy(&asked.write("p")), expected);
        assert_eq!(asked.timestamp, Some("7"));
        let request = request.replace("purchaseId", "restockId");
        let asked = RestockRequest::read(request.as_bytes()).expect(quantity);
        let expected = format!(r#"{{"restockId":"p","itemId":"i","description":""{written}}}"#);
        assert_eq!(String::from_utf8_lossy(&asked.write("p")), expected);
    }

    #[test]
    fn a_quantity_is_carried_word_for_word() {
        for raw in
            ["1", "-3", "0", "1.0", "1e2", "\"two\"", "null", "{\"a\":1}", "18446744073709551616"]
        {
            check(&format!(r#","quantity": {raw}"#), &format!(r#","quantity":{raw}"#));
        }
        check("", "");
    }

    #[test]
    fn what_the_rule_reads_is_what_was_asked_for() {
        let request = br#"{"purchaseId":"p\"","itemId":"\u0069","quantity":5,"purchasedBy":"b\\"}"#;
        let value = PurchaseRequest::read(request).expect("readable").write("p\"");
        let event = Purchase::read(Some(&value)).expect("readable");
        assert_eq!((&*event.purchase_id, &*event.item_id), ("p\"", "i"));
        assert_eq!(event.write(), value);
        let request = br#"{"restockId":"r","itemId":"i","description":"d","quantity":5}"#;
        let value = RestockRequest::read(request).expect("readable").write("r");
        assert_eq!(Restock::read(Some(&value)).expect("readable").write(), value);
    }

    #[test]
    fn an_id_may_be_missing_but_not_bad() {
        for request in [r#"{"itemId":"i"}"#, r#"{"itemId":"i","restockId":null,"timestamp":null}"#]
        {
            let asked = RestockRequest::read(request.as_bytes()).expect(request);
            assert_eq!((asked.restock_id, asked.timestamp), (None, None));
        }
        let bad = PurchaseRequest::read(br#"{"itemId":"i","purchaseId":7}"#).expect_err("a number");
        assert_eq!(bad.field(), Some("purchaseId"));
    }
}
