//! A row as it lies in a store: its version and how often it changed (8 bytes, the version in the
//! highest), when (8 bytes), its value.

/// A row: how often it changed, when (stream time), and the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// Counts the changes of this row, from 1. Below 2^56.
    pub sequence: u64,
    /// Stream time of the last change (ms since 1970).
    pub timestamp: i64,
    /// The value.
    pub value: &'a [u8],
}

/// Why bytes are no row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RowError {
    /// Too few to be one.
    #[error("it is no row")]
    Short,
    /// Of a later version than is known here.
    #[error("it is of version {found}, versions up to {VERSION} are read", found = u32::from(*.0) + 1)]
    Newer(u8),
}

/// The version that is written. What stands in a row is one less: rows of the first days have 0.
const VERSION: u8 = 1;
const SEQUENCE_BITS: u32 = 56;

impl<'a> Row<'a> {
    pub(crate) fn encode(sequence: u64, timestamp: i64, value: &[u8], into: &mut Vec<u8>) {
        into.clear();
        into.extend_from_slice(&sequence.to_le_bytes());
        into.extend_from_slice(&timestamp.to_le_bytes());
        into.extend_from_slice(value);
    }

    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Row<'a>, RowError> {
        let (sequence, rest) = bytes.split_first_chunk().ok_or(RowError::Short)?;
        let (timestamp, value) = rest.split_first_chunk().ok_or(RowError::Short)?;
        let sequence = u64::from_le_bytes(*sequence);
        match (sequence >> SEQUENCE_BITS) as u8 {
            version if version >= VERSION => Err(RowError::Newer(version)),
            _ => Ok(Row { sequence, timestamp: i64::from_le_bytes(*timestamp), value }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes in front of a row's value.
    const ROW_HEAD: usize = 16;

    #[test]
    fn a_row_of_a_later_version_is_told_from_none() {
        let mut bytes = Vec::new();
        Row::encode(7, -5, b"value", &mut bytes);
        assert_eq!(bytes.len(), ROW_HEAD + 5);
        let row = Row { sequence: 7, timestamp: -5, value: b"value" };
        assert_eq!(Row::decode(&bytes), Ok(row));
        assert_eq!(Row::decode(&bytes[..ROW_HEAD]).map(|row| row.value), Ok(&b""[..]));
        assert_eq!(Row::decode(&bytes[..ROW_HEAD - 1]), Err(RowError::Short));
        bytes[7] = 1;
        let newer = Row::decode(&bytes).expect_err("a later version");
        assert_eq!(newer.to_string(), "it is of version 2, versions up to 1 are read");
    }
}
