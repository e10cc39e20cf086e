//! The read side: all results of `purchase-finished`, by id, by buyer and in their order.

use std::sync::Arc;

use bps_events::PurchaseResult;
use bps_service::Waiters;
use bps_service::feed::{Changes, Feed, Place, Position};
use bps_streams::global::{GlobalProcessor, GlobalView, Rows};
use bps_streams::stamp::STAMP;
use bps_streams::{Record, store};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

/// By purchaseId, a zero byte (which no id holds) and itemId: place, time and JSON of the result.
const RESULTS: usize = 0;
/// By place: the key of the result.
const ORDER: usize = 1;
/// By buyer, newest first: the key of the result. Those of one millisecond lie by partition: offsets
/// of two partitions tell no order.
const BUYERS: usize = 2;

/// Bytes of a key of [`BUYERS`] that stand for the buyer, whose name may be of any length.
const BUYER_BYTES: usize = 16;
/// Bytes after that: inverted time, partition, inverted offset.
const NEWEST_FIRST_BYTES: usize = 20;

/// A result, and where it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) place: Place,
    pub(crate) json: String,
}

/// A part of a buyer's purchases, and the key where the next part begins.
pub(crate) type Part = (Vec<Found>, Option<Vec<u8>>);

fn key(purchase_id: &[u8], item_id: &[u8]) -> Vec<u8> {
    [purchase_id, &[0], item_id].concat()
}

fn buyer_key(buyer: &str) -> Vec<u8> {
    Sha256::digest(buyer.as_bytes())[..BUYER_BYTES].to_vec()
}

fn newest_first(buyer: &str, time: i64, place: Place) -> Vec<u8> {
    let mut key = buyer_key(buyer);
    // Times are not negative: the log takes none from before 1970.
    key.extend_from_slice(&(!(time.max(0) as u64)).to_be_bytes());
    key.extend_from_slice(&place.partition.to_be_bytes());
    key.extend_from_slice(&(!place.offset).to_be_bytes());
    key
}

/// Keeps the rows.
pub(crate) struct Keeper {
    pub(crate) waiters: Arc<Waiters>,
    pub(crate) moved: watch::Sender<u64>,
}

impl GlobalProcessor for Keeper {
    fn tables(&self) -> &[&'static str] {
        &["results", "order", "buyers"]
    }

    fn process(&self, record: &Record<'_>, rows: &mut Rows<'_>) -> store::Result<()> {
        let Some((value, result)) = read(record) else {
            return Ok(());
        };
        let place = Place { partition: record.partition, offset: record.offset };
        let key = key(result.purchase_id.as_bytes(), result.item_id.as_bytes());
        // A second result comes only where decided ids are not remembered for ever.
        if let Some(former) = rows.get(RESULTS, &key)? {
            forget(&former, rows);
        }
        let buyers = newest_first(&result.purchased_by, record.timestamp, place);
        let time = record.timestamp.to_be_bytes();
        rows.put(RESULTS, &key, [&place.key()[..], &time, value].concat());
        rows.put(ORDER, &place.key(), key.clone());
        rows.put(BUYERS, &buyers, key);
        Ok(())
    }

    fn applied(&self, record: &Record<'_>) {
        if let Some(purchase_id) = record.key {
            self.waiters.wake(purchase_id);
        }
    }

    fn advanced(&self) {
        self.moved.send_modify(|count| *count += 1);
    }
}

/// A record that a processor of ours wrote; others may lie in the topic.
fn read<'r>(record: &Record<'r>) -> Option<(&'r [u8], PurchaseResult<'r>)> {
    record.headers.get(STAMP)?;
    let value = record.value?;
    Some((value, serde_json::from_slice(value).ok()?))
}

/// Place, time and JSON.
fn split(row: &[u8]) -> Option<(Place, i64, &str)> {
    let (place, rest) = Place::read(row)?;
    let (time, json) = rest.split_first_chunk()?;
    Some((place, i64::from_be_bytes(*time), std::str::from_utf8(json).ok()?))
}

fn forget(row: &[u8], rows: &mut Rows<'_>) {
    let Some((place, time, json)) = split(row) else {
        return;
    };
    rows.delete(ORDER, &place.key());
    if let Ok(result) = serde_json::from_str::<PurchaseResult<'_>>(json) {
        rows.delete(BUYERS, &newest_first(&result.purchased_by, time, place));
    }
}

