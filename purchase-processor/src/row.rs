//! The stock row: compact in the store, readable JSON in its topic.

use bps_events::StockRow;

use crate::stock::Stock;

/// What the store holds of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemRow<'a> {
    /// Supplied and booked.
    pub stock: Stock,
    /// Timestamp of the record that last changed it (ms since 1970).
    pub updated_at: i64,
    /// What the item is.
    pub description: &'a str,
}

impl<'a> ItemRow<'a> {
    /// As the store holds it.
    pub fn encode(&self, into: &mut Vec<u8>) {
        into.clear();
        into.extend_from_slice(&self.stock.supplied.to_le_bytes());
        into.extend_from_slice(&self.stock.booked.to_le_bytes());
        into.extend_from_slice(&self.updated_at.to_le_bytes());
        into.extend_from_slice(self.description.as_bytes());
    }

    /// From the store. `None` where the bytes are no row, or one with more booked than supplied:
    /// deciding on it would be wrong.
    pub fn decode(bytes: &'a [u8]) -> Option<ItemRow<'a>> {
        let (supplied, rest) = bytes.split_first_chunk()?;
        let (booked, rest) = rest.split_first_chunk()?;
        let (updated_at, description) = rest.split_first_chunk()?;
        let supplied = u64::from_le_bytes(*supplied);
        let stock = Stock { supplied, booked: u64::from_le_bytes(*booked) };
        let updated_at = i64::from_le_bytes(*updated_at);
        let description = std::str::from_utf8(description).ok()?;
        (stock.booked <= stock.supplied).then_some(ItemRow { stock, updated_at, description })
    }
}

/// Writes the row as the topic has it.
pub fn to_topic(item: &[u8], row: &[u8], into: &mut Vec<u8>) {
    let Some(row) = ItemRow::decode(row) else { return };
    StockRow {
        item_id: String::from_utf8_lossy(item),
        description: row.description.into(),
        supplied: row.stock.supplied,
        booked: row.stock.booked,
        remaining: row.stock.remaining(),
        updated_at: row.updated_at,
    }
    .write(into);
}

/// Reads the row back from its topic.
///
/// # Errors
/// What is wrong with the value.
pub fn from_topic(item: &[u8], value: &[u8]) -> Result<Vec<u8>, String> {
    let row: StockRow<'_> = serde_json::from_slice(value).map_err(|e| e.to_string())?;
    if row.item_id.as_bytes() != item {
        return Err(format!("it is the row of item {:?}", row.item_id));
    }
    if row.supplied.checked_sub(row.booked) != Some(row.remaining) {
        return Err("remaining is not supplied - booked".to_owned());
    }
    let stock = Stock { supplied: row.supplied, booked: row.booked };
    let row = ItemRow { stock, updated_at: row.updated_at, description: &row.description };
    let mut bytes = Vec::new();
    row.encode(&mut bytes);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_survives_its_topic() {
        let stock = Stock { supplied: u64::MAX, booked: 7 };
        let row = ItemRow { stock, updated_at: -5, description: "a \"b\"" };
        let (mut bytes, mut value) = (Vec::new(), Vec::new());
        row.encode(&mut bytes);
        to_topic(b"1", &bytes, &mut value);
        assert_eq!(from_topic(b"1", &value), Ok(bytes.clone()));
        assert_eq!(ItemRow::decode(&bytes), Some(row));
        assert!(from_topic(b"2", &value).is_err_and(|e| e.contains("item \"1\"")));
        assert!(from_topic(b"1", b"{}").is_err());
    }

    #[test]
    fn more_booked_than_supplied_is_no_row() {
        let row =
            ItemRow { stock: Stock { supplied: 1, booked: 2 }, updated_at: 0, description: "" };
        let mut bytes = Vec::new();
        row.encode(&mut bytes);
        assert_eq!(ItemRow::decode(&bytes), None);
    }
}
