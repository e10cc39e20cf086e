//! A store that is not what was written: how that is told from what passes, and where it goes.
//!
//! RocksDB meets damage when it opens a folder, or only when it reads the block. In both cases the
//! whole folder is moved aside (nothing is deleted) and the store is rebuilt from its topics. For
//! the second case the folder is marked, by a file in it that goes where the folder goes: else the
//! next start would open it again, and end again at the same block.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rocksdb::ErrorKind;

use super::super::{Result, StoreError};
use crate::manifest_length::ManifestLength;

/// The file in a store's folder that says that it is damaged, and why.
const MARK: &str = "DAMAGED";

fn damaged(folder: &Path, cause: String) -> StoreError {
    StoreError::Damaged { folder: folder.display().to_string(), cause }
}

fn io(folder: &Path, what: &'static str, error: &io::Error) -> StoreError {
    StoreError::Io { folder: folder.display().to_string(), what, cause: error.to_string() }
}

/// What RocksDB said of an open store.
pub(super) fn failure(folder: &Path, what: &'static str, error: rocksdb::Error) -> StoreError {
    let cause = error.to_string();
    match error.kind() {
        ErrorKind::Corruption => damaged(folder, cause),
        // A file that the manifest names and the folder lacks is damage, and so is a sector that
        // the disk cannot read; neither passes.
        ErrorKind::IOError if cause.contains("No such file") => damaged(folder, cause),
        ErrorKind::IOError if cause.contains("Input/output error") && what != "write" => {
            damaged(folder, cause)
        }
        _ => {
            let cause = match cause.contains("No space left on device") {
                true => format!("the disk is full: {cause}; start again when there is room"),
                false => cause,
            };
            StoreError::Io { folder: folder.display().to_string(), what, cause }
        }
    }
}

/// What RocksDB said instead of opening a store. It was made by this very code, so that what does
/// not fit is damage as well.
pub(super) fn failure_to_open(folder: &Path, error: rocksdb::Error) -> StoreError {
    match error.kind() {
        ErrorKind::InvalidArgument | ErrorKind::NotSupported | ErrorKind::NotFound => {
            damaged(folder, error.to_string())
        }
        _ => failure(folder, "open", error),
    }
}

/// What is known to be wrong with a store before RocksDB opens it.
pub(super) fn known(folder: &Path) -> Result<Option<String>> {
    if folder.exists() && !folder.is_dir() {
        return Ok(Some("it is no folder".to_owned()));
    }
    match fs::read(folder.join(MARK)) {
        Ok(cause) => return Ok(Some(String::from_utf8_lossy(&cause).trim().to_owned())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(io(folder, "open", &e)),
    }
    ManifestLength::check(folder).map_err(|e| io(folder, "open", &e))
}

/// Marks a store as damaged, durably: it is never opened again.
pub(crate) fn mark(folder: &Path, cause: &str) -> io::Result<()> {
    let mut file = File::create(folder.join(MARK))?;
    writeln!(file, "{cause}")?;
    file.sync_all()?;
    File::open(folder)?.sync_all()
}

/// Renames a store's folder to the first free `<name>.quarantine-<n>` beside it.
pub(crate) fn set_aside(folder: &Path, cause: &str) -> Result<()> {
    let aside = free_name(folder);
    fs::rename(folder, &aside).map_err(|error| io(folder, "move aside", &error))?;
    tracing::error!(folder = %folder.display(), cause, aside = %aside.display(),
        "the store is damaged: moved aside, it is rebuilt from its topics");
    Ok(())
}

pub(super) fn free_name(folder: &Path) -> PathBuf {
    let name = |n: u32| PathBuf::from(format!("{}.quarantine-{n}", folder.display()));
    (1..).map(name).find(|path| !path.exists()).unwrap_or_else(|| name(0))
}