/// Looks into the rows.
#[derive(Clone)]
pub(crate) struct Ledger {
    pub(crate) view: Arc<GlobalView>,
    pub(crate) topic: Arc<str>,
    pub(crate) moved: watch::Receiver<u64>,
}

impl Ledger {
    pub(crate) fn find(&self, purchase_id: &str, item_id: &str) -> store::Result<Option<Found>> {
        self.get(&key(purchase_id.as_bytes(), item_id.as_bytes()))
    }

    /// All results with this id, whatever the item.
    pub(crate) fn find_all(&self, purchase_id: &str) -> store::Result<Vec<Found>> {
        let prefix = key(purchase_id.as_bytes(), b"");
        let mut found = Vec::new();
        self.view.scan(RESULTS, &prefix, &mut |key, row| {
            let is_one = key.starts_with(&prefix);
            found.extend(is_one.then(|| read_row(row)).flatten());
            is_one
        })?;
        Ok(found)
    }

    /// A buyer's purchases, newest first, from the key of an earlier part on.
    pub(crate) fn of_buyer(
        &self,
        buyer: &str,
        from: Option<&[u8]>,
        limit: usize,
    ) -> store::Result<Part> {
        let prefix = buyer_key(buyer);
        let begin = [&prefix, from.unwrap_or_default()].concat();
        let (mut keys, mut next) = (Vec::new(), None);
        self.view.scan(BUYERS, &begin, &mut |key, row| {
            let Some(rest) = key.strip_prefix(&*prefix) else {
                return false;
            };
            if keys.len() == limit {
                next = Some(rest.to_vec());
                return false;
            }
            keys.push(row.to_vec());
            true
        })?;
        let found = keys.iter().map(|key| self.get(key));
        let found: Vec<_> = found.collect::<store::Result<_>>()?;
        Ok((found.into_iter().flatten().collect(), next))
    }

    /// Whether these bytes can be where a part begins.
    pub(crate) fn is_part(from: &[u8]) -> bool {
        from.len() == NEWEST_FIRST_BYTES
    }

    pub(crate) fn position(&self) -> Position {
        Position::of(&self.topic, &self.view.positions())
    }

    fn get(&self, key: &[u8]) -> store::Result<Option<Found>> {
        Ok(self.view.get(RESULTS, key)?.and_then(|row| read_row(&row)))
    }
}

fn read_row(row: &[u8]) -> Option<Found> {
    let (place, _, json) = split(row)?;
    Some(Found { place, json: json.to_owned() })
}

/// The results in their order, of all or of one buyer.
pub(crate) struct Results {
    pub(crate) ledger: Ledger,
    pub(crate) buyer: Option<String>,
}

impl Results {
    fn is_asked_for(&self, json: &str) -> bool {
        let Some(buyer) = &self.buyer else {
            return true;
        };
        let result = serde_json::from_str::<PurchaseResult<'_>>(json);
        result.is_ok_and(|result| result.purchased_by == *buyer)
    }
}

impl Feed for Results {
    fn event(&self) -> &'static str {
        "result"
    }

    fn position(&self) -> Position {
        self.ledger.position()
    }

    fn moved(&self) -> watch::Receiver<u64> {
        self.ledger.moved.clone()
    }

    fn changes(&self, from: Place, max: usize) -> store::Result<Changes> {
        let (mut keys, mut next, mut are_more) = (Vec::new(), from.offset, false);
        self.ledger.view.scan(ORDER, &from.key(), &mut |at, key| {
            let place = Place::read(at).map(|(place, _)| place);
            let Some(place) = place.filter(|place| place.partition == from.partition) else {
                return false;
            };
            are_more = keys.len() == max;
            if !are_more {
                next = place.offset + 1;
                keys.push((place, key.to_vec()));
            }
            !are_more
        })?;
        let mut found = Vec::new();
        for (place, key) in keys {
            let row = self.ledger.get(&key)?;
            let row = row.filter(|row| row.place == place && self.is_asked_for(&row.json));
            found.extend(row.map(|row| (place.offset, row.json)));
        }
        Ok(Changes { found, next, are_more })
    }
}
