//! What the engine wrote about records without deciding them, by their place in the inputs: those
//! sent on to their own partition, and dead letters. Neither has a stamp; each names its source.

use std::str::FromStr;

use bps_streams::Record;
use bps_streams::broker::TopicPartition;

use crate::outputs::hash;
use crate::partition_reader::{Meter, PartitionReader};
use crate::report::{Place, Report, Rule};
use crate::snapshot::Snapshot;
use crate::stream::input_of;
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
pub(crate) struct Diverted {
    input: u32,
    offset: u64,
    pub(crate) what: What,
    /// Partition and offset where it says so.
    at: (u32, u64),
    content: u64,
}

/// All of one partition's inputs, by input and offset.
#[derive(Default)]
pub(crate) struct DivertedRecords {
    sorted: Vec<Diverted>,
    seen: Vec<bool>,
}

/// Reads those of the partitions `from..to`.
pub(crate) fn read(
    env: &Env<'_>,
    snapshot: &Snapshot,
    (from, to): (u32, u32),
    meter: &Meter<'_>,
    report: &mut Report,
) -> Result<Vec<DivertedRecords>> {
    let mut all: Vec<DivertedRecords> = (from..to).map(|_| DivertedRecords::default()).collect();
    let spans: Vec<_> = snapshot.diverted.iter().filter(|s| s.end > s.start).cloned().collect();
    if spans.is_empty() {
        return Ok(all);
    }
    let count = spans.len();
    let mut reader = PartitionReader::open(env.broker, spans, meter)?;
    for slot in 0..count {
        reader.fill(slot)?;
        while let Some(record) = reader.head(slot) {
            let is_moved = record.topic == env.topics.rekeyed;
            let found = if is_moved { moved(env, &record) } else { letter(env, &record) };
            match found {
                Some((partition, record_of)) if (from..to).contains(&partition) => {
                    all[(partition - from) as usize].sorted.push(record_of);
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
            reader.advance(slot)?;
        }
    }
    for diverted in &mut all {
        diverted.sorted.sort_by_key(|t| (t.input, t.offset));
        diverted.seen = vec![false; diverted.sorted.len()];
    }
    Ok(all)
}

fn header<'a>(record: &Record<'a>, name: &str) -> Option<&'a str> {
    std::str::from_utf8(record.headers.get(name)?).ok()
}

fn number<T: FromStr>(record: &Record<'_>, name: &str) -> Option<T> {
    header(record, name)?.parse().ok()
}

fn moved(env: &Env<'_>, record: &Record<'_>) -> Option<(u32, Diverted)> {
    let kind = header(record, "kind")?;
    let stream = env.streams.iter().position(|stream| stream.source == kind)?;
    let input = input_of(stream);
    let from: u32 = number(record, "partition")?;
    let record_of = Diverted {
        input: input as u32,
        offset: number(record, "offset")?,
        what: What::Moved(record.partition),
        at: (record.partition, record.offset),
        content: hash((record.key, record.value, record.time())),
    };
    (header(record, "topic")? == env.inputs[input]).then_some((from, record_of))
}

fn letter(env: &Env<'_>, record: &Record<'_>) -> Option<(u32, Diverted)> {
    let topic = header(record, "topic")?;
    let input = env.inputs.iter().position(|t| *t == topic)?;
    let what = match header(record, "code")? {
        "FUTURE" => What::Future(record.timestamp, allowed_ms(record)),
        "MISROUTED" => What::Misrouted,
        _ => What::Unreadable,
    };
    let timestamp: i64 = number(record, "timestamp")?;
    let length: usize = number(record, "length")?;
    let record_of = Diverted {
        input: input as u32,
        offset: number(record, "offset")?,
        what,
        at: (record.partition, record.offset),
        content: hash((record.key, record.value, timestamp, length)),
    };
    Some((number(record, "partition")?, record_of))
}

/// What a letter about the future says was allowed; 0 where it does not.
fn allowed_ms(record: &Record<'_>) -> u32 {
    let text = header(record, "error").unwrap_or_default().strip_suffix(" ms are allowed");
    let number = text.and_then(|text| text.rsplit(' ').next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

impl DivertedRecords {
    /// What became of a record; a second trace of it is a finding.
    pub(crate) fn take(&mut self, env: &Env<'_>, input: usize, offset: u64) -> Found {
        let key = (input as u32, offset);
        let first = self.sorted.partition_point(|t| (t.input, t.offset) < key);
        let rest = self.sorted[first..].iter();
        let count = rest.take_while(|t| (t.input, t.offset) == key).count();
        self.seen[first..first + count].fill(true);
        let second = (count > 1).then(|| self.sorted[first + 1].place(env));
        let record_of = (count > 0).then(|| self.sorted[first].clone());
        Found { record_of, second }
    }

    /// Those that no record of the inputs led to.
    pub(crate) fn unseen(&self) -> impl Iterator<Item = &Diverted> {
        self.sorted
            .iter()
            .zip(&self.seen)
            .filter(|(_, seen)| !**seen)
            .map(|(record_of, _)| record_of)
    }
}

/// What is known of one record.
pub(crate) struct Found {
    pub(crate) record_of: Option<Diverted>,
    /// Where it is said once more.
    pub(crate) second: Option<Spot>,
}

/// A place without its borrow.
pub(crate) type Spot = (TopicPartition, u64);

impl Diverted {
    /// Where it stands.
    pub(crate) fn place(&self, env: &Env<'_>) -> Spot {
        let moved = matches!(self.what, What::Moved(_));
        let topic = if moved { &env.topics.rekeyed } else { &env.topics.dead_letters };
        (TopicPartition::new(topic, self.at.0), self.at.1)
    }

    /// Which record it speaks of.
    pub(crate) fn source<'a>(&self, env: &Env<'a>, partition: u32) -> Place<'a> {
        Place::new(env.inputs[self.input as usize], partition, self.offset)
    }

    /// Whether it repeats the record as it came.
    pub(crate) fn repeats(&self, record: &Record<'_>, item: Option<&str>) -> bool {
        let content = match self.what {
            What::Moved(_) => hash((item.map(str::as_bytes), record.value, record.time())),
            _ => {
                let snapshot = |bytes: &'_ [u8]| bytes.len().min(LETTER_BYTES_MAX);
                let key = record.key.map(|k| &k[..snapshot(k)]);
                let value = record.value.map(|v| &v[..snapshot(v)]);
                let length = record.value.map_or(0, <[u8]>::len);
                hash((key, value, record.timestamp, length))
            }
        };
        content == self.content
    }
}
