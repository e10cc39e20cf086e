//! How far the log is durable, noted beside it after each sync.
//!
//! What a crash tears off the end was not synced, and nobody was told that it is there. If more
//! than that is missing when the log is opened again, acknowledged records are gone: to RocksDB
//! both look the same.
//!
//! The note is written in place and not synced itself: after a power loss it may be older than the
//! log, never newer.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::partitioner::murmur2;

/// Name of the file in the log's folder.
const REACHED: &str = "REACHED";

#[derive(Debug)]
pub(super) struct Reached(File);

impl Reached {
    /// The file, and what it says; a note that was torn says nothing.
    pub(super) fn open(folder: &Path) -> io::Result<(Reached, Option<u64>)> {
        let path = folder.join(REACHED);
        let file =
            File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut bytes = [0; 25];
        let read = file.read_at(&mut bytes, 0)?;
        let text = std::str::from_utf8(&bytes[..read]).unwrap_or_default();
        let parse = |text: &str| u64::from_str_radix(text.split_once(' ')?.0, 16).ok();
        let known = parse(text).filter(|sequence| note(*sequence) == text);
        Ok((Reached(file), known))
    }

    /// Everything up to this sequence number of RocksDB is on the disk.
    pub(super) fn note(&self, sequence: u64) {
        if let Err(error) = self.0.write_all_at(note(sequence).as_bytes(), 0) {
            // The earlier note stays true.
            tracing::debug!(%error, "how far the log is durable is not noted");
        }
    }
}

fn note(sequence: u64) -> String {
    let number = format!("{sequence:016x}");
    format!("{number} {:08x}", murmur2(number.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_note_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || Reached::open(folder.path()).expect("a file");
        let (reached, known) = open();
        assert_eq!(known, None);
        reached.note(7);
        reached.note(u64::MAX);
        assert_eq!(open().1, Some(u64::MAX));
        reached.note(8);
        assert_eq!(open().1, Some(8));
        for damage in ["0000000000000009", "", "garbage that is longer than a note"] {
            std::fs::write(folder.path().join(REACHED), damage).expect("written");
            assert_eq!(open().1, None, "{damage}");
        }
    }
}
