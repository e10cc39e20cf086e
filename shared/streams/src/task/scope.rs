//! What a processor may touch while it holds a record: the stores it keeps, its sinks, counters.

use super::{Output, TaskEnv, TaskState};
use crate::broker::TopicPartition;
use crate::error::{Error, Result};
use crate::processor::Message;
use crate::record::{Headers, Outgoing, Record};
use crate::stamp::{STAMP, StampParts, TRACE};
use crate::store::Row;
use crate::topology::Backing;

/// Longest trace that is carried on (bytes); today's are 55 long.
const TRACE_BYTES_MAX: usize = 256;

/// The trace of a record, if it has one that can be carried on.
pub(super) fn trace<'a>(record: &Record<'a>) -> Option<&'a [u8]> {
    record.headers.get(TRACE).filter(|trace| trace.len() <= TRACE_BYTES_MAX)
}

/// The record at hand.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) input: usize,
    pub(super) offset: u64,
    pub(super) trace: Option<&'a [u8]>,
}

pub(crate) struct Scope<'a> {
    env: &'a TaskEnv,
    state: &'a mut TaskState,
    out: &'a mut dyn Output,
    processor: usize,
    at: At<'a>,
}

impl<'a> Scope<'a> {
    pub(super) fn new(
        env: &'a TaskEnv,
        state: &'a mut TaskState,
        out: &'a mut dyn Output,
        processor: usize,
        at: At<'a>,
    ) -> Self {
        Self { env, state, out, processor, at }
    }

    pub(crate) fn stream_time(&self) -> i64 {
        self.state.progress.stream_time
    }

    pub(crate) fn partition(&self) -> u32 {
        self.state.partition
    }

    pub(crate) fn count(&mut self, name: &'static str) {
        self.state.count(name);
    }

    pub(crate) fn broken(&self, cause: String) -> Error {
        let partition = TopicPartition::new(&self.env.inputs[self.at.input], self.state.partition);
        Error::Invariant { partition, offset: self.at.offset, cause }
    }

    fn table(&self, name: &str) -> Result<usize> {
        let stores = &self.env.topology.stores;
        let keeps = &self.env.topology.processors[self.processor].keeps;
        stores
            .iter()
            .position(|s| s.name == name && keeps.contains(&s.name))
            .ok_or_else(|| self.broken(format!("the processor keeps no store {name:?}")))
    }

    pub(crate) fn get(&mut self, store: &str, key: &[u8]) -> Result<Option<Row<'_>>> {
        let table = self.table(store)?;
        let partition = self.state.partition;
        Ok(self.state.tables[table].get(&*self.env.store, table, partition, key)?)
    }

    pub(crate) fn put(&mut self, store: &str, key: &[u8], value: Option<&[u8]>) -> Result<u64> {
        let table = self.table(store)?;
        if let Backing::Ledger { topic, .. } = &self.env.topology.stores[table].backing {
            return Err(self.broken(format!("store {store:?} is written by sending to {topic}")));
        }
        self.state.written += 1;
        let (env, partition) = (self.env, self.state.partition);
        let rows = &mut self.state.tables[table];
        let former = rows.get(&*env.store, table, partition, key)?.map_or(0, |r| r.sequence);
        let timestamp = self.state.progress.stream_time;
        let sequence = former + 1;
        let row = value.map(|value| {
            Row::encode(sequence, timestamp, value, &mut self.state.scratch);
            self.state.scratch.as_slice()
        });
        rows.set(key, row);
        Ok(sequence)
    }

    pub(crate) fn send(&mut self, sink: &str, message: Message<'_>) -> Result<()> {
        let env = self.env;
        let writer = &env.topology.processors[self.processor].name;
        let found = env.topology.sinks.iter().find(|s| s.name == sink && s.from == *writer);
        let topic = &found.ok_or_else(|| self.broken(format!("there is no sink {sink:?}")))?.topic;
        self.state.written += 1;
        let mut stamp = std::mem::take(&mut self.state.scratch);
        let parts = StampParts {
            incarnation: self.state.incarnation,
            sequence: message.sequence,
            source: Some((self.at.input as u32, self.at.offset)),
            positions: &self.state.progress.positions,
            memo: message.memo,
        };
        parts.encode(&mut stamp);
        let (partition, timestamp) = (self.state.partition, self.state.progress.stream_time);
        let (key, value) = (Some(message.key), Some(message.value));
        let headers = [(STAMP, Some(stamp.as_slice())), (TRACE, self.at.trace)];
        let headers = &headers[..1 + usize::from(self.at.trace.is_some())];
        self.out.send(Outgoing { topic, partition, timestamp, key, value, headers })?;
        self.state.scratch = stamp;
        self.remember(topic, &message)
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
