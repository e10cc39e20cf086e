//! How the embedded log lies on disk: keys that sort by topic, partition and offset; values with
//! fixed-width lengths. Numbers in keys are big-endian, so that they sort.

use crate::broker::{CleanupPolicy, TopicDescription};
use crate::record::{Batch, Headers, Outgoing};

const NULL: u32 = u32::MAX;

pub(super) fn record_key(topic: u32, partition: u32, offset: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..4].copy_from_slice(&topic.to_be_bytes());
    key[4..8].copy_from_slice(&partition.to_be_bytes());
    key[8..].copy_from_slice(&offset.to_be_bytes());
    key
}

pub(super) fn offset_of(record_key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(record_key.get(8..16)?.try_into().ok()?))
}

/// Key of the index from a record's key to its last offset (compacted topics only).
pub(super) fn latest_key(topic: u32, partition: u32, key: &[u8]) -> Vec<u8> {
    [&topic.to_be_bytes(), &partition.to_be_bytes(), key].concat()
}

pub(super) fn encode_record(record: &Outgoing<'_>, into: &mut Vec<u8>) {
    into.extend_from_slice(&record.timestamp.to_le_bytes());
    for field in [record.key, record.value] {
        into.extend_from_slice(&field.map_or(NULL, |f| f.len() as u32).to_le_bytes());
        into.extend_from_slice(field.unwrap_or_default());
    }
    for header in record.headers {
        Headers::encode(*header, into);
    }
}

/// Adds a stored record to `batch`; `None` when the bytes are not one.
pub(super) fn decode_record(offset: u64, bytes: &[u8], batch: &mut Batch) -> Option<()> {
    let (timestamp, rest) = timestamp_of(bytes)?;
    let (key, rest) = field(rest)?;
    let (value, rest) = field(rest)?;
    batch.push(offset, timestamp, key, value, Headers::decode(rest).iter());
    Some(())
}

/// The timestamp of a stored record, and what follows it.
pub(super) fn timestamp_of(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let (head, rest) = bytes.split_at_checked(8)?;
    Some((i64::from_le_bytes(head.try_into().ok()?), rest))
}

fn field(bytes: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let (head, rest) = bytes.split_at_checked(4)?;
    match u32::from_le_bytes(head.try_into().ok()?) {
        NULL => Some((None, rest)),
        len => rest.split_at_checked(len as usize).map(|(f, rest)| (Some(f), rest)),
    }
}

/// A topic's row in the catalogue: id, partitions, cleanup and retention, bound of the future.
pub(super) fn encode_topic(id: u32, topic: &TopicDescription) -> String {
    let optional = |ms: Option<u64>| ms.map_or("-".to_owned(), |ms| ms.to_string());
    let (policy, retention) = match topic.cleanup {
        CleanupPolicy::Compact => ("compact", None),
        CleanupPolicy::Delete { retention_ms } => ("delete", retention_ms),
    };
    let (retention, future) = (optional(retention), optional(topic.future_max_ms));
    format!("{id} {} {policy} {retention} {future}", topic.partitions)
}

pub(super) fn decode_topic(name: &str, row: &[u8]) -> Option<(u32, TopicDescription)> {
    let mut words = std::str::from_utf8(row).ok()?.split(' ');
    let id = words.next()?.parse().ok()?;
    let partitions = words.next()?.parse().ok()?;
    let policy = words.next()?;
    let retention_ms = words.next()?.parse().ok();
    let cleanup = match policy {
        "compact" => CleanupPolicy::Compact,
        _ => CleanupPolicy::Delete { retention_ms },
    };
    let future_max_ms = words.next()?.parse().ok();
    Some((id, TopicDescription { name: name.to_owned(), partitions, cleanup, future_max_ms }))
}
