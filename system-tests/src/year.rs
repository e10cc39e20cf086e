//! The tills of a real grocer for a year, as `scripts/retail` has converted them.

use crate::oracle::{Event, merge};
use crate::processes::cache;

/// All of it, in the order in which it is to be decided.
pub fn events() -> Vec<Event> {
    merge(read("restocks.jsonl", false), read("purchases.jsonl", true))
}

fn read(file: &str, is_purchase: bool) -> Vec<Event> {
    let path = cache().join("retail").join(file);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|e| panic!("{}: {e}; run scripts/retail first", path.display()));
    let event = |line: &str| {
        let json: serde_json::Value = serde_json::from_str(line).unwrap();
        let at: jiff::Timestamp = json["timestamp"].as_str().unwrap().parse().unwrap();
        let id = if is_purchase { "purchaseId" } else { "restockId" };
        Event {
            is_purchase,
            id: json[id].as_str().unwrap().to_owned(),
            item: json["itemId"].as_str().unwrap().to_owned(),
            quantity: json["quantity"].as_i64().unwrap(),
            at: at.as_millisecond(),
        }
    };
    text.lines().map(event).collect()
}
