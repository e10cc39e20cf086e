//! What lies on a topic: [`Record`] (borrowed, as a processor sees it), [`Batch`] (many of them
//! in one buffer, as a broker hands them over) and [`Outgoing`] (one to be written).

use std::ops::Range;

/// A header with its value; `None` is a null value, which Kafka tells from an empty one.
pub type Header<'a> = (&'a str, Option<&'a [u8]>);

/// One record as it lies on its topic, borrowed from the [`Batch`] it came in.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Name of the topic.
    pub topic: &'a str,
    /// Partition number.
    pub partition: u32,
    /// Offset in the partition.
    pub offset: u64,
    /// Milliseconds since 1970-01-01 UTC, as its producer stamped it; see [`Record::time`].
    pub timestamp: i64,
    /// The key as it came.
    pub key: Option<&'a [u8]>,
    /// The value as it came; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers, in order.
    pub headers: Headers<'a>,
}

/// The earliest time that a record can be stamped with (ms since 1970). librdkafka stamps a record of
/// time 0 with the present (`rd_kafka_msg_new0`), and -1 is Kafka's word for none: so no broker here
/// takes either.
pub const TIME_MIN: i64 = 1;

impl Record<'_> {
    /// Its time: its timestamp, or [`TIME_MIN`] for one that is earlier, as other programs may write
    /// it.
    pub fn time(&self) -> i64 {
        self.timestamp.max(TIME_MIN)
    }
}

/// The headers of a [`Record`], in a flat encoding that needs no allocation to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headers<'a>(&'a [u8]);

/// Length that stands for a null value in the flat encoding.
const NULL: u32 = u32::MAX;

impl<'a> Headers<'a> {
    /// The headers in order.
    pub fn iter(self) -> impl Iterator<Item = Header<'a>> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let name_len = u16::from_le_bytes(take(&mut rest, 2)?.try_into().ok()?);
            let name = std::str::from_utf8(take(&mut rest, usize::from(name_len))?).ok()?;
            let value_len = u32::from_le_bytes(take(&mut rest, 4)?.try_into().ok()?);
            if value_len == NULL {
                return Some((name, None));
            }
            Some((name, Some(take(&mut rest, value_len as usize)?)))
        })
    }

    /// The value of the last header of this name (as Kafka's `lastHeader`), if it has one.
    pub fn get(self, name: &str) -> Option<&'a [u8]> {
        self.iter().filter(|(n, _)| *n == name).last().and_then(|(_, value)| value)
    }

    /// Appends `header` to a flat encoding. A name longer than 65,535 bytes is cut.
    pub(crate) fn encode(header: Header<'_>, into: &mut Vec<u8>) {
        let (name, value) = header;
        let name = &name.as_bytes()[..name.len().min(usize::from(u16::MAX))];
        into.extend_from_slice(&(name.len() as u16).to_le_bytes());
        into.extend_from_slice(name);
        into.extend_from_slice(&value.map_or(NULL, |v| v.len() as u32).to_le_bytes());
        into.extend_from_slice(value.unwrap_or_default());
    }

    /// Reads a flat encoding made by [`Headers::encode`].
    pub(crate) fn decode(bytes: &'a [u8]) -> Headers<'a> {
        Headers(bytes)
    }
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(count)?;
    *rest = tail;
    Some(head)
}

/// A record to be written. Its partition is always explicit: the engine computes it once.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Name of the topic.
    pub topic: &'a str,
    /// Partition number.
    pub partition: u32,
    /// Milliseconds since 1970-01-01 UTC.
    pub timestamp: i64,
    /// Key.
    pub key: Option<&'a [u8]>,
    /// Value; `None` writes a tombstone.
    pub value: Option<&'a [u8]>,
    /// Headers, in order.
    pub headers: &'a [Header<'a>],
}

impl Outgoing<'_> {
    /// Bytes that this record weighs against a buffer's bound.
    pub fn size(&self) -> usize {
        let headers: usize =
            self.headers.iter().map(|(n, v)| n.len() + v.map_or(0, <[u8]>::len) + 6).sum();
        self.key.map_or(0, <[u8]>::len) + self.value.map_or(0, <[u8]>::len) + headers + 24
    }
}

