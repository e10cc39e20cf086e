//! Files of a RocksDB folder, found by what they are, and ways to damage them.

use std::fs;
use std::path::{Path, PathBuf};

/// Which file of the folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum File {
    /// The newest file of rows of this column family: no later file hides its rows.
    Rows(&'static str),
    /// The last write-ahead log.
    Wal,
    Manifest,
    /// A file of this name.
    Named(&'static str),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Harm {
    /// One byte is another one, at so many thousandths of the length.
    Flip(usize),
    /// One byte, so far from the end.
    FlipFromEnd(usize),
    /// Cut to so many thousandths.
    Cut(usize),
    /// So many bytes are cut off.
    CutOff(usize),
    Empty,
    Missing,
    /// As long as before, and all zero.
    Zeros,
    /// Other bytes behind its end.
    Garbage,
    /// Another text.
    Text(&'static str),
    /// Another file has its place, and it that one's.
    SwappedWith(File),
    /// A copy of another file.
    CopyOf(File),
}
pub(crate) use self::File::{Manifest, Named, Rows, Wal};

/// Files in a folder, by name.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Whether a file of rows is of this column family. Its properties say so, the end of the
/// property's name (`rocksdb.column.family.name`) right before its value.
fn is_of(bytes: &[u8], family: &str) -> bool {
    let property = format!("name{family}");
    bytes.windows(property.len()).any(|window| window == property.as_bytes())
}

/// All files of rows of a column family, the newest first: they are numbered.
pub(crate) fn rows(folder: &Path, name: &str) -> Vec<PathBuf> {
    names(folder)
        .into_iter()
        .rev()
        .filter(|file| file.ends_with(".sst"))
        .map(|file| folder.join(file))
        .filter(|path| is_of(&fs::read(path).unwrap(), name))
        .collect()
}

impl File {
    pub(crate) fn find(self, folder: &Path) -> PathBuf {
        let last = |is_one: &dyn Fn(&str) -> bool| {
            let found = names(folder).into_iter().rfind(|name| is_one(name));
            folder.join(found.unwrap_or_else(|| panic!("no {self:?} in {:?}", names(folder))))
        };
        match self {
            Self::Rows(family) => rows(folder, family).swap_remove(0),
            Self::Wal => last(&|name| name.ends_with(".log")),
            Self::Manifest => last(&|name| name.starts_with("MANIFEST-")),
            Self::Named(name) => folder.join(name),
        }
    }
}

/// Damages a file; returns its name, and what it holds afterwards.
pub(crate) fn harm(folder: &Path, file: File, harm: Harm) -> (String, Option<Vec<u8>>) {
    let path = file.find(folder);
    let before = fs::read(&path).unwrap_or_default();
    let mut bytes = before.clone();
    match harm {
        Harm::Flip(thousandths) => {
            let at = bytes.len() * thousandths / 1_000;
            bytes[at] ^= 0x55;
        }
        Harm::FlipFromEnd(back) => {
            let at = bytes.len() - back;
            bytes[at] ^= 0x55;
        }
        Harm::Cut(thousandths) => bytes.truncate(bytes.len() * thousandths / 1_000),
        Harm::CutOff(count) => bytes.truncate(bytes.len() - count),
        Harm::Empty => bytes.clear(),
        Harm::Missing => fs::remove_file(&path).unwrap(),
        Harm::Zeros => bytes.fill(0),
        Harm::Garbage => bytes.extend((0..5_000_u32).map(|n| (n * 7 + 1) as u8)),
        Harm::Text(text) => bytes = text.into(),
        Harm::SwappedWith(other) => {
            let other = other.find(folder);
            assert_ne!(other, path);
            bytes = fs::read(&other).unwrap();
            fs::write(other, &before).unwrap();
        }
        Harm::CopyOf(other) => bytes = fs::read(other.find(folder)).unwrap(),
    }
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    if matches!(harm, Harm::Missing) {
        return (name, None);
    }
    assert_ne!(bytes, before, "{name}: {harm:?} changes nothing");
    fs::write(&path, &bytes).unwrap();
    (name, Some(bytes))
}

/// Copies a folder with all that is in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for name in names(from) {
        let (from, to) = (from.join(&name), to.join(&name));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(from, to).unwrap();
        }
    }
}
