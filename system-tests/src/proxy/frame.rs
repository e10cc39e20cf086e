//! Just enough of Kafka's protocol: frames, heads of requests, and the few requests and answers
//! that the proxy must understand.

use std::io::{self, Read};

/// Longest frame that is taken (a fetch of all partitions); the proxy holds one in each direction
/// of a connection.
const FRAME_MAX: usize = 64 << 20;
/// Bytes before the body of a frame.
const LENGTH: usize = 4;

/// What a request asks for.
pub mod api {
    /// Records are written.
    pub const PRODUCE: i16 = 0;
    /// Records are read.
    pub const FETCH: i16 = 1;
    /// Where logs begin and end.
    pub const LIST_OFFSETS: i16 = 2;
    /// Brokers, topics, partitions.
    pub const METADATA: i16 = 3;
    /// Where a group or a transaction is led.
    pub const FIND_COORDINATOR: i16 = 10;
    /// Partitions join a transaction.
    pub const ADD_PARTITIONS: i16 = 24;
    /// A group's offsets join a transaction.
    pub const ADD_OFFSETS: i16 = 25;
    /// A transaction is committed or aborted.
    pub const END_TXN: i16 = 26;
    /// A group's offsets, within a transaction.
    pub const TXN_OFFSET_COMMIT: i16 = 28;
}

/// Reads one frame with its length in front; `None` at the end of the stream.
///
/// # Errors
/// A stream that ends within a frame, or a frame that is longer than the bound.
pub fn read(stream: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut frame = vec![0; LENGTH];
    if let Err(error) = stream.read_exact(&mut frame) {
        let ended = error.kind() == io::ErrorKind::UnexpectedEof;
        return if ended { Ok(None) } else { Err(error) };
    }
    let length = u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]) as usize;
    if length > FRAME_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a frame of Kafka's"));
    }
    frame.resize(LENGTH + length, 0);
    stream.read_exact(&mut frame[LENGTH..])?;
    Ok(Some(frame))
}

/// The head of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// What is asked, see [`api`].
    pub api: i16,
    /// In which version.
    pub version: i16,
    /// The number that the answer will carry.
    pub correlation: i32,
}

impl Head {
    /// Of a frame that a client has sent; `None` where it is no request.
    pub fn parse(frame: &[u8]) -> Option<Head> {
        let mut fields = Fields(frame.get(LENGTH..)?);
        Some(Head { api: fields.i16()?, version: fields.i16()?, correlation: fields.i32()? })
    }

    /// Whether its body has variable lengths and tags.
    fn is_flexible(self) -> bool {
        let first = match self.api {
            api::PRODUCE => 9,
            api::METADATA => 9,
            _ => 3,
        };
        self.version >= first
    }

    /// The fields after the head.
    fn fields(self, frame: &[u8]) -> Option<Fields<'_>> {
        let mut fields = Fields(frame.get(LENGTH + 8..)?);
        fields.string()?; // the client's name is never of variable length
        if self.is_flexible() {
            fields.tags()?;
        }
        Some(fields)
    }

    /// The transaction that a request belongs to.
    pub fn transactional_id(self, frame: &[u8]) -> Option<&str> {
        let ours = [
            api::PRODUCE,
            api::ADD_PARTITIONS,
            api::ADD_OFFSETS,
            api::END_TXN,
            api::TXN_OFFSET_COMMIT,
        ];
        if !ours.contains(&self.api) {
            return None;
        }
        let mut fields = self.fields(frame)?;
        if self.is_flexible() { fields.compact_string()? } else { fields.string()? }
    }

    /// Whether an EndTxn is to commit.
    pub fn is_commit(self, frame: &[u8]) -> bool {
        let committed = || {
            let mut fields = self.fields(frame)?;
            if self.is_flexible() {
                fields.compact_string()?
            } else {
                fields.string()?
            };
            fields.take(8 + 2)?; // who the producer is, and its epoch
            Some(fields.take(1)?[0] == 1)
        };
        self.api == api::END_TXN && committed().unwrap_or(false)
    }

    /// The error code in the answer to an EndTxn.
    pub fn end_txn_error(self, answer: &[u8]) -> Option<i16> {
        let mut fields = Fields(answer.get(LENGTH..)?);
        fields.i32()?;
        if self.is_flexible() {
            fields.tags()?;
        }
        fields.i32()?; // for how long the broker throttles
        fields.i16()
    }
}

impl Head {
    /// Writes an error into an answer that brings records or tells offsets, for each partition that
    /// `refuses` has one for; returns for how many. A client passes over what else is said of it. An
    /// answer that is not understood stays as it is.
    pub fn refuse(self, answer: &mut [u8], mut refuses: impl FnMut(i32) -> Option<i16>) -> u64 {
        let mut count = 0;
        for (partition, at) in self.errors(answer).unwrap_or_default() {
            if let Some(error) = refuses(partition) {
                answer[at..at + 2].copy_from_slice(&error.to_be_bytes());
                count += 1;
            }
        }
        count
    }

