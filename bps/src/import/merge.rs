//! Both files in one order, the engine's own: a restock goes before a purchase unless it is
//! stamped more than the allowed clock skew later. Runs of one kind become batches.

use std::fmt;

use bytes::Bytes;

use super::file::{Ids, LINE_BYTES_MAX, Lines};
use super::kind::Kind;
use super::line::{self, Gap};
use crate::error::Error;

/// Most lines of one request.
const BATCH_LINES_MAX: usize = 5_000;
/// A request is sent when it is as long as that (bytes).
const BATCH_BYTES_MAX: usize = 2 << 20;

/// A line that cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadLine {
    /// The file.
    pub(crate) file: String,
    /// Number of the line, from 1.
    pub(crate) number: u64,
    /// What is wrong with it.
    pub(crate) cause: String,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.number, self.cause)
    }
}

/// Lines of one kind that are sent in one request.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    /// Their kind.
    pub(crate) kind: &'static Kind,
    /// The file's name.
    pub(crate) file: String,
    /// The lines, each with its end.
    pub(crate) body: Bytes,
    /// Of each line: its number in the file, and where it ends in the body.
    pub(crate) lines: Vec<(u64, usize)>,
    /// Bytes of the file that are done with these lines.
    pub(crate) source_bytes: u64,
}

/// What the merge gives out, in order.
#[derive(Debug)]
pub(crate) enum Event {
    /// Lines to be sent.
    Batch(Batch),
    /// A line that is left out.
    Bad(BadLine),
}

/// One file with the line that is next.
pub(crate) struct Feed {
    kind: &'static Kind,
    lines: Lines,
    ids: Ids,
    /// How much they go ahead of others (ms).
    head_start: i64,
    line: Vec<u8>,
    number: u64,
    /// Place in the order of the line that is next, or of the one before it if it has no stamp.
    key: i64,
    gap: Option<Gap>,
    waiting: bool,
    unread: u64,
}

impl Feed {
    /// A file of this kind, whose lines go ahead of others by so much (ms).
    pub(crate) fn new(kind: &'static Kind, lines: Lines, ids: Ids, head_start: i64) -> Feed {
        Feed {
            kind,
            lines,
            ids,
            head_start,
            line: Vec::new(),
            number: 0,
            key: i64::MIN,
            gap: None,
            waiting: false,
            unread: 0,
        }
    }

