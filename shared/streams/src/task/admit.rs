//! What the engine itself does with a record before any processor sees it: reads its key, sends
//! on what lies in a wrong partition, and buries what cannot be read.

use super::scope::trace;
use super::{Output, TaskEnv, TaskState};
use crate::broker::{Now, TopicPartition};
use crate::error::{Error, Result};
use crate::partitioner::partition_of;
use crate::processor::{DeadLetter, Origin};
use crate::record::{Header, Outgoing, Record, TIME_MIN};
use crate::stamp::TRACE;

/// Bytes of a dead letter's value that are kept.
const DEAD_LETTER_BYTES_MAX: usize = 256 << 10;

/// Where an admitted record is decided.
pub(super) enum Admitted<'a> {
    Here { source: usize, origin: Origin<'a> },
    Elsewhere { source: usize, partition: u32 },
}

/// What the engine itself refuses or sends on, before any processor sees it.
pub(super) fn admit<'a>(
    env: &TaskEnv,
    input: usize,
    record: &Record<'a>,
    now: Now,
) -> Result<Admitted<'a>, DeadLetter> {
    let sources = &env.topology.sources;
    let moved = input >= sources.len();
    let (source, origin) = if moved {
        moved_from(env, record)
            .ok_or_else(|| DeadLetter::new("MISROUTED", "it does not say where it came from"))?
    } else {
        let Record { topic, partition, offset, .. } = *record;
        (input, Origin { topic, partition, offset })
    };
    let spec = &sources[source];
    let key = (spec.key)(record)?;
    if let Some(max) = spec.future_max_ms
        && record.timestamp > now.wall_ms.saturating_add_unsigned(max)
    {
        let ahead = record.timestamp.saturating_sub(now.wall_ms);
        let text = format!("stamped {ahead} ms ahead of the clock, {max} ms are allowed");
        return Err(DeadLetter::new("FUTURE", text));
    }
    let partition = partition_of(&key, env.partitions);
    if partition == record.partition {
        return Ok(Admitted::Here { source, origin });
    }
    if moved || env.topology.rekey.is_none() {
        let text = format!("its key belongs to partition {partition}");
        return Err(DeadLetter::new("MISROUTED", text));
    }
    Ok(Admitted::Elsewhere { source, partition })
}

const KIND: &str = "kind";
const TOPIC: &str = "topic";
const PARTITION: &str = "partition";
const OFFSET: &str = "offset";

fn moved_from<'a>(env: &TaskEnv, record: &Record<'a>) -> Option<(usize, Origin<'a>)> {
    let text = |name| std::str::from_utf8(record.headers.get(name)?).ok();
    let kind = text(KIND)?;
    let source = env.topology.sources.iter().position(|s| s.name == kind)?;
    let partition = text(PARTITION)?.parse().ok()?;
    let offset = text(OFFSET)?.parse().ok()?;
    Some((source, Origin { topic: text(TOPIC)?, partition, offset }))
}

pub(super) fn rekey(
    env: &TaskEnv,
    record: &Record<'_>,
    source: usize,
    partition: u32,
    out: &mut dyn Output,
) -> Result<()> {
    let Some(topic) = &env.topology.rekey else {
        return Ok(());
    };
    let source = &env.topology.sources[source];
    let key = (source.key)(record).unwrap_or_default();
    let (from, offset) = (record.partition.to_string(), record.offset.to_string());
    let trace = trace(record);
    let headers: [Header<'_>; 5] = [
        (KIND, Some(source.name.as_bytes())),
        (TOPIC, Some(record.topic.as_bytes())),
        (PARTITION, Some(from.as_bytes())),
        (OFFSET, Some(offset.as_bytes())),
        (TRACE, trace),
    ];
    let headers = &headers[..4 + usize::from(trace.is_some())];
    let timestamp = record.time();
    let value = record.value;
    out.send(Outgoing { topic, partition, timestamp, key: Some(&key), value, headers })?;
    Ok(())
}

/// Writes a dead letter: the bytes as they came, and where and why.
pub(super) fn bury(
    env: &TaskEnv,
    state: &mut TaskState,
    record: &Record<'_>,
    letter: &DeadLetter,
    now: Now,
    out: &mut dyn Output,
) -> Result<()> {
    state.count("dead_letters");
    let Some(topic) = &env.topology.dead_letters else {
        let partition = TopicPartition::new(record.topic, record.partition);
        let cause = format!("{letter}, and the topology has no topic for dead letters");
        return Err(Error::Invariant { partition, offset: record.offset, cause });
    };
    let cut = |bytes: &'_ [u8]| bytes.len().min(DEAD_LETTER_BYTES_MAX);
    let length = record.value.map_or(0, <[u8]>::len).to_string();
    let numbers = [u64::from(record.partition).to_string(), record.offset.to_string()];
    let timestamp = record.timestamp.to_string();
    let headers: [Header<'_>; 7] = [
        (TOPIC, Some(record.topic.as_bytes())),
        (PARTITION, Some(numbers[0].as_bytes())),
        (OFFSET, Some(numbers[1].as_bytes())),
        ("timestamp", Some(timestamp.as_bytes())),
        ("code", Some(letter.code.as_bytes())),
        ("error", Some(letter.text.as_bytes())),
        ("length", Some(length.as_bytes())),
    ];
    out.send(Outgoing {
        topic,
        partition: state.partition % env.dead_letter_partitions.max(1),
        timestamp: now.wall_ms.max(TIME_MIN),
        key: record.key.map(|k| &k[..cut(k)]),
        value: record.value.map(|v| &v[..cut(v)]),
        headers: &headers,
    })?;
    Ok(())
}
