//! The read side: the row of each item as of `stock`, and the answers of `restock-finished`.

use std::sync::Arc;

use bps_events::{RestockResult, StockRow};
use bps_service::Waiters;
use bps_service::feed::{Changes, Feed, Place, Position};
use bps_streams::global::{GlobalProcessor, GlobalView, Rows};
use bps_streams::partitioner::partition_of;
use bps_streams::{Record, STAMP, Stamp, store};
use tokio::sync::watch;

/// By itemId: place, sequence and JSON of the row.
const ITEMS: usize = 0;
/// By place: the item whose latest row this is.
const CHANGES: usize = 1;
/// By itemId, a zero byte (which no id holds) and restockId: sequence and JSON of the answer.
const RESTOCKS: usize = 2;

/// Most rows that one page looks at, however few of them are asked for.
const LOOK_MAX: usize = 10_000;

/// The row of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ItemRow {
    pub(crate) place: Place,
    /// How often it has changed.
    pub(crate) sequence: u64,
    pub(crate) json: String,
}

impl ItemRow {
    fn read(bytes: &[u8]) -> Option<ItemRow> {
        let (place, rest) = Place::read(bytes)?;
        let (sequence, json) = split_sequence(rest)?;
        Some(ItemRow { place, sequence, json: json.to_owned() })
    }

    fn is_available(&self) -> bool {
        serde_json::from_str::<StockRow<'_>>(&self.json).is_ok_and(|row| row.remaining > 0)
    }
}

fn split_sequence(bytes: &[u8]) -> Option<(u64, &str)> {
    let (sequence, json) = bytes.split_first_chunk()?;
    Some((u64::from_be_bytes(*sequence), std::str::from_utf8(json).ok()?))
}

fn restock_key(item_id: &[u8], restock_id: &[u8]) -> Vec<u8> {
    [item_id, &[0], restock_id].concat()
}

/// Keeps the rows.
pub(crate) struct Keeper {
    /// Topic of the answers; all else is rows.
    pub(crate) restock_finished: String,
    pub(crate) waiters: Arc<Waiters>,
    pub(crate) moved: watch::Sender<u64>,
}

impl Keeper {
    fn restocked(&self, stamp: &Stamp, value: &[u8], rows: &mut Rows<'_>) {
        if let Ok(answer) = serde_json::from_slice::<RestockResult<'_>>(value) {
            let key = restock_key(answer.item_id.as_bytes(), answer.restock_id.as_bytes());
            rows.put(RESTOCKS, &key, [&stamp.sequence.to_be_bytes(), value].concat());
        }
    }
}

impl GlobalProcessor for Keeper {
    fn tables(&self) -> &[&'static str] {
        &["items", "changes", "restocks"]
    }

    fn process(&self, record: &Record<'_>, rows: &mut Rows<'_>) -> store::Result<()> {
        // Who else may have written here does not count.
        let stamp = record.headers.get(STAMP).and_then(Stamp::decode);
        let (Some(stamp), Some(value), Some(key)) = (stamp, record.value, record.key) else {
            return Ok(());
        };
        if record.topic == self.restock_finished {
            self.restocked(&stamp, value, rows);
            return Ok(());
        }
        let place = Place { partition: record.partition, offset: record.offset };
        if let Some(former) = rows.get(ITEMS, key)?.and_then(|row| Place::read(&row).map(|r| r.0)) {
            rows.delete(CHANGES, &former.key());
        }
        let row = [&place.key()[..], &stamp.sequence.to_be_bytes(), value].concat();
        rows.put(ITEMS, key, row);
        rows.put(CHANGES, &place.key(), key);
        Ok(())
    }

    /// All that wait, wait for an item.
    fn applied(&self, record: &Record<'_>) {
        if record.topic != self.restock_finished {
            self.waiters.wake(record.key.unwrap_or_default());
        } else if self.waiters.count() > 0
            && let Some(value) = record.value
            && let Ok(answer) = serde_json::from_slice::<RestockResult<'_>>(value)
        {
            self.waiters.wake(answer.item_id.as_bytes());
        }
    }

