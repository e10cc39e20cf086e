//! How the embedded log lies on disk. A row holds a chunk of records of one partition, which follow
//! each other: their number, then each behind its length, all of them compressed together. Its key
//! is topic, partition and the offset of the first, big-endian, so that rows sort. The numbers
//! in a row are little-endian, of fixed width.

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

/// Bytes of records from which on a chunk takes no more. A row is written, merged and found at a
/// cost of its own, which many records share, and they shrink together; a fetch reads whole rows.
const CHUNK_BYTES: usize = 16 << 10;
/// Fewer do not get smaller by much.
const COMPRESS_BYTES_MIN: usize = 1 << 10;
/// Number of the records, and their bytes before they were compressed by lz4; none: they were not.
const HEAD_BYTES: usize = 8;

/// Chunks of records for one partition, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    bytes: Vec<u8>,
    /// Where each begins, and how many records it holds.
    starts: Vec<(usize, u32)>,
    /// The records of the one that is not full, and how many they are.
    open: Vec<u8>,
    count: u32,
    /// Of a compacted topic each record is a row as it is, so that it can go by itself.
    pub(super) is_compacted: bool,
}

impl Chunks {
    pub(super) fn new(is_compacted: bool) -> Chunks {
        Chunks { is_compacted, ..Chunks::default() }
    }

    pub(super) fn push(&mut self, record: &Outgoing<'_>) {
        let len_at = self.open.len();
        self.open.extend_from_slice(&[0; 4]);
        encode_record(record, &mut self.open);
        let len = (self.open.len() - len_at - 4) as u32;
        self.open[len_at..len_at + 4].copy_from_slice(&len.to_le_bytes());
        self.count += 1;
        if self.is_compacted || self.open.len() >= CHUNK_BYTES {
            self.close();
        }
    }

    /// Closes the last chunk.
    pub(super) fn close(&mut self) {
        if self.count == 0 {
            return;
        }
        let Self { bytes, starts, open, count, is_compacted } = self;
        starts.push((bytes.len(), *count));
        bytes.extend_from_slice(&count.to_le_bytes());
        let len_at = bytes.len();
        bytes.extend_from_slice(&0u32.to_le_bytes());
        let start = bytes.len();
        let compressed = (!*is_compacted && open.len() >= COMPRESS_BYTES_MIN).then(|| {
            bytes.resize(start + lz4::block::compress_bound(open.len()).ok()?, 0);
            lz4::block::compress_to_buffer(open, None, false, &mut bytes[start..]).ok()
        });
        match compressed.flatten().filter(|len| *len < open.len()) {
            Some(len) => {
                bytes.truncate(start + len);
                bytes[len_at..start].copy_from_slice(&(open.len() as u32).to_le_bytes());
            }
            None => {
                bytes.truncate(start);
                bytes.extend_from_slice(open);
            }
        }
        open.clear();
        *count = 0;
    }

    /// The closed chunks, and how many records each holds.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], u64)> {
        let ends = self.starts.iter().skip(1).map(|(start, _)| *start).chain([self.bytes.len()]);
        let starts = self.starts.iter().zip(ends);
        starts.map(|((start, count), end)| (&self.bytes[*start..end], u64::from(*count)))
    }
}

/// How many records a chunk holds.
pub(super) fn count_of(chunk: &[u8]) -> Option<u64> {
    Some(u64::from(number(chunk)?.0))
}

/// The bytes of each record of a chunk, which end early when it is damaged.
pub(super) struct Records<'a>(&'a [u8]);

impl<'a> Records<'a> {
    /// Opens a chunk. `buffer` is for what was compressed.
    pub(super) fn of(chunk: &'a [u8], buffer: &'a mut Vec<u8>) -> Option<Records<'a>> {
        let (len, bytes) = number(chunk.get(4..)?)?;
        if len == 0 {
            return Some(Records(bytes));
        }
        // More than lz4 can make of so few bytes is no length.
        let len = Some(len as usize).filter(|len| len / 256 <= bytes.len())?;
        buffer.resize(len, 0);
        let made = lz4::block::decompress_to_buffer(bytes, Some(len as i32), buffer).ok()?;
        (made == len).then_some(Records(buffer))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (len, behind) = number(self.0)?;
        let (record, behind) = behind.split_at_checked(len as usize)?;
        self.0 = behind;
        Some(record)
    }
}

