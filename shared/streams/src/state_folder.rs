//! What a state folder remembers beside its store: for whom it is, and under which names its
//! workers have ever run.

use std::path::Path;

use crate::error::{Error, Result};
use crate::folder::FolderError;

fn io(folder: &Path, source: std::io::Error) -> Error {
    FolderError::Io { folder: folder.to_owned(), source }.into()
}

/// A state folder is for one application on one cluster with one number of partitions.
pub(crate) fn check_identity(
    folder: &Path,
    cluster: &str,
    application: &str,
    partitions: u32,
) -> Result<()> {
    let path = folder.join("identity");
    let expected = format!("application {application}, cluster {cluster}, {partitions} partitions");
    match std::fs::read_to_string(&path) {
        Ok(found) if found.trim() == expected => Ok(()),
        Ok(found) => Err(Error::WrongState {
            folder: folder.display().to_string(),
            found: found.trim().to_owned(),
            expected,
        }),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            write_file(&path, &expected).map_err(|source| io(&path, source))
        }
        Err(source) => Err(io(&path, source)),
    }
}

/// Replaces a file as a whole: a crash leaves the old one or the new one.
fn write_file(path: &Path, text: &str) -> std::io::Result<()> {
    let temporary = path.with_extension("new");
    std::fs::write(&temporary, format!("{text}\n"))?;
    std::fs::File::open(&temporary)?.sync_all()?;
    std::fs::rename(temporary, path)
}

/// The ids of all workers that this folder has ever had: `application-process-number`. The
/// process's part stays the same over restarts.
pub(crate) fn worker_ids(folder: &Path, application: &str, workers: u32) -> Result<Vec<String>> {
    let path = folder.join("process");
    let (process, ever) = match std::fs::read_to_string(&path) {
        Ok(text) => {
            let mut words = text.split_whitespace();
            let process = words.next().unwrap_or_default().to_owned();
            (process, words.next().and_then(|n| n.parse().ok()).unwrap_or(0))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => (crate::fresh_id("p"), 0),
        Err(source) => return Err(io(&path, source)),
    };
    let ever = workers.max(1).max(ever);
    write_file(&path, &format!("{process} {ever}")).map_err(|source| io(&path, source))?;
    Ok((0..ever).map(|n| format!("{application}-{process}-{n}")).collect())
}