    /// Partitions in such an answer, and where the error of each stands.
    fn errors(self, answer: &[u8]) -> Option<Vec<(i32, usize)>> {
        // librdkafka asks in the newest versions that it knows.
        let is_fetch = match (self.api, self.version) {
            (api::FETCH, 13..=16) => true,
            (api::LIST_OFFSETS, 6..=7) => false,
            _ => return None,
        };
        let mut found = Vec::new();
        let mut fields = Fields(answer.get(LENGTH..)?);
        fields.i32()?; // of which request
        fields.tags()?;
        fields.take(if is_fetch { 4 + 2 + 4 } else { 4 })?; // throttle, error of the whole, session
        for _ in 0..fields.count()? {
            // A topic, by its id or its name.
            if is_fetch {
                fields.take(16)?;
            } else {
                fields.compact_string()?;
            }
            for _ in 0..fields.count()? {
                let partition = fields.i32()?;
                found.push((partition, answer.len() - fields.0.len()));
                fields.i16()?;
                if is_fetch {
                    fields.take(8 + 8 + 8)?; // high watermark, last stable offset, first offset
                    for _ in 0..fields.count()? {
                        fields.take(8 + 8)?; // an aborted transaction
                        fields.tags()?;
                    }
                    fields.i32()?; // which replica to ask
                    let records = fields.count()?;
                    fields.take(records)?;
                } else {
                    fields.take(8 + 8 + 4)?; // timestamp, offset, epoch of the leader
                }
                fields.tags()?;
            }
            fields.tags()?;
        }
        fields.tags()?;
        Some(found)
    }
}

/// The number of the request that an answer is for.
pub fn correlation(answer: &[u8]) -> Option<i32> {
    Fields(answer.get(LENGTH..)?).i32()
}

