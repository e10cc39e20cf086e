//! The stamp: one compact binary header on every record that a task writes. It says from which
//! record and at which positions of the inputs it was written, by which incarnation of the task,
//! and of which state of the row it speaks. Rows without it were written by someone else.
//!
//! Layout, version 2: one byte of version, two of which inputs they are (little endian); then as
//! unsigned LEB128: partition of the writer + 1 (0: the record's own), due clock, running clock,
//! incarnation, row sequence, input number + 1 (0: no single record), offset of that record, number of
//! inputs, their positions (next offset to read, after that record); then the memo, to the end.
//! Version 1, which is read too, begins with the incarnation.

/// Name of the header.
pub const STAMP: &str = "stamp";

/// The header that says which request a record belongs to (W3C Trace Context). What a processor
/// sends of a record, and a record that is sent on to its partition, carry it as it is.
pub const TRACE: &str = "traceparent";
const VERSION: u8 = 2;
const FIRST_VERSION: u8 = 1;

/// What stands in the header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Grows with each takeover of the partition: a falling one betrays a zombie.
    pub incarnation: u64,
    /// How often the row that the record speaks of had changed; 0: there is no row (any more). A
    /// row that is put again after it was deleted counts from 1 again: which of a changelog's
    /// records of one key is the last, only their offsets say.
    pub sequence: u64,
    /// The record that caused this one: number of the input and offset. `None` for the rows that
    /// a commit writes.
    pub source: Option<(u32, u64)>,
    /// Next offset to read of every input of the task, by number.
    pub positions: Vec<u64>,
    /// Which inputs those are: a fingerprint of their names. `None` in stamps of version 1.
    pub inputs: Option<u16>,
    /// The partition of the task that wrote it; `None`: that of the record.
    pub writer: Option<u32>,
    /// The task's clocks.
    pub clocks: Clocks,
    /// What the processor wants found again when a store is restored from this record.
    pub memo: Vec<u8>,
}

/// What lets rows fall due ([`crate::due`]). They are moved by records alone, and only where rows fall
/// due; elsewhere they are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Clocks {
    /// The latest time of the records processed, less the head start of their sources, and of ticks (ms
    /// since 1970).
    pub due_ms: u64,
    /// How long the task has run, as ticks tell (ms).
    pub running_ms: u64,
}

impl Clocks {
    /// Each of the two as far as it has come in either.
    pub(crate) fn latest(self, other: Clocks) -> Clocks {
        Clocks {
            due_ms: self.due_ms.max(other.due_ms),
            running_ms: self.running_ms.max(other.running_ms),
        }
    }
}

/// The parts of a stamp, borrowed, for encoding without a copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StampParts<'a> {
    pub(crate) incarnation: u64,
    pub(crate) sequence: u64,
    pub(crate) source: Option<(u32, u64)>,
    pub(crate) positions: &'a [u64],
    pub(crate) inputs: Option<u16>,
    pub(crate) writer: Option<u32>,
    pub(crate) clocks: Clocks,
    pub(crate) memo: &'a [u8],
}

impl StampParts<'_> {
    pub(crate) fn encode(self, into: &mut Vec<u8>) {
        into.clear();
        match self.inputs {
            Some(inputs) => {
                into.push(VERSION);
                into.extend_from_slice(&inputs.to_le_bytes());
                put(into, self.writer.map_or(0, |partition| u64::from(partition) + 1));
                put(into, self.clocks.due_ms);
                put(into, self.clocks.running_ms);
            }
            None => into.push(FIRST_VERSION),
        }
        put(into, self.incarnation);
        put(into, self.sequence);
        put(into, self.source.map_or(0, |(input, _)| u64::from(input) + 1));
        put(into, self.source.map_or(0, |(_, offset)| offset));
        put(into, self.positions.len() as u64);
        for position in self.positions {
            put(into, *position);
        }
        into.extend_from_slice(self.memo);
    }
}

impl Stamp {
    /// Reads a header's value; `None` when it is not a stamp of a version known here.
    pub fn decode(bytes: &[u8]) -> Option<Stamp> {
        let (version, mut rest) = bytes.split_first()?;
        let mut stamp = Stamp::default();
        match *version {
            FIRST_VERSION => {}
            VERSION => {
                let (inputs, after) = rest.split_first_chunk()?;
                rest = after;
                stamp.inputs = Some(u16::from_le_bytes(*inputs));
                stamp.writer = less_one(get(&mut rest)?)?;
                let (due_ms, running_ms) = (get(&mut rest)?, get(&mut rest)?);
                stamp.clocks = Clocks { due_ms, running_ms };
            }
            _ => return None,
        }
        stamp.incarnation = get(&mut rest)?;
        stamp.sequence = get(&mut rest)?;
        let (input, offset) = (less_one(get(&mut rest)?)?, get(&mut rest)?);
        stamp.source = input.map(|input| (input, offset));
        let count = get(&mut rest)?;
        stamp.positions = (0..count).map(|_| get(&mut rest)).collect::<Option<Vec<u64>>>()?;
        stamp.memo = rest.to_vec();
        Some(stamp)
    }

    /// Whether a header's value is a stamp of a later version than is known here.
    pub(crate) fn is_later(bytes: &[u8]) -> bool {
        bytes.first().is_some_and(|version| *version > VERSION)
    }

    /// Writes a header's value, in place of what is there.
    pub fn encode(&self, into: &mut Vec<u8>) {
        let Self { incarnation, sequence, source, inputs, writer, clocks, .. } = *self;
        let (positions, memo) = (&*self.positions, &*self.memo);
        StampParts { incarnation, sequence, source, positions, inputs, writer, clocks, memo }
            .encode(into);
    }
}

/// A number of which 0 stands for none, and that is written one higher. `None`: it is too large.
fn less_one(number: u64) -> Option<Option<u32>> {
    match number.checked_sub(1) {
        Some(number) => u32::try_from(number).ok().map(Some),
        None => Some(None),
    }
}

fn put(into: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        into.push((value as u8) | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

fn get(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..70).step_by(7) {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        let bits = u64::from(byte & 0x7f);
        value |= bits.checked_shl(shift).filter(|v| v >> shift == bits)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            incarnation: u64, sequence: u64, source: Option<(u32, u64)>,
            positions: Vec<u64>, inputs: Option<u16>, writer: Option<u32>, due_ms: u64,
            running_ms: u64, memo: Vec<u8>,
        ) {
            let mut bytes = Vec::new();
            let stamp = Stamp { incarnation, sequence, source, positions, memo, ..Stamp::default() };
            let clocks = Clocks { due_ms, running_ms };
            let stamp = match inputs {
                Some(_) => Stamp { inputs, writer, clocks, ..stamp },
                None => stamp,
            };
            stamp.encode(&mut bytes);
            prop_assert_eq!(Stamp::decode(&bytes), Some(stamp));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = Stamp::decode(&bytes);
        }
    }

    #[test]
    fn a_stamp_of_the_first_version_is_read() {
        let bytes = [1, 3, 200, 1, 2, 7, 2, 8, 9, b'm'];
        let stamp = Stamp {
            incarnation: 3,
            sequence: 200,
            source: Some((1, 7)),
            positions: vec![8, 9],
            memo: b"m".to_vec(),
            ..Stamp::default()
        };
        assert_eq!(Stamp::decode(&bytes), Some(stamp));
        let later = [3, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!((Stamp::decode(&later), Stamp::is_later(&later)), (None, true));
        assert!(!Stamp::is_later(&bytes) && !Stamp::is_later(b""));
    }
}
