//! A record that is being taken, and where it belongs, once it is read; and what of it is a dead letter
//! all the same.

use super::{TaskEnv, moved};
use crate::broker::Now;
use crate::error::Result;
use crate::partitioner::partition_of;
use crate::processor::{Context, DeadLetter, Origin, ProcessError};
use crate::record::Record;
use crate::topology::{Gate, SourceSpec};

/// The record at hand.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) input: usize,
    pub(super) source: usize,
    pub(super) origin: Origin<'a>,
    pub(super) record: &'a Record<'a>,
    now: Now,
}

impl<'a> Entry<'a> {
    /// A record of an input.
    ///
    /// # Errors
    /// It was moved, and does not say from where.
    pub(super) fn of(
        env: &TaskEnv,
        input: usize,
        record: &'a Record<'a>,
        now: Now,
    ) -> Result<Self, DeadLetter> {
        let (source, origin) = moved::first_place(env, input, record)?;
        Ok(Self { input, source, origin, record, now })
    }

    pub(super) fn source<'e>(&self, env: &'e TaskEnv) -> &'e SourceSpec {
        &env.topology.sources[self.source]
    }

    /// The partition that it belongs to by its key.
    pub(super) fn home(&self, env: &TaskEnv, key: &[u8]) -> Result<u32, DeadLetter> {
        let Self { input, record, now, .. } = *self;
        if let Some(max) = self.source(env).future_max_ms
            && record.timestamp > now.wall_ms.saturating_add_unsigned(max)
        {
            let ahead = record.timestamp.saturating_sub(now.wall_ms);
            let text = format!("stamped {ahead} ms ahead of the clock, {max} ms are allowed");
            return Err(DeadLetter::new("FUTURE", text));
        }
        let partition = partition_of(key, env.partitions);
        let topology = &env.topology;
        let may_move = topology.source_of(input).is_some() && topology.rekey.is_some();
        if partition != record.partition && !may_move {
            let text = format!("its key belongs to partition {partition}");
            return Err(DeadLetter::new("MISROUTED", text));
        }
        Ok(partition)
    }
}

/// Lets nothing in, and tells whether it could.
pub(super) struct Judge<'a> {
    pub(super) env: &'a TaskEnv,
    pub(super) entry: Entry<'a>,
}

impl Gate for Judge<'_> {
    fn admit(&mut self, key: &[u8]) -> Result<Option<Context<'_>>, ProcessError> {
        self.entry.home(self.env, key)?;
        Ok(None)
    }
}