/// Replaces the broker's port wherever it stands behind its host: that is how an address looks in
/// every version of the answers that name brokers. The length stays.
pub fn readdress(answer: &mut [u8], host: &str, from: u16, to: u16) -> usize {
    let old = [host.as_bytes(), &u32::from(from).to_be_bytes()].concat();
    let mut count = 0;
    let mut at = LENGTH;
    while let Some(found) = answer[at..].windows(old.len()).position(|bytes| bytes == old) {
        at += found + old.len();
        answer[at - 4..at].copy_from_slice(&u32::from(to).to_be_bytes());
        count += 1;
    }
    count
}

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn i16(&mut self) -> Option<i16> {
        Some(i16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn i32(&mut self) -> Option<i32> {
        Some(i32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn unsigned(&mut self) -> Option<usize> {
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let byte = self.take(1)?[0];
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// The length of an array or of bytes; null is as none.
    fn count(&mut self) -> Option<usize> {
        Some(self.unsigned()?.saturating_sub(1))
    }

    /// `Some(None)` is the null string.
    fn string(&mut self) -> Option<Option<&'a str>> {
        match usize::try_from(self.i16()?) {
            Ok(length) => Some(Some(std::str::from_utf8(self.take(length)?).ok()?)),
            Err(_) => Some(None),
        }
    }

    fn compact_string(&mut self) -> Option<Option<&'a str>> {
        match self.unsigned()?.checked_sub(1) {
            Some(length) => Some(Some(std::str::from_utf8(self.take(length)?).ok()?)),
            None => Some(None),
        }
    }

    fn tags(&mut self) -> Option<()> {
        for _ in 0..self.unsigned()? {
            self.unsigned()?;
            let length = self.unsigned()?;
            self.take(length)?;
        }
        Some(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A request of a client named `c`.
    pub(in super::super) fn request(api: i16, version: i16, body: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; LENGTH];
        frame.extend(api.to_be_bytes());
        frame.extend(version.to_be_bytes());
        frame.extend(77_i32.to_be_bytes());
        frame.extend([0, 1, b'c']);
        frame.extend(body);
        let length = (frame.len() - LENGTH) as u32;
        frame[..LENGTH].copy_from_slice(&length.to_be_bytes());
        frame
    }

    /// A commit of the transactions of `t`, as librdkafka asks for it.
    pub(in super::super) fn end_txn(is_commit: bool) -> Vec<u8> {
        let body = [&[0, 1, b't'][..], &[0; 10], &[u8::from(is_commit)]].concat();
        request(api::END_TXN, 1, &body)
    }

    /// Records of the transactional producer `t`.
    pub(in super::super) fn produce() -> Vec<u8> {
        request(api::PRODUCE, 10, &[0, 2, b't', 0, 0])
    }

    #[test]
    fn a_stream_is_read_frame_by_frame() {
        let (first, second) = (end_txn(true), produce());
        let mut stream = io::Cursor::new([first.clone(), second.clone()].concat());
        assert_eq!(read(&mut stream).unwrap(), Some(first.clone()));
        assert_eq!(read(&mut stream).unwrap(), Some(second));
        assert_eq!(read(&mut stream).unwrap(), None);
        assert!(read(&mut &first[..9]).is_err(), "it ends within a frame");
        assert!(read(&mut &b"GET / HTTP/1.1"[..]).is_err(), "no Kafka");
    }

    #[test]
    fn transactional_requests_are_understood_in_old_and_new_versions() {
        let check = |frame: &[u8], id: Option<&str>, is_commit| {
            let head = Head::parse(frame).unwrap();
            assert_eq!((head.correlation, head.transactional_id(frame)), (77, id), "{head:?}");
            assert_eq!(head.is_commit(frame), is_commit, "{head:?}");
        };
        check(&end_txn(true), Some("t"), true);
        check(&end_txn(false), Some("t"), false);
        let tag = [1, 0, 2, 9, 9];
        let flexible = [&tag[..], &[2, b't'], &[0; 10], &[1, 0]].concat();
        check(&request(api::END_TXN, 3, &flexible), Some("t"), true);
        check(&produce(), Some("t"), false);
        check(&request(api::PRODUCE, 7, &[0, 1, b't']), Some("t"), false);
        check(&request(api::PRODUCE, 7, &[255, 255]), None, false);
        check(&request(api::PRODUCE, 9, &[0, 0]), None, false);
        check(&request(api::TXN_OFFSET_COMMIT, 3, &[0, 2, b't']), Some("t"), false);
        check(&request(api::METADATA, 12, &[0, 2, b't']), None, false);
        // Cut anywhere, nothing panics.
        let whole = request(api::END_TXN, 3, &flexible);
        for end in 0..whole.len() {
            if let Some(head) = Head::parse(&whole[..end]) {
                head.transactional_id(&whole[..end]);
                assert!(!head.is_commit(&whole[..end]) || end == whole.len() - 1);
            }
        }
    }

    #[test]
    fn the_answer_to_an_end_tells_its_error() {
        let head = |version| Head { api: api::END_TXN, version, correlation: 7 };
        let old = [0, 0, 0, 10, 0, 0, 0, 7, 0, 0, 0, 0, 0, 47];
        assert_eq!(correlation(&old), Some(7));
        assert_eq!(head(1).end_txn_error(&old), Some(47));
        let new = [0, 0, 0, 11, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 90];
        assert_eq!(head(3).end_txn_error(&new), Some(90));
        assert_eq!(head(3).end_txn_error(&new[..9]), None);
    }

    /// An answer of two topics with partitions 5 and 6, the other fields of a partition as told.
    fn answer_of(whole: &[u8], topic: &[u8], rest: &[u8]) -> Vec<u8> {
        let partition = |n: u8| [&[0, 0, 0, n, 0, 0], rest].concat();
        let topic = [topic, &[3], &partition(5), &partition(6), &[0]].concat();
        [&[0, 0, 0, 0, 0, 0, 0, 77, 0], whole, &[3], &topic, &topic, &[0]].concat()
    }

    #[test]
    fn partitions_are_refused_in_answers() {
        let aborted = [&[2][..], &[0; 16], &[0]].concat();
        let records = [4, b'a', b'b', b'c'];
        let rest = [&[0; 24][..], &aborted, &[0; 4], &records, &[1, 0, 2, 9, 9]].concat();
        let head = |api, version| Head { api, version, correlation: 77 };
        let fetched = answer_of(&[0; 10], &[7; 16], &rest);
        let offsets = answer_of(&[0; 4], &[2, b't'], &[&[0; 20][..], &[0]].concat());
        for (head, before) in
            [(head(api::FETCH, 16), fetched), (head(api::LIST_OFFSETS, 7), offsets)]
        {
            let refuses = |partition| (partition == 6).then_some(-1);
            let mut answer = before.clone();
            assert_eq!(head.refuse(&mut answer, refuses), 2, "{head:?}: once in each topic");
            let changed = (0..answer.len()).filter(|n| answer[*n] != before[*n]);
            for (n, at) in changed.enumerate() {
                assert_eq!(before[at - 1 - n % 2], 6, "{head:?}: behind the partition's number");
            }
            // Cut anywhere, nothing panics, and nothing is written.
            for end in 0..before.len() {
                let mut cut = before[..end].to_vec();
                assert_eq!(head.refuse(&mut cut, refuses), 0, "{head:?}: {end}");
            }
            let unknown = Head { version: 99, ..head };
            assert_eq!(unknown.refuse(&mut answer, refuses), 0);
        }
    }

    #[test]
    fn a_brokers_address_becomes_the_proxys() {
        let at = |port: u32| [&b"\x0a127.0.0.1"[..], &port.to_be_bytes()].concat();
        let mut answer = [&[0; 8][..], &at(9092), &[1, 2], &at(9093), &at(9092)].concat();
        assert_eq!(readdress(&mut answer, "127.0.0.1", 9092, 50_000), 2);
        assert_eq!(answer, [&[0; 8][..], &at(50_000), &[1, 2], &at(9093), &at(50_000)].concat());
    }
}