#[derive(Clone, Debug)]
struct Entry {
    offset: u64,
    timestamp: i64,
    /// Smallest timestamp from this record to the last one, once it was looked for.
    least: i64,
    key: Option<Range<u32>>,
    value: Option<Range<u32>>,
    headers: Range<u32>,
}

/// Records of one partition in one buffer: one allocation for many, reused between polls.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

impl Batch {
    /// Adds a record.
    pub fn push<'h>(
        &mut self,
        offset: u64,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl IntoIterator<Item = Header<'h>>,
    ) {
        let key = key.map(|k| self.append(k));
        let value = value.map(|v| self.append(v));
        let start = self.bytes.len() as u32;
        for header in headers {
            Headers::encode(header, &mut self.bytes);
        }
        let headers = start..self.bytes.len() as u32;
        let least = timestamp;
        self.entries.push(Entry { offset, timestamp, least, key, value, headers });
    }

    fn append(&mut self, bytes: &[u8]) -> Range<u32> {
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len() as u32
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it holds no record.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes held.
    pub fn size(&self) -> usize {
        self.bytes.len() + self.entries.len() * size_of::<Entry>()
    }

    /// Forgets the records and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
    }

    /// The record at `index`, as one of `topic` and `partition`.
    ///
    /// # Panics
    /// When `index` is not below [`Batch::len`].
    pub fn get<'a>(&'a self, index: usize, topic: &'a str, partition: u32) -> Record<'a> {
        let entry = &self.entries[index];
        let slice = |r: &Range<u32>| &self.bytes[r.start as usize..r.end as usize];
        Record {
            topic,
            partition,
            offset: entry.offset,
            timestamp: entry.timestamp,
            key: entry.key.as_ref().map(slice),
            value: entry.value.as_ref().map(slice),
            headers: Headers(slice(&entry.headers)),
        }
    }

    /// Offset and timestamp of the record at `index`.
    pub(crate) fn place(&self, index: usize) -> (u64, i64) {
        let entry = &self.entries[index];
        (entry.offset, entry.timestamp)
    }

    /// Looks for the smallest timestamp from each record to the last one; returns that of all.
    pub(crate) fn find_least(&mut self) -> i64 {
        let mut least = i64::MAX;
        for entry in self.entries.iter_mut().rev() {
            least = least.min(entry.timestamp);
            entry.least = least;
        }
        least
    }

    /// The smallest timestamp from the record at `index` on, after [`Batch::find_least`].
    pub(crate) fn least_from(&self, index: usize) -> i64 {
        self.entries[index].least
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_gives_back_what_was_pushed() {
        let mut batch = Batch::default();
        let headers = [("a", Some(&b"1"[..])), ("b", None), ("a", Some(&b""[..]))];
        batch.push(7, 1_000, None, Some(b"value"), headers);
        batch.push(9, -1, Some(b"key"), None, []);
        let first = batch.get(0, "t", 3);
        assert_eq!((first.offset, first.timestamp, first.partition), (7, 1_000, 3));
        assert_eq!((first.key, first.value), (None, Some(&b"value"[..])));
        assert_eq!(first.headers.iter().collect::<Vec<_>>(), headers);
        assert_eq!(first.headers.get("a"), Some(&b""[..]));
        assert_eq!((first.headers.get("b"), first.headers.get("c")), (None, None));
        let second = batch.get(1, "t", 3);
        assert_eq!((second.key, second.value), (Some(&b"key"[..]), None));
        assert_eq!(second.headers, Headers::default());
    }

    #[test]
    fn the_smallest_timestamp_from_each_record_on_is_found() {
        let mut batch = Batch::default();
        [5, 3, 9, 4, 4, 7].into_iter().for_each(|at| batch.push(0, at, None, None, []));
        assert_eq!(batch.find_least(), 3);
        let found: Vec<_> = (0..batch.len()).map(|index| batch.least_from(index)).collect();
        assert_eq!(found, [3, 3, 4, 4, 4, 7]);
        assert_eq!(Batch::default().find_least(), i64::MAX);
    }
}
