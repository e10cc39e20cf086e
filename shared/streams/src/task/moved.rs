//! Records that lie in a partition that is not their key's: sent on, and taken in again where they
//! belong.

use super::scope::trace;
use super::{Output, TaskEnv};
use crate::error::Result;
use crate::processor::{DeadLetter, Origin};
use crate::record::{Header, Outgoing, Record};
use crate::stamp::TRACE;

const KIND: &str = "kind";
pub(super) const TOPIC: &str = "topic";
pub(super) const PARTITION: &str = "partition";
pub(super) const OFFSET: &str = "offset";

/// The source that a record of this input came by first, and where it lay then.
pub(super) fn first_place<'a>(
    env: &TaskEnv,
    input: usize,
    record: &Record<'a>,
) -> Result<(usize, Origin<'a>), DeadLetter> {
    if let Some(source) = env.topology.source_of(input) {
        let Record { topic, partition, offset, .. } = *record;
        return Ok((source, Origin { topic, partition, offset }));
    }
    let told = || {
        let text = |name| std::str::from_utf8(record.headers.get(name)?).ok();
        let kind = text(KIND)?;
        let source = env.topology.sources.iter().position(|s| s.name == kind)?;
        let partition = text(PARTITION)?.parse().ok()?;
        let offset = text(OFFSET)?.parse().ok()?;
        Some((source, Origin { topic: text(TOPIC)?, partition, offset }))
    };
    told().ok_or_else(|| DeadLetter::new("MISROUTED", "it does not say where it came from"))
}

/// Sends a record on to the partition of its key.
pub(super) fn send_on(
    env: &TaskEnv,
    record: &Record<'_>,
    source: usize,
    (key, partition): (&[u8], u32),
    out: &mut dyn Output,
) -> Result<()> {
    let Some(topic) = &env.topology.rekey else {
        return Ok(());
    };
    let source = &env.topology.sources[source];
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
    let (timestamp, value) = (record.time(), record.value);
    out.send(Outgoing { topic, partition, timestamp, key: Some(key), value, headers })?;
    Ok(())
}
