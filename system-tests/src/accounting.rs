//! An account of a run, taken from the topics alone: each purchase answered once, each restock
//! counted once, nothing sold that was not there.

use std::collections::HashMap;

use bps_events::Topics;
use bps_streams::partitioner::partition_of;

use crate::Written;
use crate::oracle::tally;

/// (item, restock) or (item, purchase).
type Key = (String, String);

/// What a test has sent.
#[derive(Debug, Default)]
pub struct Sent {
    /// Quantity, and how many events had been sent before it.
    restocks: HashMap<Key, (i64, usize)>,
    /// Quantity, the units of the item that were surely there before it was sent, and how many
    /// events had been sent before it.
    purchases: HashMap<Key, (i64, u64, usize)>,
    supplied: HashMap<String, u64>,
}

impl Sent {
    /// A restock, acknowledged before any later purchase is sent.
    pub fn restock(&mut self, item: &str, id: &str, quantity: i64) {
        let moment = self.moment();
        let former = self.restocks.insert((item.to_owned(), id.to_owned()), (quantity, moment));
        assert_eq!(former, None, "the test repeats itself: {item} {id}");
        *self.supplied.entry(item.to_owned()).or_default() += quantity.max(0) as u64;
    }

    /// A purchase.
    pub fn purchase(&mut self, item: &str, id: &str, quantity: i64) {
        let seen = self.supplied.get(item).copied().unwrap_or(0);
        let purchase = (quantity, seen, self.moment());
        let former = self.purchases.insert((item.to_owned(), id.to_owned()), purchase);
        assert_eq!(former, None, "the test repeats itself: {item} {id}");
    }

    fn moment(&self) -> usize {
        self.restocks.len() + self.purchases.len()
    }

    /// What was sent, a line of JSON each: what `bps verify --acknowledged` takes. Events are
    /// counted for their times: a restock was acknowledged before the next one of the purchases was
    /// sent.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let line = |key: &Key, id: &str, time: &str, moment: usize| {
            format!(r#"{{"itemId":"{}","{id}":"{}","{time}":{moment}}}"#, key.0, key.1)
        };
        let restock = move |(key, (_, moment)): (&Key, &(i64, usize))| {
            line(key, "restockId", "acknowledgedAt", *moment)
        };
        let purchase = move |(key, (.., moment)): (&Key, &(i64, u64, usize))| {
            line(key, "purchaseId", "sentAt", *moment)
        };
        self.restocks.iter().map(restock).chain(self.purchases.iter().map(purchase))
    }

    /// How many purchases.
    pub fn purchases(&self) -> usize {
        self.purchases.len()
    }
}

/// What the topics hold, committed.
pub struct Found {
    restocks: Vec<Written>,
    purchases: Vec<Written>,
    results: Vec<Written>,
    answers: Vec<Written>,
    stock: Vec<Written>,
    dead: usize,
    partitions: u32,
}

#[derive(Default)]
struct Item {
    supplied: u64,
    booked: u64,
    last_seen: u64,
}

impl Found {
    /// Reads all topics.
    pub fn read(topics: &Topics, partitions: u32, read: impl Fn(&str) -> Vec<Written>) -> Found {
        Found {
            restocks: read(&topics.items_added),
            purchases: read(&topics.purchase_created),
            results: read(&topics.purchase_finished),
            answers: read(&topics.restock_finished),
            stock: read(&topics.stock),
            dead: read(&topics.dead_letters).len(),
            partitions,
        }
    }

    /// Fails unless it is exactly what `sent` must have led to; returns it in one line.
    pub fn settle(&self, sent: &Sent) -> String {
        assert_eq!(self.dead, 0, "dead letters");
        let restocks = inputs(&self.restocks, "restockId", sent.restocks.len());
        let purchases = inputs(&self.purchases, "purchaseId", sent.purchases.len());
        let mut items = HashMap::new();
        self.settle_restocks(sent, &mut items);
        self.settle_purchases(sent, &mut items);
        self.settle_stock(&items);
        let reason = |w: &Written| w.json()["reason"].as_str().unwrap_or("SUCCESS").to_owned();
        let reasons: Vec<String> = self.results.iter().map(reason).collect();
        format!(
            "{} purchases ({} of them sent again), {} restocks ({}), all answered once: {:?}",
            sent.purchases.len(),
            purchases,
            sent.restocks.len(),
            restocks,
            tally(reasons.iter().map(String::as_str)),
        )
    }

    fn lies_right(&self, written: &Written, item: &str) {
        assert_eq!(
            written.partition,
            partition_of(item.as_bytes(), self.partitions),
            "{written:?}"
        );
    }

    fn settle_restocks(&self, sent: &Sent, items: &mut HashMap<String, Item>) {
        let mut open = sent.restocks.clone();
        for answer in &self.answers {
            let json = answer.json();
            let (item, id) = key(answer, "restockId");
            self.lies_right(answer, &item);
            let quantity = open.remove(&(item.clone(), id));
            let (quantity, _) = quantity.unwrap_or_else(|| panic!("a second answer: {json}"));
            let row = items.entry(item).or_default();
            let status = if quantity < 1 { "FAILED" } else { "SUCCESS" };
            assert_eq!(json["status"], status, "{json}");
            row.supplied += quantity.max(0) as u64;
            assert_eq!(json["supplied"], row.supplied, "{json}");
        }
        none_open(open.keys(), "restocks without an answer");
    }

