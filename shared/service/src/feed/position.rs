//! Places in a topic: of one record, and of a reader of all partitions.

use std::fmt;

use bps_streams::broker::TopicPartition;

/// A record's place in its topic. Its bytes are in the order of partitions and offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Its partition.
    pub partition: u32,
    /// Its offset.
    pub offset: u64,
}

impl Place {
    /// How many bytes a place has.
    pub const BYTES: usize = 12;

    /// As the key of a row.
    pub fn key(self) -> [u8; Place::BYTES] {
        let mut key = [0; Place::BYTES];
        key[..4].copy_from_slice(&self.partition.to_be_bytes());
        key[4..].copy_from_slice(&self.offset.to_be_bytes());
        key
    }

    /// Reads the place that a row begins with, and what follows it.
    pub fn read(row: &[u8]) -> Option<(Place, &[u8])> {
        let (partition, rest) = row.split_first_chunk()?;
        let (offset, rest) = rest.split_first_chunk()?;
        let partition = u32::from_be_bytes(*partition);
        Some((Place { partition, offset: u64::from_be_bytes(*offset) }, rest))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.partition, self.offset)
    }
}

/// The next offset to read, of each partition of a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position(Vec<u64>);

impl Position {
    /// That of one topic, out of the positions of a read side.
    pub fn of(topic: &str, positions: &[(TopicPartition, u64)]) -> Position {
        let own = positions.iter().filter(|(at, _)| at.topic == topic);
        let mut own: Vec<_> = own.map(|(at, offset)| (at.partition, *offset)).collect();
        own.sort_unstable();
        Position(own.into_iter().map(|(_, offset)| offset).collect())
    }

    /// Reads what `Display` writes.
    pub fn read(text: &str) -> Option<Position> {
        let offsets = text.split('.').map(|offset| offset.parse().ok());
        offsets.collect::<Option<_>>().map(Position)
    }

    /// Whether nothing is known of any partition.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many partitions it has.
    pub fn partitions(&self) -> u32 {
        self.0.len() as u32
    }

    /// Where the next record of a partition is.
    pub fn place(&self, partition: u32) -> Place {
        let offset = self.0.get(partition as usize).copied().unwrap_or_default();
        Place { partition, offset }
    }

    /// The next record of this partition is here.
    pub fn go_to(&mut self, place: Place) {
        if let Some(offset) = self.0.get_mut(place.partition as usize) {
            *offset = place.offset;
        }
    }

    /// Itself, or the beginning where the topic has another number of partitions than it knows.
    pub(super) fn fitted(self, now: &Position) -> Position {
        match self.0.len() == now.0.len() {
            true => self,
            false => Position(vec![0; now.0.len()]),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (partition, offset) in self.0.iter().enumerate() {
            let dot = if partition == 0 { "" } else { "." };
            write!(f, "{dot}{offset}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let place = Place { partition: 3, offset: 1 << 40 };
        let row = [&place.key()[..], b"row"].concat();
        assert_eq!(Place::read(&row), Some((place, &b"row"[..])));
        assert_eq!(Place::read(&row[..11]), None);
        let earlier = Place { partition: 3, offset: 255 };
        assert!(earlier.key() < place.key());
        for text in ["0", "7.0.18446744073709551615"] {
            assert_eq!(Position::read(text).map(|p| p.to_string()).as_deref(), Some(text));
        }
        for text in ["", ".", "1.", "-1", "1,2", "18446744073709551616"] {
            assert_eq!(Position::read(text), None, "{text}");
        }
    }

    #[test]
    fn a_position_is_of_one_topic_in_the_order_of_its_partitions() {
        let at = |topic, partition| TopicPartition::new(topic, partition);
        let mut position = Position::of("t", &[(at("t", 1), 7), (at("u", 0), 9), (at("t", 0), 5)]);
        assert_eq!(position.to_string(), "5.7");
        position.go_to(Place { partition: 1, offset: 12 });
        assert_eq!(position.place(1).offset, 12);
        let wider = Position(vec![1; 3]);
        assert_eq!(position.clone().fitted(&wider).to_string(), "0.0.0");
        assert_eq!(position.clone().fitted(&position), position);
    }
}