    /// Goes on to the next line that is good; those that are not go to `bad`.
    fn advance(&mut self, bad: &mut Vec<BadLine>) -> Result<(), Error> {
        self.waiting = false;
        while let Some(read) = self.lines.next(&mut self.line)? {
            self.number += 1;
            self.unread += read.bytes;
            let text = self.line.trim_ascii();
            if text.is_empty() {
                continue;
            }
            let seen = match read.too_long {
                true => Err(format!("is longer than {LINE_BYTES_MAX} bytes")),
                false => line::look(text, self.kind),
            };
            match seen {
                Ok(seen) => {
                    if let Some(stamp) = seen.timestamp {
                        self.key = stamp.saturating_sub(self.head_start);
                    }
                    self.gap = seen.id;
                    self.waiting = true;
                    return Ok(());
                }
                Err(cause) => {
                    let (file, number) = (self.lines.name.clone(), self.number);
                    bad.push(BadLine { file, number, cause: format!("it {cause}") });
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Appends the line that is next to a batch.
    fn give(&mut self, batch: &mut Building) -> Result<(), Error> {
        let line = self.line.trim_ascii();
        match &self.gap {
            None => batch.body.extend_from_slice(line),
            Some(gap) => {
                let id = self.ids.of(self.kind, &self.lines.name, self.number)?;
                let id = serde_json::Value::from(id).to_string();
                line::complete(line, self.kind, gap, &id, &mut batch.body);
            }
        }
        batch.body.push(b'\n');
        batch.lines.push((self.number, batch.body.len()));
        batch.source_bytes += std::mem::take(&mut self.unread);
        Ok(())
    }
}

#[derive(Default)]
struct Building {
    body: Vec<u8>,
    lines: Vec<(u64, usize)>,
    source_bytes: u64,
}

impl Building {
    fn is_full(&self) -> bool {
        self.lines.len() >= BATCH_LINES_MAX || self.body.len() >= BATCH_BYTES_MAX
    }

    fn finish(&mut self, kind: &'static Kind, file: &str) -> Option<Event> {
        if self.lines.is_empty() {
            return None;
        }
        let Building { body, lines, source_bytes } = std::mem::take(self);
        let (body, file) = (Bytes::from(body), file.to_owned());
        Some(Event::Batch(Batch { kind, file, body, lines, source_bytes }))
    }
}

/// Gives out the lines of all feeds, until they end or `give` says `false`. At equal places the
/// feed that stands first goes first.
pub(crate) fn run(feeds: &mut [Feed], mut give: impl FnMut(Event) -> bool) -> Result<(), Error> {
    let mut bad = Vec::new();
    let mut building = Building::default();
    // The feed whose lines are being put together.
    let mut current: Option<usize> = None;
    let mut due: Vec<usize> = (0..feeds.len()).collect();
    loop {
        while let Some(feed) = due.pop() {
            feeds[feed].advance(&mut bad)?;
            if let Some(line) = bad.pop() {
                due.push(feed);
                // Reported behind what was good before it.
                let batch = current.and_then(|c| finish(&mut building, &feeds[c]));
                if !batch.into_iter().chain([Event::Bad(line)]).all(&mut give) {
                    return Ok(());
                }
            }
        }
        let waiting = feeds.iter().enumerate().filter(|(_, feed)| feed.waiting);
        let next = waiting.min_by_key(|(_, feed)| feed.key).map(|(index, _)| index);
        if let Some(c) = current
            && (next != current || building.is_full())
            && let Some(batch) = finish(&mut building, &feeds[c])
            && !give(batch)
        {
            return Ok(());
        }
        let Some(feed) = next else { return Ok(()) };
        feeds[feed].give(&mut building)?;
        current = next;
        due.push(feed);
    }
}

fn finish(building: &mut Building, feed: &Feed) -> Option<Event> {
    building.finish(feed.kind, &feed.lines.name)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::import::kind::{PURCHASES, RESTOCKS};

    fn feed(kind: &'static Kind, text: &str, head_start: i64) -> Feed {
        let lines = Lines::of("f", text.to_owned().leak());
        let ids = Ids::new(Some("p".to_owned()), Path::new("f"), &lines);
        Feed::new(kind, lines, ids, head_start)
    }

    /// `r1 r2 | p1` for a batch of restocks 1 and 2, then one of purchase 1; `!r3` for a bad line.
    fn order(restocks: &str, purchases: &str) -> String {
        let mut feeds = [feed(&RESTOCKS, restocks, 5_000), feed(&PURCHASES, purchases, 0)];
        let mut shown: Vec<String> = Vec::new();
        let give = |event| {
            shown.push(match event {
                Event::Bad(line) => format!("!{}", line.number),
                Event::Batch(batch) => {
                    let sign = if batch.kind == &RESTOCKS { 'r' } else { 'p' };
                    let lines: Vec<_> =
                        batch.lines.iter().map(|(n, _)| format!("{sign}{n}")).collect();
                    lines.join(" ")
                }
            });
            true
        };
        run(&mut feeds, give).expect("readable");
        shown.join(" | ")
    }

    /// Lines with these seconds as their timestamps; `-` for none, `?` for a bad line.
    fn lines(stamps: &str) -> String {
        let line = |stamp: &str| match stamp {
            "-" => "{}\n".to_owned(),
            "?" => "?\n".to_owned(),
            _ => format!("{{\"timestamp\":\"2017-01-01T00:00:{stamp}Z\"}}\n"),
        };
        stamps.split_whitespace().map(line).collect()
    }

    #[track_caller]
    fn check(restocks: &str, purchases: &str, expected: &str) {
        assert_eq!(order(&lines(restocks), &lines(purchases)), expected);
    }

    #[test]
    fn restocks_have_a_head_start_and_win_ties() {
        check("10", "04", "p1 | r1");
        check("10", "05", "r1 | p1");
        check("10", "06", "r1 | p1");
        check("10 20 30", "01 11 12 40", "p1 | r1 | p2 p3 | r2 r3 | p4");
    }

    #[test]
    fn each_file_keeps_its_order_and_unstamped_lines_stay_behind_the_one_before() {
        check("30 10", "20", "p1 | r1 r2");
        check("- 10 -", "01", "r1 | p1 | r2 r3");
        check("10", "- 20 -", "p1 | r1 | p2 p3");
        check("- -", "- -", "r1 r2 | p1 p2");
        check("", "01 02", "p1 p2");
        check("", "", "");
    }

    #[test]
    fn bad_lines_are_told_behind_the_good_ones_before_them() {
        check("", "01 ? ? 02", "p1 | !2 | !3 | p4");
        check("? 01", "?", "!1 | !1 | r2");
        assert_eq!(order("", "\n{}\n\n  {}  \r\n"), "p2 p4");
    }

    #[test]
    fn batches_are_bounded_and_know_their_bytes() {
        let text = "{\"itemId\":\"é\"}\n".repeat(BATCH_LINES_MAX + 1);
        let bytes = text.len() as u64;
        let mut batches = Vec::new();
        run(&mut [feed(&PURCHASES, &text, 0)], |event| {
            if let Event::Batch(batch) = event {
                batches.push(batch);
            }
            true
        })
        .expect("readable");
        let sizes: Vec<usize> = batches.iter().map(|b| b.lines.len()).collect();
        assert_eq!(sizes, [BATCH_LINES_MAX, 1]);
        assert_eq!(batches.iter().map(|b| b.source_bytes).sum::<u64>(), bytes);
        let last = format!("{{\"purchaseId\":\"p-{}\",\"itemId\":\"é\"}}\n", BATCH_LINES_MAX + 1);
        assert_eq!(batches[1].body, last);
        assert_eq!(batches[1].lines, [(BATCH_LINES_MAX as u64 + 1, last.len())]);
    }
}
