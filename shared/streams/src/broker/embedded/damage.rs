//! What the embedded log says when its files cannot be read or written.
//!
//! It is the truth: nothing can rebuild it. So nothing of a damaged log is served, skipped or
//! changed; the error says where the damage is and what helps. A full disk is no damage, but ends
//! the run as well: RocksDB writes no more until it is opened again.

use std::path::Path;

use rocksdb::{DB, ErrorKind};

use super::reached::Reached;
use crate::broker::{BrokerError, TopicPartition};
use crate::manifest_length::ManifestLength;

/// What RocksDB said of an open log.
pub(super) fn failed(db: &DB, what: &'static str) -> impl Fn(rocksdb::Error) -> BrokerError {
    let folder = db.path().to_owned();
    move |error| failure(&folder, what, &error)
}

/// What RocksDB said of the log in a folder.
pub(super) fn failure(folder: &Path, what: &'static str, error: &rocksdb::Error) -> BrokerError {
    let cause = error.to_string();
    if cause.contains("No space left on device") {
        let cause = format!(
            "the disk of {} is full: {cause}; start again when there is room",
            folder.display()
        );
        return BrokerError::Fatal { what, cause };
    }
    let gone = cause.contains("No such file") || cause.contains("Input/output error");
    match error.kind() {
        // Under a follower's look the owner may be moving its files.
        _ if what == "follow" => {
            let cause = format!("the embedded log in {}: {cause}", folder.display());
            BrokerError::Fatal { what, cause }
        }
        ErrorKind::Corruption => damaged(folder, what, None, &cause),
        ErrorKind::IOError if gone => damaged(folder, what, None, &cause),
        _ => {
            let cause = format!("the embedded log in {}: {cause}", folder.display());
            BrokerError::Fatal { what, cause }
        }
    }
}

/// The log is not what was written; `at`: where that shows, as far as it is known.
pub(super) fn damaged(
    folder: &Path,
    what: &'static str,
    at: Option<(&TopicPartition, u64)>,
    cause: &str,
) -> BrokerError {
    let at = at.map(|(at, offset)| format!(" at {at}, offset {offset}")).unwrap_or_default();
    let cause = format!(
        "the embedded log in {} is damaged{at}: {cause}; nothing of it is left out or changed: \
         put an intact copy of the folder in its place",
        folder.display()
    );
    BrokerError::Fatal { what, cause }
}

/// Whether an opened log has all that was ever synced; the file where that is noted.
pub(super) fn check_reached(db: &DB) -> Result<Reached, BrokerError> {
    let opened = Reached::open(db.path());
    let (reached, known) = opened.map_err(|error| {
        let cause = format!("the embedded log in {}: {error}", db.path().display());
        BrokerError::Fatal { what: "open", cause }
    })?;
    let sequence = db.latest_sequence_number();
    match known {
        Some(synced) if sequence < synced => {
            let cause = format!("it ends at write {sequence}, and was on the disk up to {synced}");
            Err(damaged(db.path(), "open", None, &cause))
        }
        _ => Ok(reached),
    }
}

/// Looks at a folder before RocksDB does, which would take some damage for an earlier state.
pub(super) fn check(folder: &Path) -> Result<(), BrokerError> {
    match ManifestLength::check(folder) {
        Ok(None) => Ok(()),
        Ok(Some(cause)) => Err(damaged(folder, "open", None, &cause)),
        Err(error) => {
            let cause = format!("the embedded log in {}: {error}", folder.display());
            Err(BrokerError::Fatal { what: "open", cause })
        }
    }
}
