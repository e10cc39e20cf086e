//! What the log knows besides records: topics with their bounds, and the groups' offsets.

use std::collections::BTreeMap;

use rocksdb::{DB, IteratorMode};

use super::codec;
use super::damage::{damaged, failed};
use super::log::{Bounds, META, OFFSET, RECORDS, START, TOPIC, Topic, family};
use crate::broker::coordinator::Coordinator;
use crate::broker::{CommittedOffset, Result, TopicPartition};

/// Rows of the catalogue whose key begins with `prefix`: the rest of the key, and the value.
pub(super) fn rows(db: &DB, prefix: &str) -> Result<Vec<(String, Box<[u8]>)>> {
    let mode = IteratorMode::From(prefix.as_bytes(), rocksdb::Direction::Forward);
    let mut found = Vec::new();
    for row in db.iterator_cf(family(db, META)?, mode) {
        let (key, value) = row.map_err(failed(db, "open"))?;
        if !key.starts_with(prefix.as_bytes()) {
            break;
        }
        found.push((String::from_utf8_lossy(&key).into_owned(), value));
    }
    Ok(found)
}

/// Topics with their bounds, and the groups' offsets, as they lie on the disk.
pub(super) fn read_catalogue(db: &DB) -> Result<(BTreeMap<String, Topic>, Coordinator)> {
    let unreadable = |row: &str| {
        damaged(db.path(), "open", None, &format!("the row {row:?} of its catalogue is none"))
    };
    let mut topics = BTreeMap::new();
    for (key, row) in rows(db, TOPIC)? {
        let name = &key[TOPIC.len()..];
        let (id, description) = codec::decode_topic(name, &row).ok_or_else(|| unreadable(&key))?;
        let partitions = (0..description.partitions).map(|p| TopicPartition::new(name, p));
        let partitions = partitions.map(|at| read_bounds(db, id, &at));
        let partitions = partitions.collect::<Result<_>>()?;
        topics.insert(name.to_owned(), Topic { id, description, partitions });
    }
    let mut coordinator = Coordinator::default();
    for (key, row) in rows(db, OFFSET)? {
        let parse = || {
            let mut words = key[OFFSET.len()..].split('\0');
            let (group, topic) = (words.next()?, words.next()?);
            let partition = words.next()?.parse().ok()?;
            let (offset, metadata) = std::str::from_utf8(&row).ok()?.split_once(' ')?;
            let metadata = metadata.to_owned();
            let committed = CommittedOffset { offset: offset.parse().ok()?, metadata };
            Some((group.to_owned(), TopicPartition::new(topic, partition), committed))
        };
        let (group, at, committed) = parse().ok_or_else(|| unreadable(&key))?;
        coordinator.set_offset(&group, at, committed);
    }
    Ok((topics, coordinator))
}

/// The bounds of a partition, as they lie on the disk.
pub(super) fn read_bounds(db: &DB, topic: u32, at: &TopicPartition) -> Result<Bounds> {
    let row = format!("{START}{topic}/{}", at.partition);
    let start = db.get_cf(family(db, META)?, row).map_err(failed(db, "open"))?;
    let start = start.and_then(|s| String::from_utf8(s).ok()?.parse().ok()).unwrap_or(0);
    let end = match row_until(db, (topic, at.partition, u64::MAX), "open")? {
        None => start,
        Some((first, chunk)) => {
            let behind = codec::count_of(&chunk).and_then(|count| first.checked_add(count));
            let cause = "its bytes are no record";
            behind.ok_or_else(|| damaged(db.path(), "open", Some((at, first)), cause))?
        }
    };
    Ok(Bounds { start, next: end, end })
}

/// The last row of a partition that begins at this offset or before it: its offset and its chunk.
pub(super) fn row_until(
    db: &DB,
    (topic, partition, offset): (u32, u32, u64),
    what: &'static str,
) -> Result<Option<(u64, Box<[u8]>)>> {
    let key = codec::record_key(topic, partition, offset);
    let mode = IteratorMode::From(&key, rocksdb::Direction::Reverse);
    let row = db.iterator_cf(family(db, RECORDS)?, mode).next().transpose();
    let row = row.map_err(failed(db, what))?;
    let row = row.filter(|(found, _)| found.starts_with(&key[..8]));
    Ok(row.map(|(found, chunk)| (codec::offset_of(&found).unwrap_or(u64::MAX), chunk)))
}
