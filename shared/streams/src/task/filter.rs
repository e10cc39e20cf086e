//! Which keys a table surely does not hold in the store: most look-ups of remembered ids miss, and
//! this answers them from a single cache line.
//!
//! A Bloom filter whose bits for one key lie in one block of a cache line's size (Putze, Sanders,
//! Singler 2007: "Cache-, hash- and space-efficient bloom filters"), in levels of which each new
//! one is twice as large as the last, so that few keys cost little and many need no rebuilding.

use std::hash::{DefaultHasher, Hasher};

/// Bits of a key.
const PROBES: u32 = 8;
/// Bits of the filter for a key that was expected: of 200 keys that are not there, one seems to be.
const BITS_PER_KEY: usize = 12;
const FIRST_KEYS: usize = 1 << 13;

/// A cache line.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Block([u64; 8]);

impl Block {
    fn bits(mut hash: u64) -> impl Iterator<Item = (usize, u64)> {
        (0..PROBES).map(move |_| {
            let bit = hash & 511;
            hash >>= 9;
            hash ^= hash << 23;
            (bit as usize / 64, 1 << (bit % 64))
        })
    }
}

#[derive(Debug)]
struct Level {
    blocks: Vec<Block>,
    room: usize,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Filter {
    levels: Vec<Level>,
    bytes_max: usize,
}

impl Filter {
    /// An empty one that takes about `bytes_max` at most; keys beyond that make it err more often
    /// on the harmless side.
    pub(crate) fn new(bytes_max: usize) -> Filter {
        Filter { levels: Vec::new(), bytes_max }
    }

    /// Notes that a key is there.
    pub(crate) fn add(&mut self, key: &[u8]) {
        if self.levels.last().is_none_or(|level| level.room == 0) {
            self.grow();
        }
        let hash = hash(key);
        if let Some(level) = self.levels.last_mut() {
            level.room = level.room.saturating_sub(1);
            let place = place(hash, level.blocks.len());
            let block = &mut level.blocks[place];
            for (word, bit) in Block::bits(hash) {
                block.0[word] |= bit;
            }
        }
    }

    /// Whether a key may be there. `false` is certain.
    pub(crate) fn may_hold(&self, key: &[u8]) -> bool {
        let hash = hash(key);
        self.levels.iter().any(|level| {
            let block = &level.blocks[place(hash, level.blocks.len())];
            Block::bits(hash).all(|(word, bit)| block.0[word] & bit != 0)
        })
    }

    /// A level of twice the size of the last, unless that is too much.
    fn grow(&mut self) {
        let keys = FIRST_KEYS << self.levels.len();
        let blocks = (keys * BITS_PER_KEY).div_ceil(512);
        let bytes = |blocks: usize| blocks * size_of::<Block>();
        let held: usize = self.levels.iter().map(|level| bytes(level.blocks.len())).sum();
        if self.levels.is_empty() || held + bytes(blocks) <= self.bytes_max {
            self.levels.push(Level { blocks: vec![Block::default(); blocks], room: keys });
        }
    }
}

/// The same in every run, as a simulated one must be. Ids that an attacker makes collide would
/// merely be looked up in the store.
fn hash(key: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(key);
    hasher.finish()
}

/// Which block, by the hash's upper half; its lower one chooses the bits.
fn place(hash: u64, blocks: usize) -> usize {
    (((hash >> 32) * blocks as u64) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(keys: u64, bytes_max: usize) -> Filter {
        let mut filter = Filter::new(bytes_max);
        (0..keys).for_each(|key| filter.add(&key.to_le_bytes()));
        filter
    }

    fn wrong(filter: &Filter, keys: u64) -> f64 {
        let absent = keys..keys + 100_000;
        let seem = absent.filter(|key| filter.may_hold(&key.to_le_bytes())).count();
        seem as f64 / 100_000.0
    }

    #[test]
    fn what_was_added_is_never_denied() {
        for keys in [0, 1, 8_192, 8_193, 200_000] {
            let filter = filled(keys, 1 << 20);
            assert!((0..keys).all(|key| filter.may_hold(&key.to_le_bytes())), "{keys}");
        }
    }

    #[test]
    fn what_was_not_added_is_mostly_denied() {
        assert_eq!(wrong(&filled(0, 1 << 20), 0), 0.0);
        for keys in [1_000, 10_000, 200_000] {
            let wrong = wrong(&filled(keys, 1 << 20), keys);
            assert!(wrong < 0.03, "{keys}: {wrong}");
        }
    }

    #[test]
    fn its_size_is_bounded_and_it_errs_more_beyond() {
        let filter = filled(100_000, 64 << 10);
        let bytes: usize = filter.levels.iter().map(|level| level.blocks.len() * 64).sum();
        assert!(bytes <= 64 << 10, "{bytes}");
        let wrong = wrong(&filter, 100_000);
        assert!((0.1..1.0).contains(&wrong), "{wrong}");
    }
}
