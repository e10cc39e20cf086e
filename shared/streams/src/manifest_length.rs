//! What RocksDB does not notice by itself: that the list of its files was cut short, or is gone.
//!
//! Its MANIFEST only grows, and an end that was cut off looks to it like the torn end that a crash
//! leaves: it would take an earlier list for the present one, skip the rows of the files that are
//! not in it, and delete these files. A folder without CURRENT passes for a new one. So the length
//! of the MANIFEST is written down beside it, in a file of our own, and looked at before RocksDB
//! opens the folder.
//!
//! The length is a lower bound: it is written after the fact, and not synced. What it misses is a
//! MANIFEST that is cut after the last write before a crash.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Name of our file in RocksDB's folder.
const FILE: &str = "SEAL";
const CURRENT: &str = "CURRENT";

/// The name of a MANIFEST and its length.
type Length = (String, u64);

/// Keeps the length of an open folder's MANIFEST.
#[derive(Debug)]
pub(crate) struct ManifestLength {
    folder: PathBuf,
    known: Mutex<Length>,
}

impl ManifestLength {
    /// Looks at a folder before RocksDB does: what is wrong with it, if anything is.
    pub(crate) fn check(folder: &Path) -> io::Result<Option<String>> {
        let current = match fs::read_to_string(folder.join(CURRENT)) {
            Ok(text) => text.trim().to_owned(),
            Err(e) if e.kind() == ErrorKind::NotFound => return without_current(folder),
            // RocksDB says better than we what is wrong with it.
            Err(e) if e.kind() == ErrorKind::InvalidData => return Ok(None),
            Err(e) => return Err(e),
        };
        let Some((name, sealed)) = read(folder)? else {
            return Ok(None);
        };
        if number(&current) > number(&name) {
            return Ok(None);
        }
        if current != name {
            return Ok(Some(format!("CURRENT names {current}, after {name} was in use")));
        }
        let length = match fs::metadata(folder.join(&name)) {
            Ok(metadata) => metadata.len(),
            Err(e) if e.kind() == ErrorKind::NotFound => 0,
            Err(e) => return Err(e),
        };
        let cut = || format!("{name} is cut short: it has {length} bytes, and had {sealed}");
        Ok((length < sealed).then(cut))
    }

    /// Of a folder that RocksDB has just opened.
    pub(crate) fn of(folder: &Path) -> ManifestLength {
        let known = Mutex::new((String::new(), 0));
        let length = ManifestLength { folder: folder.to_owned(), known };
        length.renew();
        length
    }

    /// Writes the length down where it has changed; costs a look at one file where it has not.
    pub(crate) fn renew(&self) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let length = |name: &str| fs::metadata(self.folder.join(name)).map(|m| m.len());
        if !known.0.is_empty() && length(&known.0).is_ok_and(|length| length == known.1) {
            return;
        }
        let write = || {
            let name = fs::read_to_string(self.folder.join(CURRENT))?.trim().to_owned();
            let length = length(&name)?;
            let temporary = self.folder.join("SEAL.new");
            fs::write(&temporary, format!("{name} {length}\n"))?;
            fs::rename(temporary, self.folder.join(FILE))?;
            Ok::<_, io::Error>((name, length))
        };
        match write() {
            Ok(length) => *known = length,
            // The earlier length stays a lower bound; what is really wrong shows elsewhere.
            Err(error) => tracing::debug!(%error, "the length of the manifest is not renewed"),
        }
    }
}

/// The last renewal may come after the last write: a clean end leaves it exact.
impl Drop for ManifestLength {
    fn drop(&mut self) {
        self.renew();
    }
}

/// A folder without CURRENT is new, unless there are data in it.
fn without_current(folder: &Path) -> io::Result<Option<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".sst") || name.ends_with(".log") {
            return Ok(Some(format!("CURRENT is missing, beside {name}")));
        }
    }
    Ok(None)
}

/// A length that cannot be read says nothing.
fn read(folder: &Path) -> io::Result<Option<Length>> {
    let text = match fs::read_to_string(folder.join(FILE)) {
        Ok(text) => text,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::InvalidData) => {
            return Ok(None);
        }
        Err(e) => return Err(e),
    };
    let parse = |(name, length): (&str, &str)| {
        Some((name.to_owned(), length.parse().ok()?)).filter(|_| number(name).is_some())
    };
    Ok(text.trim().split_once(' ').and_then(parse))
}

fn number(manifest: &str) -> Option<u64> {
    manifest.strip_prefix("MANIFEST-")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(current: Option<&str>, files: &[(&str, usize)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        if let Some(current) = current {
            fs::write(folder.path().join(CURRENT), format!("{current}\n")).expect("written");
        }
        for (name, length) in files {
            fs::write(folder.path().join(name), vec![b'x'; *length]).expect("written");
        }
        folder
    }

    #[track_caller]
    fn check(current: Option<&str>, length: &str, files: &[(&str, usize)], told: Option<&str>) {
        let folder = folder(current, files);
        if !length.is_empty() {
            fs::write(folder.path().join(FILE), length).expect("written");
        }
        let found = ManifestLength::check(folder.path()).expect("readable");
        match (&found, told) {
            (None, None) => {}
            (Some(found), Some(told)) if found.contains(told) => {}
            _ => panic!("{found:?}, not {told:?}"),
        }
    }

    #[test]
    fn a_shorter_or_older_manifest_is_told() {
        let (one, two) = ("MANIFEST-000001", "MANIFEST-000012");
        let sealed = format!("{two} 10\n");
        check(Some(two), &sealed, &[(two, 10)], None);
        check(Some(two), &sealed, &[(two, 11)], None);
        check(Some(two), &sealed, &[(two, 9)], Some("it has 9 bytes, and had 10"));
        check(Some(two), &sealed, &[], Some("it has 0 bytes"));
        check(Some(one), &sealed, &[(one, 50)], Some("after MANIFEST-000012 was in use"));
        check(Some("MANIFEST-000013"), &sealed, &[("MANIFEST-000013", 1)], None);
        // A length that cannot be read is none.
        check(Some(two), "", &[(two, 9)], None);
        check(Some(two), "\0\0\0", &[(two, 9)], None);
    }

    #[test]
    fn a_folder_without_current_is_new_or_damaged() {
        check(None, "", &[], None);
        check(None, "", &[("LOCK", 0), ("MANIFEST-000001", 20)], None);
        check(None, "", &[("000012.sst", 1)], Some("CURRENT is missing"));
        check(None, "", &[("000012.log", 0)], Some("CURRENT is missing"));
        assert_eq!(ManifestLength::check(Path::new("/nowhere/at/all")).expect("readable"), None);
    }

    #[test]
    fn it_grows_with_the_manifest() {
        let (name, later) = ("MANIFEST-000001", "MANIFEST-000002");
        let folder = folder(Some(name), &[(name, 3)]);
        let length = ManifestLength::of(folder.path());
        let sealed = || read(folder.path()).expect("readable");
        assert_eq!(sealed(), Some((name.to_owned(), 3)));
        fs::write(folder.path().join(name), [0; 5]).expect("written");
        length.renew();
        assert_eq!(sealed(), Some((name.to_owned(), 5)));
        fs::write(folder.path().join(later), [0; 2]).expect("written");
        fs::write(folder.path().join(CURRENT), format!("{later}\n")).expect("written");
        fs::remove_file(folder.path().join(name)).expect("removed");
        drop(length);
        assert_eq!(sealed(), Some((later.to_owned(), 2)));
    }
}
