//! A naive oracle: what the results must be, written as plainly as can be and sharing no code
//! with the rule.

use std::collections::{BTreeMap, HashMap};

/// An event of the real year, or of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// A purchase (else a restock).
    pub is_purchase: bool,
    /// Its id.
    pub id: String,
    /// The item.
    pub item: String,
    /// Units.
    pub quantity: i64,
    /// Milliseconds since 1970.
    pub at: i64,
}

impl Event {
    /// Its record's value.
    pub fn value(&self) -> String {
        let Event { id, item, quantity, .. } = self;
        match self.is_purchase {
            true => format!(
                r#"{{"purchaseId":"{id}","itemId":"{item}","quantity":{quantity},"purchasedBy":"b"}}"#
            ),
            false => format!(r#"{{"restockId":"{id}","itemId":"{item}","quantity":{quantity}}}"#),
        }
    }
}

/// Head start of restocks (ms).
pub const HEAD_START_MS: i64 = 5_000;

/// Puts restocks and purchases, each in their own order, into the order of decisions.
pub fn merge(restocks: Vec<Event>, purchases: Vec<Event>) -> Vec<Event> {
    let (mut restocks, mut purchases) =
        (restocks.into_iter().peekable(), purchases.into_iter().peekable());
    let mut merged = Vec::new();
    loop {
        let restock_first = match (restocks.peek(), purchases.peek()) {
            (Some(r), Some(p)) => r.at - HEAD_START_MS <= p.at,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (None, None) => return merged,
        };
        merged.extend(if restock_first { restocks.next() } else { purchases.next() });
    }
}

/// Results by (item, purchase): `SUCCESS`, or the code of the refusal; and the units sold.
pub fn decide(events: &[Event]) -> (HashMap<(String, String), &'static str>, i64) {
    let mut left: HashMap<&str, i64> = HashMap::new();
    let mut results = HashMap::new();
    let mut sold = 0;
    for e in events {
        if !e.is_purchase {
            *left.entry(&e.item).or_default() += e.quantity;
            continue;
        }
        let result = match left.get_mut(e.item.as_str()) {
            _ if e.quantity < 1 => "INVALID_QUANTITY",
            None => "UNKNOWN_ITEM",
            Some(left) if *left < e.quantity => "INSUFFICIENT_STOCK",
            Some(left) => {
                *left -= e.quantity;
                sold += e.quantity;
                "SUCCESS"
            }
        };
        results.entry((e.item.clone(), e.id.clone())).or_insert(result);
    }
    (results, sold)
}

/// How often each result is there.
pub fn tally<'a>(results: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, usize> {
    let mut tally = BTreeMap::new();
    results.for_each(|result| *tally.entry(result).or_default() += 1);
    tally
}
