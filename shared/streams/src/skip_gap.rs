//! The operator's word to go on at a gap, left as a file in the state folder: it counts for one
//! start, so that a later gap stops the application again.

use std::io::ErrorKind;
use std::path::Path;

use crate::error::Result;
use crate::folder::FolderError;

/// Name of the file in the state folder.
pub const SKIP_GAP: &str = "skip-gap";

/// Whether the file is there; it is gone afterwards.
pub(crate) fn take(state_folder: &Path) -> Result<bool> {
    let path = state_folder.join(SKIP_GAP);
    match std::fs::remove_file(&path) {
        Ok(()) => {
            tracing::warn!("goes on where records are gone, as told, in this run");
            Ok(true)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(source) => Err(FolderError::Io { folder: path, source }.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_once() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(!take(folder.path()).expect("readable"));
        std::fs::write(folder.path().join(SKIP_GAP), "").expect("written");
        assert!(take(folder.path()).expect("readable"));
        assert!(!take(folder.path()).expect("readable"));
    }
}
