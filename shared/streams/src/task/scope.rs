//! What lets a record in, and what a processor may touch while it holds it: stores, sinks, counters.

use super::admit::Entry;
use super::due::Fallen;
use super::{Output, TaskEnv, TaskState, moved};
use crate::broker::TopicPartition;
use crate::error::{Error, Result};
use crate::partitioner::partition_of;
use crate::processor::{Context, Host, Message, ProcessError, Visit};
use crate::record::{Headers, Outgoing, Record};
use crate::stamp::{STAMP, StampParts, TRACE};
use crate::store::Row;
use crate::topology::{Backing, DueSpec, Gate, SinkSpec};

/// Longest trace that is carried on (bytes); today's are 55 long.
const TRACE_BYTES_MAX: usize = 256;

/// The trace of a record, if it has one that can be carried on.
pub(super) fn trace<'a>(record: &Record<'a>) -> Option<&'a [u8]> {
    record.headers.get(TRACE).filter(|trace| trace.len() <= TRACE_BYTES_MAX)
}

/// What is at hand.
#[derive(Clone, Copy)]
pub(super) enum Subject<'a> {
    Record(Entry<'a>),
    Row(Fallen<'a>),
}

pub(super) struct Scope<'a> {
    env: &'a TaskEnv,
    state: &'a mut TaskState,
    out: &'a mut dyn Output,
    subject: Subject<'a>,
    /// That of the record, once it is let in.
    trace: Option<&'a [u8]>,
    /// Whether a row has fallen due and something else was changed, or sent to another partition.
    has_changed: bool,
    /// Whether something was sent that backs a ledger.
    has_told: bool,
}

impl<'a> Scope<'a> {
    pub(super) fn new(
        env: &'a TaskEnv,
        state: &'a mut TaskState,
        out: &'a mut dyn Output,
        subject: Subject<'a>,
    ) -> Self {
        Self { env, state, out, subject, trace: None, has_changed: false, has_told: false }
    }

    /// Whether something was changed that no record tells of.
    pub(super) fn untold(&self) -> bool {
        self.has_changed && !self.has_told
    }

    /// Notes a change, for [`Scope::untold`].
    fn note_change(&mut self, table: usize, key: &[u8], is_deleted: bool) {
        if let Subject::Row(row) = self.subject {
            self.has_changed |= !is_deleted || (row.table, row.key) != (table, key);
        }
    }

    /// What a sink's topic backs is set by what is sent there, by the very function that a
    /// restore uses: live and restored state cannot differ.
    fn remember(&mut self, topic: &str, message: &Message<'_>) -> Result<()> {
        let env = self.env;
        for (table, spec) in env.topology.stores.iter().enumerate() {
            let Backing::Ledger { topic: backing, from } = &spec.backing else {
                continue;
            };
            if backing != topic {
                continue;
            }
            self.has_told = true;
            let record = Record {
                topic,
                partition: self.state.partition,
                offset: 0,
                timestamp: self.state.progress.stream_time,
                key: Some(message.key),
                value: Some(message.value),
                headers: Headers::default(),
            };
            if let Some((key, value)) = from(&record, message.memo) {
                // Written once and never changed, so there is no former sequence to look up.
                Row::encode(1, record.timestamp, &value, &mut self.state.scratch);
                self.state.tables[table].set(&key, Some(&self.state.scratch));
            }
        }
        Ok(())
    }
}

impl Gate for Scope<'_> {
    /// A record of another partition is sent on, and not processed here; one before which rows fall due
    /// is not processed yet.
    fn admit(&mut self, key: &[u8]) -> Result<Option<Context<'_>>, ProcessError> {
        let Subject::Record(entry) = self.subject else {
            return Ok(None);
        };
        let Entry { source, origin, record, .. } = entry;
        let partition = entry.home(self.env, key)?;
        if partition != record.partition {
            self.state.count("rekeyed");
            moved::send_on(self.env, record, source, (key, partition), &mut *self.out)?;
            return Ok(None);
        }
        let head_start_ms = entry.source(self.env).head_start_ms.unwrap_or(0);
        if self.state.holds_up(record.time().saturating_sub_unsigned(head_start_ms)) {
            self.state.is_held_up = true;
            return Ok(None);
        }
        let time = &mut self.state.progress.stream_time;
        *time = record.time().max(*time);
        self.trace = trace(record);
        Ok(Some(Context { host: self, origin: Some(origin) }))
    }
}

