//! Dead letters: records that cannot be read, as they came, and why.

use super::moved::{OFFSET, PARTITION, TOPIC};
use super::{Output, TaskEnv, TaskState};
use crate::broker::{Now, TopicPartition};
use crate::error::{Error, Result};
use crate::processor::DeadLetter;
use crate::record::{Header, Outgoing, Record, TIME_MIN};

/// Bytes of a dead letter's value that are kept.
const DEAD_LETTER_BYTES_MAX: usize = 256 << 10;

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
