//! A folder that one process owns: the lock that names its owner.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// Why a folder cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another living process owns it.
    #[error("{folder} is in use by process {pid}: stop it first, or choose another folder")]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// Its owner's process id, as it wrote it.
        pid: String,
    },
    /// It cannot be made or written.
    #[error("{folder}: {source}")]
    Io {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Ownership of a folder, given up when dropped (or when the process dies, however).
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Makes the folder where it is missing and takes it.
    ///
    /// # Errors
    /// [`FolderError::InUse`] with the owner's process id, or the system's error.
    pub fn take(folder: &Path) -> Result<FolderLock, FolderError> {
        let io = |source| FolderError::Io { folder: folder.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(io)?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(folder.join("owner.pid"))
            .map_err(io)?;
        // The lock is the kernel's, so that it ends with the process; the pid is for people.
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut pid = String::new();
            file.read_to_string(&mut pid).map_err(io)?;
            let pid = pid.trim().to_owned();
            return Err(FolderError::InUse { folder: folder.to_owned(), pid });
        }
        file.set_len(0).map_err(io)?;
        file.seek(SeekFrom::Start(0)).map_err(io)?;
        writeln!(file, "{}", std::process::id()).map_err(io)?;
        Ok(FolderLock { _file: file })
    }
}

/// An id that no other process has: for folders, clusters and processes, never for decisions.
pub(crate) fn fresh_id(prefix: &str) -> String {
    use std::hash::{BuildHasher, Hasher};
    // The standard library's per-process random keys are randomness enough for a name.
    let mut hasher = std::collections::hash_map::RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    format!("{prefix}-{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_the_first_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = FolderLock::take(folder.path()).expect("free");
        let second = FolderLock::take(folder.path()).expect_err("taken").to_string();
        assert!(second.contains(&format!("process {}:", std::process::id())), "{second}");
        drop(first);
        FolderLock::take(folder.path()).expect("free again");
    }
}
