//! Where a record belongs, once it is read; and what of it is a dead letter all the same.

use super::TaskEnv;
use crate::broker::Now;
use crate::error::Result;
use crate::partitioner::partition_of;
use crate::processor::{Context, DeadLetter, ProcessError};
use crate::record::Record;
use crate::topology::Gate;

/// The partition of a record of this source, and of this key.
pub(super) fn home(
    env: &TaskEnv,
    (input, source): (usize, usize),
    record: &Record<'_>,
    key: &[u8],
    now: Now,
) -> Result<u32, DeadLetter> {
    if let Some(max) = env.topology.sources[source].future_max_ms
        && record.timestamp > now.wall_ms.saturating_add_unsigned(max)
    {
        let ahead = record.timestamp.saturating_sub(now.wall_ms);
        let text = format!("stamped {ahead} ms ahead of the clock, {max} ms are allowed");
        return Err(DeadLetter::new("FUTURE", text));
    }
    let partition = partition_of(key, env.partitions);
    let may_move = env.source_of(input).is_some() && env.topology.rekey.is_some();
    if partition != record.partition && !may_move {
        let text = format!("its key belongs to partition {partition}");
        return Err(DeadLetter::new("MISROUTED", text));
    }
    Ok(partition)
}

/// Lets nothing in, and tells whether it could.
pub(super) struct Judge<'a> {
    pub(super) env: &'a TaskEnv,
    pub(super) input: usize,
    pub(super) source: usize,
    pub(super) record: &'a Record<'a>,
    pub(super) now: Now,
}

impl Gate for Judge<'_> {
    fn admit(&mut self, key: &[u8]) -> Result<Option<Context<'_>>, ProcessError> {
        home(self.env, (self.input, self.source), self.record, key, self.now)?;
        Ok(None)
    }
}