impl Host for Scope<'_> {
    fn stream_time(&self) -> i64 {
        self.state.progress.stream_time
    }

    fn partition(&self) -> u32 {
        self.state.partition
    }

    fn running_ms(&self) -> u64 {
        self.state.progress.clocks.running_ms
    }

    fn get(&mut self, table: usize, key: &[u8]) -> Result<Option<Row<'_>>> {
        let partition = self.state.partition;
        Ok(self.state.tables[table].get(&*self.env.store, table, partition, key)?)
    }

    fn scan(&mut self, table: usize, from: &[u8], visit: &mut Visit<'_>) -> Result<()> {
        let at = (table, self.state.partition);
        Ok(self.state.tables[table].scan(&*self.env.store, at, from, visit)?)
    }

    fn put(&mut self, table: usize, key: &[u8], value: Option<&[u8]>) -> Result<u64> {
        self.state.written += 1;
        let (env, partition) = (self.env, self.state.partition);
        let rows = &mut self.state.tables[table];
        let former = rows.get(&*env.store, table, partition, key)?;
        if let (Some(due), Some(DueSpec { of, .. })) =
            (&mut self.state.due, env.topology.stores[table].due)
        {
            let former = former.and_then(|row| of(row.value));
            due.change(table, key, former, value.and_then(of));
        }
        let former = former.map_or(0, |r| r.sequence);
        let timestamp = self.state.progress.stream_time;
        let sequence = former + 1;
        let row = value.map(|value| {
            Row::encode(sequence, timestamp, value, &mut self.state.scratch);
            self.state.scratch.as_slice()
        });
        rows.set(key, row);
        self.note_change(table, key, value.is_none());
        Ok(sequence)
    }

    fn send(&mut self, sink: usize, message: Message<'_>) -> Result<()> {
        let SinkSpec { topic, is_keyed, .. } = &self.env.topology.sinks[sink];
        let partition = match is_keyed {
            true => partition_of(message.key, self.env.partitions),
            false => self.state.partition,
        };
        self.state.written += 1;
        self.has_changed |= *is_keyed;
        let source = match self.subject {
            Subject::Record(entry) => Some((entry.input as u32, entry.record.offset)),
            Subject::Row(_) => None,
        };
        let mut stamp = std::mem::take(&mut self.state.scratch);
        let parts = StampParts {
            incarnation: self.state.incarnation,
            sequence: message.sequence,
            source,
            positions: &self.state.progress.positions,
            inputs: Some(self.env.topology.fingerprint()),
            writer: is_keyed.then_some(self.state.partition),
            clocks: self.state.progress.clocks,
            memo: message.memo,
        };
        parts.encode(&mut stamp);
        let timestamp = self.state.progress.stream_time;
        let (key, value) = (Some(message.key), Some(message.value));
        let headers = [(STAMP, Some(stamp.as_slice())), (TRACE, self.trace)];
        let headers = &headers[..1 + usize::from(self.trace.is_some())];
        self.out.send(Outgoing { topic, partition, timestamp, key, value, headers })?;
        self.state.scratch = stamp;
        self.remember(topic, &message)
    }

    fn broken(&self, cause: String) -> Error {
        let entry = match self.subject {
            Subject::Record(entry) => entry,
            Subject::Row(row) => return row.broken(self.env, self.state.partition, cause),
        };
        let Record { topic, partition, offset, .. } = *entry.record;
        Error::Invariant { partition: TopicPartition::new(topic, partition), offset, cause }
    }

    fn count(&mut self, name: &'static str) {
        self.state.count(name);
    }
}
