//! Fingerprints of what was decided: 16 bytes each (24 with a window), for one pass.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

/// A fingerprint is a hash already.
#[derive(Default)]
pub(crate) struct Plain(u64);

impl Hasher for Plain {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, value: u128) {
        self.0 = value as u64;
    }
}

pub(crate) type PlainHash = BuildHasherDefault<Plain>;

/// What was decided, and as long as a window lasts.
pub(crate) enum Memory {
    ForEver(HashSet<u128, PlainHash>),
    /// Window (ms), and the stream time of each decision.
    Window(i64, HashMap<u128, i64, PlainHash>),
}

impl Memory {
    pub(crate) fn new(window_ms: Option<i64>) -> Memory {
        match window_ms {
            None => Self::ForEver(HashSet::default()),
            Some(window) => Self::Window(window, HashMap::default()),
        }
    }

    /// Whether it is remembered at this stream time.
    pub(crate) fn knows(&self, fingerprint: u128, stream_time: i64) -> bool {
        match self {
            Self::ForEver(set) => set.contains(&fingerprint),
            Self::Window(window, map) => {
                let edge = stream_time.saturating_sub(*window);
                map.get(&fingerprint).is_some_and(|decided| *decided >= edge)
            }
        }
    }

    pub(crate) fn remember(&mut self, fingerprint: u128, stream_time: i64) {
        match self {
            Self::ForEver(set) => drop(set.insert(fingerprint)),
            Self::Window(_, map) => drop(map.insert(fingerprint, stream_time)),
        }
    }
}
