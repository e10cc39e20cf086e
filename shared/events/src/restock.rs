//! Units added to an item.

use std::borrow::Cow;

use crate::fields::{Fields, Unreadable, id, text};
use crate::quantity::Quantity;

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
        let fields = Fields::read(value)?;
        let restock_id = match fields.restock_id {
            None => None,
            Some(raw) if raw.get() == "null" => None,
            some => Some(id("restockId", some)?),
        };
        Ok(Restock {
            restock_id,
            item_id: id("itemId", fields.item_id)?,
            description: text(fields.description).unwrap_or_default(),
            quantity: fields.quantity.map_or(Quantity::NotAnInteger, |q| Quantity::read(q.get())),
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
}
