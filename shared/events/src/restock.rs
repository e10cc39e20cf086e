//! A restock: units added to an item.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::fields::{Unreadable, id, own_id, present, read_fields, text};
use crate::json::{json, outcome, put, raw_quantity};
use crate::quantity::Quantity;
use crate::reason::Reason;

/// A record of `items-added`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restock<'a> {
    /// Makes the restock idempotent; without one it is the record's place.
    pub restock_id: Option<Cow<'a, str>>,
    /// The item.
    pub item_id: Cow<'a, str>,
    /// What the item is; an empty one changes nothing.
    pub description: Cow<'a, str>,
    /// How many units.
    pub quantity: Quantity<'a>,
}

impl<'a> Restock<'a> {
    /// Reads a record's value.
    ///
    /// # Errors
    /// When its ids cannot be read.
    pub fn read(value: Option<&'a [u8]>) -> Result<Restock<'a>, Unreadable> {
        read_fields!(
            value,
            "restockId" as restock,
            "itemId" as item,
            "description" as description,
            "quantity" as quantity
        );
        Ok(Restock {
            restock_id: own_id("restockId", present(restock))?,
            item_id: id("itemId", item)?,
            description: text(description).unwrap_or_default(),
            quantity: quantity.map_or(Quantity::NotAnInteger, |q| Quantity::read(q.get())),
        })
    }

    /// Writes the record's value.
    pub fn write(&self) -> Vec<u8> {
        let json = |text: &str| serde_json::Value::from(text).to_string();
        let restock_id = match &self.restock_id {
            Some(id) => format!(r#""restockId":{},"#, json(id)),
            None => String::new(),
        };
        format!(
            r#"{{{restock_id}"itemId":{},"description":{},"quantity":{}}}"#,
            json(&self.item_id),
            json(&self.description),
            self.quantity,
        )
        .into_bytes()
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
        read_fields!(
            Some(request),
            "restockId" as restock,
            "itemId" as item,
            "description" as description,
            "quantity" as quantity,
            "timestamp" as timestamp
        );
        Ok(RestockRequest {
            restock_id: own_id("restockId", present(restock))?,
            item_id: id("itemId", item)?,
            description: text(description).unwrap_or_default(),
            quantity: quantity.map(|q| q.get()),
            timestamp: present(timestamp).map(|t| t.get()),
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
        raw_quantity(self.quantity, &mut value);
        value.push(b'}');
        value
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restock_is_read_and_written() {
        let value = br#"{"restockId":"r","itemId":"1","description":"a \"b\"","quantity":5}"#;
        let restock = Restock::read(Some(value)).expect("readable");
        assert_eq!(restock.quantity, Quantity::Valid(5));
        assert_eq!(restock.write(), value);
        let bare = Restock::read(Some(br#"{"itemId":"1","restockId":null}"#)).expect("readable");
        assert_eq!((bare.restock_id, &*bare.description), (None, ""));
        let wrong = Restock::read(Some(br#"{"itemId":"1","restockId":7}"#)).expect_err("number");
        assert_eq!(wrong.to_string(), "restockId is not a string");
    }

    #[track_caller]
    fn carried(quantity: &str) {
        let request =
            format!(r#"{{"itemId":"i","restockId":"r"{quantity},"timestamp":"t","purchaseId":1}}"#);
        let asked = RestockRequest::read(request.as_bytes()).expect(quantity);
        let expected = format!(r#"{{"restockId":"r","itemId":"i","description":""{quantity}}}"#);
        assert_eq!(String::from_utf8_lossy(&asked.write("r")), expected);
        assert_eq!(asked.timestamp, Some("\"t\""));
    }

    #[test]
    fn what_the_rule_reads_is_what_was_asked_for() {
        ["", r#","quantity":1.0"#, r#","quantity":"two""#].into_iter().for_each(carried);
        let request = br#"{"restockId":"r","itemId":"i","description":"d","quantity":5}"#;
        let value = RestockRequest::read(request).expect("readable").write("r");
        assert_eq!(Restock::read(Some(&value)).expect("readable").write(), value);
    }

    #[test]
    fn the_id_of_a_request_may_be_missing() {
        for request in [r#"{"itemId":"i"}"#, r#"{"itemId":"i","restockId":null,"timestamp":null}"#]
        {
            let asked = RestockRequest::read(request.as_bytes()).expect(request);
            assert_eq!((asked.restock_id, asked.timestamp), (None, None));
        }
    }

    #[test]
    fn an_answer_is_written_and_read() {
        let mut value = Vec::new();
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
