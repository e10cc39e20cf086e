//! A file of lines, or standard input: read once, in bounded memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::kind::Kind;
use crate::error::Error;

/// Longest line that is read (bytes); a longer one is bad. The services take less.
pub(crate) const LINE_BYTES_MAX: usize = 256 << 10;
const BUFFER_BYTES: usize = 1 << 20;

/// A file being read.
pub(crate) struct Lines {
    /// As people call it.
    pub(crate) name: String,
    /// Its length, where that is known.
    pub(crate) bytes: Option<u64>,
    reader: Box<dyn BufRead + Send>,
}

/// One line as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LineRead {
    /// Bytes taken from the file, the line's end included.
    pub(crate) bytes: u64,
    /// Whether it was too long, so that only its beginning was kept.
    pub(crate) too_long: bool,
}

impl Lines {
    /// Opens `path`; `-` is standard input.
    pub(crate) fn open(path: &Path) -> Result<Lines, Error> {
        if path == Path::new("-") {
            let reader = Box::new(BufReader::with_capacity(BUFFER_BYTES, io::stdin()));
            return Ok(Lines { name: "standard input".to_owned(), bytes: None, reader });
        }
        let failed = |source| Error::File { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let about = file.metadata().map_err(failed)?;
        if about.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        let bytes = about.is_file().then_some(about.len());
        let reader = Box::new(BufReader::with_capacity(BUFFER_BYTES, file));
        Ok(Lines { name: path.display().to_string(), bytes, reader })
    }

    /// Lines from memory.
    #[cfg(test)]
    pub(crate) fn of(name: &str, text: &'static str) -> Lines {
        let bytes = Some(text.len() as u64);
        Lines { name: name.to_owned(), bytes, reader: Box::new(text.as_bytes()) }
    }

    /// Reads the next line into `line`, without its end; `None` at the end of the file.
    pub(crate) fn next(&mut self, line: &mut Vec<u8>) -> Result<Option<LineRead>, Error> {
        line.clear();
        let failed = |source| Error::File { path: PathBuf::from(&self.name), source };
        let mut bounded = (&mut self.reader).take(LINE_BYTES_MAX as u64 + 1);
        let mut bytes = bounded.read_until(b'\n', line).map_err(failed)? as u64;
        if bytes == 0 {
            return Ok(None);
        }
        let too_long = line.len() > LINE_BYTES_MAX;
        if too_long && line.last() != Some(&b'\n') {
            bytes += skip_line(&mut *self.reader).map_err(failed)?;
        }
        Ok(Some(LineRead { bytes, too_long }))
    }
}

/// Drops what is left of a line; returns how many bytes that was.
fn skip_line(reader: &mut dyn BufRead) -> io::Result<u64> {
    let mut skipped = 0;
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(skipped);
        }
        let end = buffer.iter().position(|b| *b == b'\n');
        let count = end.map_or(buffer.len(), |at| at + 1);
        reader.consume(count);
        skipped += count as u64;
        if end.is_some() {
            return Ok(skipped);
        }
    }
}

/// Ids for lines that have none: the same for the same line of the same file, every time.
#[derive(Debug)]
pub(crate) struct Ids {
    prefix: Option<String>,
    /// What is hashed for a prefix, when the first is wanted.
    file: Option<PathBuf>,
}

impl Ids {
    /// With a prefix given, or else the hash of the file at `path`.
    pub(crate) fn new(prefix: Option<String>, path: &Path, lines: &Lines) -> Ids {
        // What is no regular file cannot be read twice.
        Ids { prefix, file: lines.bytes.map(|_| path.to_owned()) }
    }

    /// The id of line `number`.
    ///
    /// # Errors
    /// When there is nothing to derive it from, or the file cannot be read.
    pub(crate) fn of(&mut self, kind: &Kind, name: &str, number: u64) -> Result<String, Error> {
        if self.prefix.is_none() {
            let Some(path) = &self.file else {
                let field = kind.id_field;
                return Err(Error::Usage(format!(
                    "line {number} of {name} has no {field}: with --id-prefix NAME it becomes \
                     NAME-{number}; without one a repeated import would add it again (the hash of \
                     a file serves by itself, but this is no regular file)"
                )));
            };
            self.prefix = Some(hash(path)?);
        }
        let prefix = self.prefix.as_deref().unwrap_or_default();
        Ok(format!("{prefix}-{number}"))
    }
}

/// The first half of the file's SHA-256, in hexadecimal.
fn hash(path: &Path) -> Result<String, Error> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => hasher.update(&buffer[..count]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(failed(source)),
        }
    }
    let digest = hasher.finalize();
    Ok(digest[..16].iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::kind::{PURCHASES, RESTOCKS};

    #[test]
    fn lines_end_with_their_end_or_the_file_and_long_ones_are_cut() {
        let long = "x".repeat(2 * LINE_BYTES_MAX);
        let text: &'static str = format!("a\n\nb\r\n{long}\nlast").leak();
        let mut lines = Lines::of("f", text);
        let (mut line, mut seen) = (Vec::new(), Vec::new());
        while let Some(read) = lines.next(&mut line).expect("readable") {
            seen.push((line.trim_ascii().len().min(9), read.bytes, read.too_long));
        }
        let long = 2 * LINE_BYTES_MAX as u64 + 1;
        let expected =
            [(1, 2, false), (0, 1, false), (1, 3, false), (9, long, true), (4, 4, false)];
        assert_eq!(seen, expected);
    }

    #[test]
    fn ids_come_from_the_content_and_the_number() {
        let folder = tempfile::tempdir().expect("a folder");
        let id_of = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("written");
            let lines = Lines::open(&path).expect("there");
            Ids::new(None, &path, &lines).of(&RESTOCKS, name, 3).expect("an id")
        };
        assert_eq!(id_of("a", "same"), id_of("b", "same"));
        assert_ne!(id_of("a", "same"), id_of("a", "other"));
        assert!(id_of("a", "same").ends_with("-3"));
    }

    #[test]
    fn standard_input_needs_a_prefix() {
        let mut ids = Ids { prefix: None, file: None };
        let error = ids.of(&PURCHASES, "standard input", 7).expect_err("no prefix");
        assert_eq!(error.code(), crate::exit::USAGE);
        assert!(error.to_string().starts_with("line 7 of standard input has no purchaseId"));
        let mut ids = Ids { prefix: Some("x".to_owned()), file: None };
        assert_eq!(ids.of(&PURCHASES, "standard input", 7).expect("an id"), "x-7");
    }
}