    fn settle_purchases(&self, sent: &Sent, items: &mut HashMap<String, Item>) {
        let mut open = sent.purchases.clone();
        for result in &self.results {
            let json = result.json();
            let (item, id) = key(result, "purchaseId");
            self.lies_right(result, &item);
            let purchase = open.remove(&(item.clone(), id));
            let (quantity, seen, _) = purchase.unwrap_or_else(|| panic!("a second result: {json}"));
            let row = items.entry(item).or_default();
            let number = |field: &str| json[field].as_u64().unwrap();
            let there = number("itemQuantity");
            assert!(there >= seen, "decided before {seen} acknowledged units were seen: {json}");
            assert!((row.last_seen..=row.supplied).contains(&there), "{json}");
            row.last_seen = there;
            assert_eq!(number("alreadyBooked"), row.booked, "{json}");
            let left = there.checked_sub(row.booked).unwrap();
            let reason = match u64::try_from(quantity) {
                Err(_) | Ok(0) => Some("INVALID_QUANTITY"),
                Ok(_) if there == 0 => Some("UNKNOWN_ITEM"),
                Ok(units) if units > left => Some("INSUFFICIENT_STOCK"),
                Ok(units) => {
                    row.booked += units;
                    None
                }
            };
            assert_eq!(json["reason"].as_str(), reason, "{json}");
            assert!(row.booked <= there, "oversold: {json}");
            assert_eq!(number("remaining"), there - row.booked, "{json}");
        }
        none_open(open.keys(), "purchases without a result");
    }

    fn settle_stock(&self, items: &HashMap<String, Item>) {
        let last: HashMap<&str, &Written> =
            self.stock.iter().map(|row| (row.key.as_str(), row)).collect();
        for (item, row) in items.iter().filter(|(_, row)| row.supplied > 0) {
            let json = last[item.as_str()].json();
            assert_eq!(json["supplied"], row.supplied, "{json}");
            assert_eq!(json["booked"], row.booked, "{json}");
        }
    }
}

fn key(written: &Written, id: &str) -> Key {
    let json = written.json();
    (json["itemId"].as_str().unwrap().to_owned(), json[id].as_str().unwrap().to_owned())
}

/// All that was sent is there; returns how many records are repetitions.
fn inputs(written: &[Written], id: &str, sent: usize) -> usize {
    let distinct: std::collections::HashSet<Key> = written.iter().map(|w| key(w, id)).collect();
    assert_eq!(distinct.len(), sent, "{id}: not all that was acknowledged is there");
    written.len() - distinct.len()
}

fn none_open<'a>(open: impl ExactSizeIterator<Item = &'a Key>, what: &str) {
    let count = open.len();
    let some: Vec<_> = open.take(5).collect();
    assert_eq!(count, 0, "{what}: {some:?}...");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(offset: u64, key: &str, value: &str) -> Written {
        Written {
            partition: 0,
            offset,
            timestamp: 0,
            key: key.to_owned(),
            raw: Some(value.as_bytes().to_vec()),
            value: value.to_owned(),
            headers: Vec::new(),
        }
    }

    fn purchase(offset: u64, id: &str, booked: u64, remaining: u64) -> Written {
        let value = format!(
            r#"{{"itemId":"i","purchaseId":"{id}","itemQuantity":3,"alreadyBooked":{booked},
            "remaining":{remaining},"reason":null}}"#
        );
        written(offset, id, &value)
    }

    fn settle(results: Vec<Written>) -> bool {
        let mut sent = Sent::default();
        sent.restock("i", "r", 3);
        ["a", "b"].into_iter().for_each(|id| sent.purchase("i", id, 1));
        let answer = r#"{"itemId":"i","restockId":"r","status":"SUCCESS","supplied":3}"#;
        let found = Found {
            restocks: vec![written(0, "i", r#"{"itemId":"i","restockId":"r"}"#)],
            purchases: vec![purchase(0, "a", 0, 0), purchase(1, "b", 0, 0), purchase(2, "a", 0, 0)],
            results,
            answers: vec![written(0, "r", answer)],
            stock: vec![written(0, "i", r#"{"supplied":3,"booked":2}"#)],
            dead: 0,
            partitions: 1,
        };
        std::panic::catch_unwind(|| found.settle(&sent)).is_ok()
    }

    #[test]
    fn only_a_balanced_account_passes() {
        let (a, b) = (purchase(0, "a", 0, 2), purchase(1, "b", 1, 1));
        assert!(settle(vec![a.clone(), b.clone()]));
        assert!(!settle(vec![a.clone(), b.clone(), purchase(2, "a", 2, 0)]), "a second result");
        assert!(!settle(vec![a.clone()]), "one is missing");
        assert!(!settle(vec![a, purchase(1, "b", 0, 2)]), "units that were booked already");
    }
}