fn encode_record(record: &Outgoing<'_>, into: &mut Vec<u8>) {
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
    let (timestamp, rest) = bytes.split_at_checked(8)?;
    let timestamp = i64::from_le_bytes(timestamp.try_into().ok()?);
    let (key, rest) = field(rest)?;
    let (value, rest) = field(rest)?;
    batch.push(offset, timestamp, key, value, Headers::decode(rest).iter());
    Some(())
}

/// The key of the record of a chunk of a compacted topic.
pub(super) fn key_of(chunk: &[u8]) -> Option<&[u8]> {
    // Behind the number of records, two lengths and the timestamp.
    field(chunk.get(HEAD_BYTES + 4 + 8..)?)?.0
}

fn field(bytes: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    match number(bytes)? {
        (NULL, rest) => Some((None, rest)),
        (len, rest) => rest.split_at_checked(len as usize).map(|(f, rest)| (Some(f), rest)),
    }
}

fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (head, rest) = bytes.split_at_checked(4)?;
    Some((u32::from_le_bytes(head.try_into().ok()?), rest))
}

/// A topic's row in the catalogue: id, partitions, cleanup and retention, bound of the future.
pub(super) fn encode_topic(id: u32, topic: &TopicDescription) -> String {
    let optional = |ms: Option<u64>| ms.map_or("-".to_owned(), |ms| ms.to_string());
    let (policy, retention) = match topic.cleanup {
        CleanupPolicy::Compact => ("compact", None),
        CleanupPolicy::Delete { retention_ms } => ("delete", retention_ms),
        CleanupPolicy::CompactAndDelete { retention_ms } => ("compact,delete", retention_ms),
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
        "compact,delete" => CleanupPolicy::CompactAndDelete { retention_ms },
        _ => CleanupPolicy::Delete { retention_ms },
    };
    let future_max_ms = words.next()?.parse().ok();
    Some((id, TopicDescription { name: name.to_owned(), partitions, cleanup, future_max_ms }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(value: &[u8]) -> Outgoing<'_> {
        let (topic, partition, timestamp, headers) = ("t", 0, 7, &[("h", None)]);
        Outgoing { topic, partition, timestamp, key: Some(b"key"), value: Some(value), headers }
    }

    /// What can be read of a chunk; `None` when it says itself that it is none.
    fn read(chunk: &[u8]) -> Option<Batch> {
        let (mut batch, mut buffer) = (Batch::default(), Vec::new());
        for (offset, bytes) in (0..).zip(Records::of(chunk, &mut buffer)?) {
            decode_record(offset, bytes, &mut batch)?;
        }
        (batch.len() as u64 == count_of(chunk)?).then_some(batch)
    }

    fn chunks(single: bool) -> Chunks {
        let mut chunks = Chunks::new(single);
        let value = [b'v'; 1_000];
        (0..100).for_each(|len| chunks.push(&record(&value[..10 * len])));
        chunks.close();
        chunks
    }

    #[test]
    fn records_come_out_of_their_chunks_as_they_went_in() {
        for single in [false, true] {
            let chunks = chunks(single);
            let (mut lens, mut bytes) = (Vec::new(), 0);
            for (chunk, count) in chunks.iter() {
                let batch = read(chunk).expect("a chunk");
                assert_eq!((batch.len() as u64, count_of(chunk)), (count, Some(count)));
                let records = (0..batch.len()).map(|index| batch.get(index, "t", 0));
                lens.extend(records.map(|r| r.value.map_or(0, <[u8]>::len)));
                bytes += chunk.len();
                assert_eq!(key_of(chunk).filter(|_| single), single.then_some(&b"key"[..]));
            }
            assert_eq!(lens, (0..100).map(|len| 10 * len).collect::<Vec<_>>());
            assert_eq!(chunks.iter().count(), if single { 100 } else { 4 });
            assert_eq!(bytes < 5_000, !single, "{bytes} bytes");
        }
    }

    /// RocksDB checks its blocks; what gets past that must not end the process.
    #[test]
    fn a_damaged_chunk_is_no_panic() {
        for single in [false, true] {
            let chunks = chunks(single);
            let (chunk, _) = chunks.iter().next().expect("a chunk");
            for at in 0..chunk.len() {
                assert!(read(&chunk[..at]).is_none(), "cut to {at} bytes");
                let mut damaged = chunk.to_vec();
                damaged[at] ^= 0xff;
                drop(read(&damaged));
            }
        }
    }
}
