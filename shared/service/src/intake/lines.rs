//! Splits a streamed body into lines, and never holds more than one of them.

use bps_events::fields::VALUE_BYTES_MAX;

/// Longest line that is kept (bytes): a value, and some white space around it.
pub(super) const LINE_BYTES_MAX: usize = VALUE_BYTES_MAX + 1024;

/// A line, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// As it came.
    Whole(&'a [u8]),
    /// Longer than is kept; its length.
    TooLong(usize),
}

/// What is left of the chunks so far: the beginning of a line.
#[derive(Default)]
pub(super) struct Lines {
    begun: Vec<u8>,
    /// Bytes of this line that were not kept.
    skipped: usize,
}

impl Lines {
    /// Takes the next line out of `chunk`; `None` when its end has not come yet.
    /// `line` holds it where it came in several chunks.
    pub(super) fn next<'l, 'c: 'l>(
        &mut self,
        chunk: &mut &'c [u8],
        line: &'l mut Vec<u8>,
    ) -> Option<Line<'l>> {
        let Some(end) = chunk.iter().position(|byte| *byte == b'\n') else {
            self.keep(chunk);
            *chunk = &[];
            return None;
        };
        let (head, rest) = (&chunk[..end], &chunk[end + 1..]);
        *chunk = rest;
        if self.begun.is_empty() && self.skipped == 0 {
            return Some(whole(head));
        }
        self.keep(head);
        Some(self.take(line))
    }

    /// The last line, where it has no end.
    pub(super) fn last<'a>(&mut self, line: &'a mut Vec<u8>) -> Option<Line<'a>> {
        (!self.begun.is_empty() || self.skipped > 0).then(|| self.take(line))
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = LINE_BYTES_MAX.saturating_sub(self.begun.len());
        let kept = bytes.len().min(room);
        self.begun.extend_from_slice(&bytes[..kept]);
        self.skipped += bytes.len() - kept;
    }

    fn take<'a>(&mut self, line: &'a mut Vec<u8>) -> Line<'a> {
        line.clear();
        std::mem::swap(line, &mut self.begun);
        match std::mem::take(&mut self.skipped) {
            0 => Line::Whole(line),
            skipped => Line::TooLong(line.len() + skipped),
        }
    }
}

fn whole(bytes: &[u8]) -> Line<'_> {
    match bytes.len() {
        0..=LINE_BYTES_MAX => Line::Whole(bytes),
        longer => Line::TooLong(longer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(chunks: &[&[u8]], expected: &[&str]) {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        let show = |line: Line<'_>| match line {
            Line::Whole(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Line::TooLong(bytes) => format!("too long: {bytes}"),
        };
        let mut buffer = Vec::new();
        for chunk in chunks {
            let mut rest = *chunk;
            while !rest.is_empty() {
                if let Some(line) = lines.next(&mut rest, &mut buffer) {
                    found.push(show(line));
                }
            }
        }
        found.extend(lines.last(&mut buffer).map(show));
        assert_eq!(found, expected);
    }

    #[test]
    fn lines_are_found_across_chunks() {
        check(&[b"a\nb\n"], &["a", "b"]);
        check(&[b"a", b"b\n\nc", b"d"], &["ab", "", "cd"]);
        check(&[b"\n", b"\n"], &["", ""]);
        check(&[], &[]);
    }

    #[test]
    fn a_line_that_is_too_long_is_counted_and_not_kept() {
        let half = vec![b'x'; LINE_BYTES_MAX];
        let told = format!("too long: {}", 2 * LINE_BYTES_MAX + 1);
        check(&[&half, b"x", &half, b"\na\n"], &[&told, "a"]);
        check(&[&half, b"x", &half], &[&told]);
        check(&[&[&half[..], b"xx\n"].concat()], &[&format!("too long: {}", LINE_BYTES_MAX + 2)]);
    }
}