    fn advanced(&self) {
        self.moved.send_modify(|count| *count += 1);
    }
}

/// Looks into the rows.
#[derive(Clone)]
pub(crate) struct Stock {
    pub(crate) view: Arc<GlobalView>,
    pub(crate) topic: Arc<str>,
    pub(crate) moved: watch::Receiver<u64>,
}

/// Which items a page shows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub(crate) prefix: String,
    pub(crate) only_available: bool,
}

impl Stock {
    pub(crate) fn find(&self, item_id: &str) -> store::Result<Option<ItemRow>> {
        Ok(self.view.get(ITEMS, item_id.as_bytes())?.and_then(|row| ItemRow::read(&row)))
    }

    /// The answer to a restock: the sequence of its item's row by then, and its JSON.
    pub(crate) fn answer(
        &self,
        item_id: &str,
        restock_id: &str,
    ) -> store::Result<Option<(u64, String)>> {
        let key = restock_key(item_id.as_bytes(), restock_id.as_bytes());
        let row = self.view.get(RESTOCKS, &key)?;
        Ok(row.and_then(|row| split_sequence(&row).map(|(at, json)| (at, json.to_owned()))))
    }

    /// Rows in the order of their items, and the item where the next page begins.
    pub(crate) fn page(
        &self,
        filter: &Filter,
        from: Option<&[u8]>,
        limit: usize,
    ) -> store::Result<(Vec<ItemRow>, Option<Vec<u8>>)> {
        let prefix = filter.prefix.as_bytes();
        let begin = from.unwrap_or_default().max(prefix);
        let (mut rows, mut next, mut looked) = (Vec::new(), None, 0);
        self.view.scan(ITEMS, begin, &mut |item, row| {
            if !item.starts_with(prefix) {
                return false;
            }
            if rows.len() == limit || looked == LOOK_MAX {
                next = Some(item.to_vec());
                return false;
            }
            looked += 1;
            let row = ItemRow::read(row).filter(|row| !filter.only_available || row.is_available());
            rows.extend(row);
            true
        })?;
        Ok((rows, next))
    }

    /// The place of the next record that the row of an item could have; `None` while nothing is
    /// known. Asked before the row is read: the row is at least as new.
    pub(crate) fn place(&self, item_id: &str) -> Option<Place> {
        let position = self.position();
        let partitions = position.partitions();
        (partitions > 0).then(|| position.place(partition_of(item_id.as_bytes(), partitions)))
    }

    pub(crate) fn position(&self) -> Position {
        Position::of(&self.topic, &self.view.positions())
    }
}

impl Feed for Stock {
    fn event(&self) -> &'static str {
        "item"
    }

    fn position(&self) -> Position {
        Stock::position(self)
    }

    fn moved(&self) -> watch::Receiver<u64> {
        self.moved.clone()
    }

    fn changes(&self, from: Place, max: usize) -> store::Result<Changes> {
        let (mut items, mut next, mut are_more) = (Vec::new(), from.offset, false);
        self.view.scan(CHANGES, &from.key(), &mut |at, item| {
            let place = Place::read(at).map(|(place, _)| place);
            let Some(place) = place.filter(|place| place.partition == from.partition) else {
                return false;
            };
            are_more = items.len() == max;
            if !are_more {
                next = place.offset + 1;
                items.push((place, item.to_vec()));
            }
            !are_more
        })?;
        let mut found = Vec::new();
        for (place, item) in items {
            let row = self.view.get(ITEMS, &item)?.and_then(|row| ItemRow::read(&row));
            // A later row comes in its own place.
            found.extend(row.filter(|row| row.place == place).map(|r| (place.offset, r.json)));
        }
        Ok(Changes { found, next, are_more })
    }
}
