//! What the engine wrote about records without deciding them, by their place in the inputs: those
//! sent on to their own partition, and dead letters. Neither has a stamp; each names its source.

use std::str::FromStr;

use bps_streams::Record;
use bps_streams::broker::TopicPartition;

use crate::cut::Cut;
use crate::feed::{Feed, Meter};
use crate::report::{Place, Report, Rule};
use crate::written::hash;
use crate::{Env, Result};

/// Bytes of a dead letter's value and key that are kept.
const LETTER_BYTES_MAX: usize = 256 << 10;

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// It was sent on to this partition.
    Moved(u32),
    /// It could not be read.
    Unreadable,
    /// It was stamped in the future, as of this time (ms since 1970); so far ahead it was allowed,
    /// as the letter says (ms).
    Future(i64, u32),
    /// It had been sent on, and still lay wrong.
    Misrouted,
}

/// One such record: about 64 bytes.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    input: u32,
    offset: u64,
    pub(crate) what: What,
    /// Partition and offset where it says so.
    at: (u32, u64),
    content: u64,
}

/// All of one partition's inputs, by input and offset.
#[derive(Default)]
pub(crate) struct Traces {
    sorted: Vec<Trace>,
    seen: Vec<bool>,
}

/// The name of a source in the header `kind`, by input.
pub(crate) const KINDS: [&str; 2] = ["restocks", "purchases"];

/// Reads those of the partitions `from..to`.
pub(crate) fn read(
    env: &Env<'_>,
    cut: &Cut,
    (from, to): (u32, u32),
    meter: &Meter<'_>,
    report: &mut Report,
) -> Result<Vec<Traces>> {
    let mut all: Vec<Traces> = (from..to).map(|_| Traces::default()).collect();
    let spans: Vec<_> = cut.traces.iter().filter(|s| s.end > s.start).cloned().collect();
    if spans.is_empty() {
        return Ok(all);
    }
    let count = spans.len();
    let mut feed = Feed::open(env.broker, spans, meter)?;
    for slot in 0..count {
        feed.fill(slot)?;
        while let Some(record) = feed.head(slot) {
            let is_moved = record.topic == env.topics.rekeyed;
            let found = if is_moved { moved(env, &record) } else { letter(env, &record) };
            match found {
                Some((partition, trace)) if (from..to).contains(&partition) => {
                    all[(partition - from) as usize].sorted.push(trace);
                }
                Some((partition, _)) if partition < env.partitions => {}
                // A moved record that says nothing of its source is a stranger's, and becomes a
                // dead letter itself.
                None if is_moved && record.headers.get("kind").is_none() => {}
                _ if from > 0 => {}
                _ => report.find(
                    Rule::C1,
                    Place::of(&record),
                    "headers that name a record of the inputs",
                    "none, or other ones",
                ),
            }
            feed.advance(slot)?;
        }
    }
    for traces in &mut all {
        traces.sorted.sort_by_key(|t| (t.input, t.offset));
        traces.seen = vec![false; traces.sorted.len()];
    }
    Ok(all)
}

fn header<'a>(record: &Record<'a>, name: &str) -> Option<&'a str> {
    std::str::from_utf8(record.headers.get(name)?).ok()
}

fn number<T: FromStr>(record: &Record<'_>, name: &str) -> Option<T> {
    header(record, name)?.parse().ok()
}

fn moved(env: &Env<'_>, record: &Record<'_>) -> Option<(u32, Trace)> {
    let kind = header(record, "kind")?;
    let input = KINDS.iter().position(|k| *k == kind)?;
    let from: u32 = number(record, "partition")?;
    let trace = Trace {
        input: input as u32,
        offset: number(record, "offset")?,
        what: What::Moved(record.partition),
        at: (record.partition, record.offset),
        content: hash((record.key, record.value, record.time())),
    };
    (header(record, "topic")? == env.inputs()[input]).then_some((from, trace))
}

fn letter(env: &Env<'_>, record: &Record<'_>) -> Option<(u32, Trace)> {
    let topic = header(record, "topic")?;
    let input = env.inputs().iter().position(|t| *t == topic)?;
    let what = match header(record, "code")? {
        "FUTURE" => What::Future(record.timestamp, allowed_ms(record)),
        "MISROUTED" => What::Misrouted,
        _ => What::Unreadable,
    };
    let timestamp: i64 = number(record, "timestamp")?;
    let length: usize = number(record, "length")?;
    let trace = Trace {
        input: input as u32,
        offset: number(record, "offset")?,
        what,
        at: (record.partition, record.offset),
        content: hash((record.key, record.value, timestamp, length)),
    };
    Some((number(record, "partition")?, trace))
}

/// What a letter about the future says was allowed; 0 where it does not.
fn allowed_ms(record: &Record<'_>) -> u32 {
    let text = header(record, "error").unwrap_or_default().strip_suffix(" ms are allowed");
    let number = text.and_then(|text| text.rsplit(' ').next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

impl Traces {
    /// What became of a record; a second trace of it is a finding.
    pub(crate) fn take(&mut self, env: &Env<'_>, input: usize, offset: u64) -> Found {
        let key = (input as u32, offset);
        let first = self.sorted.partition_point(|t| (t.input, t.offset) < key);
        let rest = self.sorted[first..].iter();
        let count = rest.take_while(|t| (t.input, t.offset) == key).count();
        self.seen[first..first + count].fill(true);
        let second = (count > 1).then(|| self.sorted[first + 1].place(env));
        let trace = (count > 0).then(|| self.sorted[first].clone());
        Found { trace, second }
    }

    /// Those that no record of the inputs led to.
    pub(crate) fn unseen(&self) -> impl Iterator<Item = &Trace> {
        self.sorted.iter().zip(&self.seen).filter(|(_, seen)| !**seen).map(|(trace, _)| trace)
    }
}

/// What is known of one record.
pub(crate) struct Found {
    pub(crate) trace: Option<Trace>,
    /// Where it is said once more.
    pub(crate) second: Option<Spot>,
}

/// A place without its borrow.
pub(crate) type Spot = (TopicPartition, u64);

impl Trace {
    /// Where it stands.
    pub(crate) fn place(&self, env: &Env<'_>) -> Spot {
        let moved = matches!(self.what, What::Moved(_));
        let topic = if moved { &env.topics.rekeyed } else { &env.topics.dead_letters };
        (TopicPartition::new(topic, self.at.0), self.at.1)
    }

    /// Which record it speaks of.
    pub(crate) fn source<'a>(&self, env: &Env<'a>, partition: u32) -> Place<'a> {
        Place::new(env.inputs()[self.input as usize], partition, self.offset)
    }

    /// Whether it repeats the record as it came.
    pub(crate) fn repeats(&self, record: &Record<'_>, item: Option<&str>) -> bool {
        let content = match self.what {
            What::Moved(_) => hash((item.map(str::as_bytes), record.value, record.time())),
            _ => {
                let cut = |bytes: &'_ [u8]| bytes.len().min(LETTER_BYTES_MAX);
                let key = record.key.map(|k| &k[..cut(k)]);
                let value = record.value.map(|v| &v[..cut(v)]);
                let length = record.value.map_or(0, <[u8]>::len);
                hash((key, value, record.timestamp, length))
            }
        };
        content == self.content
    }
}
