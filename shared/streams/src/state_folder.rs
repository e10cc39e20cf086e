//! What a state folder remembers beside its store: for whom it is, and under which names its
//! workers have ever run.
//!
//! Both are lines with a check word. One that does not fit was not written so: the file is moved
//! aside, as a damaged store is.

use std::io::ErrorKind;
use std::path::Path;

use crate::error::{Error, Result};
use crate::folder::{FolderError, fresh_id};
use crate::partitioner::murmur2;
use crate::store::rocks::set_aside;

fn io(folder: &Path, source: std::io::Error) -> Error {
    FolderError::Io { folder: folder.to_owned(), source }.into()
}

/// A state folder is for one application on one cluster with one number of partitions. A store
/// of which nobody knows whose it is, is not used.
pub(crate) fn check_identity(
    folder: &Path,
    cluster: &str,
    application: &str,
    partitions: u32,
) -> Result<()> {
    let path = folder.join("identity");
    let expected = format!("application {application}, cluster {cluster}, {partitions} partitions");
    let is_one = |text: &str| text.starts_with("application ") && text.ends_with(" partitions");
    match read(&path, is_one)? {
        Some(found) if found == expected => return Ok(()),
        Some(found) => {
            let folder = folder.display().to_string();
            return Err(Error::WrongState { folder, found, expected });
        }
        None => {}
    }
    let store = folder.join("store");
    if store.exists() {
        set_aside(&store, "the file `identity` beside it is missing or damaged")?;
    }
    write(&path, &expected)
}

/// The ids of all workers that this folder has ever had: `application-process-number`. The
/// process's part stays the same over restarts.
pub(crate) fn worker_ids(folder: &Path, application: &str, workers: u32) -> Result<Vec<String>> {
    let path = folder.join("process");
    let parse = |text: &str| {
        let (process, ever) = text.split_once(' ')?;
        Some((process.to_owned(), ever.parse::<u32>().ok()?)).filter(|_| process.starts_with("p-"))
    };
    let found = read(&path, |text| parse(text).is_some())?.and_then(|text| parse(&text));
    // Under a fresh id the former workers are missed for a session's time, and no more.
    let (process, ever) = found.unwrap_or_else(|| (fresh_id("p"), 0));
    let ever = workers.max(1).max(ever);
    write(&path, &format!("{process} {ever}"))?;
    Ok((0..ever).map(|n| format!("{application}-{process}-{n}")).collect())
}

const CHECK: &str = ", check ";

fn check(text: &str) -> String {
    format!("{:08x}", murmur2(text.as_bytes()))
}

/// What a file says. One that is damaged is moved aside, and says nothing.
pub(crate) fn read(path: &Path, is_one: impl Fn(&str) -> bool) -> Result<Option<String>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(io(path, source)),
    };
    let text = String::from_utf8_lossy(&bytes);
    // Those of the first days have no check word.
    let whole = match text.trim().rsplit_once(CHECK) {
        Some((text, word)) => Some(text).filter(|text| check(text) == word),
        None => Some(text.trim()),
    };
    if let Some(whole) = whole.filter(|text| is_one(text)) {
        return Ok(Some(whole.to_owned()));
    }
    let name = |n: u32| path.with_extension(format!("quarantine-{n}"));
    let aside = (1..).map(name).find(|path| !path.exists()).unwrap_or_else(|| name(0));
    std::fs::rename(path, &aside).map_err(|source| io(path, source))?;
    tracing::error!(file = %path.display(), aside = %aside.display(), "damaged: moved aside");
    Ok(None)
}

/// Replaces a file as a whole: a crash leaves the old one or the new one.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    let replace = || {
        let temporary = path.with_extension("new");
        std::fs::write(&temporary, format!("{text}{CHECK}{}\n", check(text)))?;
        std::fs::File::open(&temporary)?.sync_all()?;
        std::fs::rename(temporary, path)?;
        path.parent().map_or(Ok(()), |folder| std::fs::File::open(folder)?.sync_all())
    };
    replace().map_err(|source| io(path, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(folder: &Path, partitions: u32) -> Result<()> {
        check_identity(folder, "c", "a", partitions)
    }

    #[test]
    fn a_store_without_its_identity_is_moved_aside() {
        type Damage = fn(&Path);
        let damages: [(&str, Damage); 3] = [
            ("missing", |path| std::fs::remove_file(path).expect("removed")),
            ("empty", |path| std::fs::write(path, "").expect("written")),
            ("one letter", |path| {
                let text = std::fs::read_to_string(path).expect("text").replace("a,", "b,");
                std::fs::write(path, text).expect("written");
            }),
        ];
        for (name, damage) in damages {
            let folder = tempfile::tempdir().expect("a folder");
            let folder = folder.path();
            identity(folder, 4).expect("new");
            std::fs::create_dir(folder.join("store")).expect("made");
            identity(folder, 4).expect("its own");
            let refused = identity(folder, 5).expect_err("another one").to_string();
            assert!(refused.contains("4 partitions, not to"), "{refused}");
            assert!(folder.join("store").exists());
            damage(&folder.join("identity"));
            identity(folder, 4).expect(name);
            assert!(folder.join("store.quarantine-1").exists(), "{name}");
            let aside = folder.join("identity.quarantine-1").exists();
            assert_eq!(aside, name != "missing", "{name}");
            identity(folder, 4).expect("written again");
        }
    }

    #[test]
    fn an_identity_of_the_first_days_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let text = "application a, cluster c, 4 partitions\n";
        std::fs::write(folder.path().join("identity"), text).expect("written");
        std::fs::create_dir(folder.path().join("store")).expect("made");
        identity(folder.path(), 4).expect("its own");
        assert!(folder.path().join("store").exists());
    }

    #[test]
    fn workers_keep_their_names_unless_these_are_damaged() {
        let folder = tempfile::tempdir().expect("a folder");
        let ids = |workers| worker_ids(folder.path(), "a", workers).expect("ids");
        let first = ids(2);
        assert_eq!(first.len(), 2);
        assert_eq!(ids(1), first, "the retired one is remembered");
        let path = folder.path().join("process");
        let text = std::fs::read_to_string(&path).expect("text").replace(" 2,", " 1,");
        std::fs::write(&path, text).expect("written");
        let fresh = ids(1);
        assert_ne!(fresh[0], first[0]);
        assert!(folder.path().join("process.quarantine-1").exists());
        assert_eq!(ids(1), fresh);
    }
}
