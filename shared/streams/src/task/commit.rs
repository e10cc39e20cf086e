//! What a commit takes from a task, by its steps ([`crate::worker`]).

use super::due_index::DueRows;
use super::{Metadata, Output, Task, TaskState};
use crate::broker::{CommittedOffset, OffsetCommit, TopicPartition};
use crate::error::Result;
use crate::record::Outgoing;
use crate::stamp::{STAMP, StampParts};
use crate::store::{Checkpoint, Row, StoreBatch};
use crate::task::overlay::Table;
use crate::topology::Backing;

impl Task {
    /// Commit step 1: one changelog record per changed row, its last value.
    pub(crate) fn write_changelogs(&mut self, out: &mut dyn Output) -> Result<()> {
        let Self { env, state, .. } = self;
        let (mut value, mut stamp) = (Vec::new(), Vec::new());
        for (table, spec) in env.topology.stores.iter().enumerate() {
            let Backing::Changelog { topic, to, .. } = &spec.backing else {
                continue;
            };
            for (key, row) in state.tables[table].changes() {
                let row = row.and_then(|row| Row::decode(row).ok());
                value.clear();
                if let Some(row) = row {
                    to(key, row.value, &mut value);
                }
                let parts = StampParts {
                    incarnation: state.incarnation,
                    sequence: row.map_or(0, |r| r.sequence),
                    source: None,
                    positions: &state.progress.positions,
                    inputs: Some(env.topology.fingerprint()),
                    writer: None,
                    clocks: state.progress.clocks,
                    memo: &[],
                };
                parts.encode(&mut stamp);
                out.send(Outgoing {
                    topic,
                    partition: state.partition,
                    // Its own, so that a restored row is the live one to the byte.
                    timestamp: row.map_or(state.progress.stream_time, |r| r.timestamp),
                    key: Some(key),
                    value: row.map(|_| value.as_slice()),
                    headers: &[(STAMP, Some(&stamp))],
                })?;
            }
        }
        Ok(())
    }

    /// Commit step 3: the offsets of all inputs, with what a recovery needs beside them.
    pub(crate) fn offsets(&mut self, owner: &str) -> Vec<OffsetCommit> {
        let state = &mut self.state;
        state.progress.sequence = self.committed + 1;
        let metadata = |topic: &String| Metadata {
            incarnation: state.incarnation,
            sequence: state.progress.sequence,
            stream_time: state.progress.stream_time,
            clocks: state.progress.clocks,
            owner: owner.to_owned(),
            topic_id: self.ids.get(topic).cloned(),
        };
        let inputs = self.env.inputs.iter().zip(&state.progress.positions);
        inputs
            .map(|(topic, offset)| OffsetCommit {
                partition: TopicPartition::new(topic, state.partition),
                committed: CommittedOffset {
                    offset: *offset,
                    metadata: metadata(topic).to_string(),
                },
            })
            .collect()
    }

    /// Commit step 5: rows, and what they stand for. `ends` are those of the backing topics.
    pub(crate) fn stage(&self, ends: Vec<(String, u64)>, batch: &mut StoreBatch) {
        let TaskState { partition, incarnation, progress, tables, due, .. } = &self.state;
        for (index, table) in tables.iter().enumerate() {
            table.stage(index, *partition, batch);
        }
        #[cfg(feature = "mutants")]
        let due = due.as_ref().filter(|_| !self.state.is(crate::mutant::Mutant::DueIndexApart));
        if let Some(due) = due {
            due.stage(*partition, batch);
        }
        let inputs = self.env.inputs.iter().cloned().zip(progress.positions.iter().copied());
        let checkpoint = Checkpoint {
            incarnation: *incarnation,
            sequence: progress.sequence,
            stream_time: progress.stream_time,
            inputs: inputs.collect(),
            backing: ends,
            ids: self.ids.clone(),
            stores: self.env.topology.kept(),
            stamped: Vec::new(),
            clocks: progress.clocks,
            due_layout: self.env.topology.due_layout(),
        };
        batch.checkpoint(*partition, checkpoint);
        batch.hold(*partition, self.claim);
    }

    /// The index of due rows alone.
    #[cfg(feature = "mutants")]
    pub(crate) fn stage_due(&self, batch: &mut StoreBatch) {
        if let Some(due) = &self.state.due {
            due.stage(self.state.partition, batch);
            batch.hold(self.state.partition, self.claim);
        }
    }

    /// The transaction holds.
    pub(crate) fn committed(&mut self) {
        self.state.tables.iter_mut().for_each(Table::committed);
        self.state.due.iter_mut().for_each(DueRows::committed);
        self.committed = self.state.progress.sequence;
        self.state.counters.clear();
        self.times.clear();
        self.pending = 0;
        self.is_unknown = false;
    }
}
