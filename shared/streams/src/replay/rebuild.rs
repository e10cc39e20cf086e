//! Brings rows back that a changelog has lost: the inputs give them once more, in the recorded order.
//! What the changelog holds of each key in the end is the row that a replay comes to.
//!
//! It writes only where the replay gives all recorded outputs, byte by byte, so that the rows are
//! those that were decided on; and only rows that are not there. Done twice it does nothing more.

use std::collections::HashSet;

use super::rows::{is_row, last_of_each_key};
use super::run::Reached;
use super::{Progress, Replay, ReplayReport};
use crate::broker::{Appender, BrokerError, Bulk, TopicPartition};
use crate::error::{Error, Result};
use crate::record::Outgoing;
use crate::stamp::{Clocks, STAMP, StampParts};
use crate::store::Row;
use crate::topology::{Backing, ToChangelog};

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// The replay. Nothing was written if it differs from what is recorded.
    pub replay: ReplayReport,
    /// Rows written.
    pub rows: u64,
}

/// A changelog that lacks rows.
struct Changelog {
    at: TopicPartition,
    table: usize,
    to: ToChangelog,
}

impl Replay<'_> {
    /// Replays every partition, and writes to the changelogs the rows that they lack. The application
    /// must be stopped. `progress` may end the replay.
    ///
    /// # Errors
    /// As [`Replay::run`]; when the application runs, or a changelog tells of more than the inputs.
    pub fn rebuild(&self, progress: Progress<'_>) -> Result<Rebuilt> {
        let mut rebuilt = Rebuilt::default();
        let mut all = Vec::new();
        self.replay(progress, &mut rebuilt.replay, &mut |run, _| {
            all.push(run.reached());
            Ok(())
        })?;
        if rebuilt.replay.differing > 0 {
            return Ok(rebuilt);
        }
        let appender = self.broker.appender()?;
        for (partition, reached) in (0..).zip(&all) {
            self.check_stopped(partition, reached)?;
            for (table, spec) in self.env.topology.stores.iter().enumerate() {
                if let Backing::Changelog { topic, to, .. } = &spec.backing {
                    let at = TopicPartition::new(topic, partition);
                    let changelog = Changelog { at, table, to: *to };
                    rebuilt.rows += self.complete(&changelog, reached, &*appender)?;
                }
            }
            // One that ran meanwhile, unseen, may have written later rows before these.
            self.check_stopped(partition, reached)?;
        }
        Ok(rebuilt)
    }

    /// One that runs goes on writing rows, which must not be overtaken.
    fn check_stopped(&self, partition: u32, reached: &Reached) -> Result<()> {
        let at = |topic: &String| TopicPartition::new(topic, partition);
        let inputs: Vec<_> = self.env.inputs.iter().map(at).collect();
        let group = self.env.topology.name();
        if self.broker.committed(group, &inputs)? == reached.committed {
            return Ok(());
        }
        let cause = format!("{group} runs: stop it, and do this again");
        Err(BrokerError::Fatal { what: "rebuild", cause }.into())
    }

    /// Writes what a changelog lacks; returns how many rows that were.
    fn complete(
        &self,
        changelog: &Changelog,
        reached: &Reached,
        appender: &dyn Appender,
    ) -> Result<u64> {
        let Changelog { at, table, to } = changelog;
        let (store, partition) = (&self.env.store, at.partition);
        let (mut right, mut gone) = (HashSet::new(), Vec::new());
        let (mut row, mut value) = (Vec::new(), Vec::new());
        let mut incarnation = reached.incarnation;
        last_of_each_key(self.broker, at, &mut |key, record, stamp| {
            let mut bounds = stamp.positions.iter().zip(&reached.positions);
            if bounds.any(|(told, reached)| told > reached) {
                let cause = format!(
                    "the row at offset {} was written at {:?} of the inputs, and they were \
                     replayed up to {:?} only",
                    record.offset, stamp.positions, reached.positions
                );
                return Err(Error::Topic { topic: at.to_string(), cause });
            }
            incarnation = incarnation.max(stamp.incarnation);
            let there = store.get(*table, partition, key, &mut row)?;
            let found = Row::decode(&row).ok().filter(|_| there);
            if is_row(record, stamp, found.map(|row| (key, row)), *to, &mut value) {
                right.insert(key.to_vec());
            } else if found.is_none() {
                gone.push(key.to_vec());
            }
            Ok(())
        })?;
        let bulk = Bulk::new(appender, "rebuild");
        let inputs = self.env.topology.fingerprint();
        let mut writer = Writer { bulk, changelog, reached, inputs, incarnation };
        for key in &gone {
            writer.write(key, None)?;
        }
        let mut failed = None;
        store.scan(*table, partition, &[], &mut |key, row| {
            if !right.contains(key) {
                failed = writer.write(key, Row::decode(row).ok()).err();
            }
            failed.is_none()
        })?;
        failed.map_or_else(|| Ok(writer.bulk.finish()?), Err)
    }
}

/// Writes rows to a changelog.
struct Writer<'a> {
    bulk: Bulk<'a>,
    changelog: &'a Changelog,
    reached: &'a Reached,
    /// Which inputs it tells positions of.
    inputs: u16,
    incarnation: u64,
}

impl Writer<'_> {
    /// As a commit writes it; none deletes what is there.
    fn write(&mut self, key: &[u8], row: Option<Row<'_>>) -> Result<()> {
        let (mut value, mut stamp) = (Vec::new(), Vec::new());
        if let Some(row) = row {
            (self.changelog.to)(key, row.value, &mut value);
        }
        let parts = StampParts {
            incarnation: self.incarnation,
            sequence: row.map_or(0, |row| row.sequence),
            source: None,
            positions: &self.reached.positions,
            inputs: Some(self.inputs),
            writer: None,
            clocks: Clocks::default(),
            memo: &[],
        };
        parts.encode(&mut stamp);
        let TopicPartition { topic, partition } = &self.changelog.at;
        self.bulk.append(Outgoing {
            topic,
            partition: *partition,
            timestamp: row.map_or(self.reached.stream_time, |row| row.timestamp),
            key: Some(key),
            value: row.map(|_| value.as_slice()),
            headers: &[(STAMP, Some(&stamp))],
        })?;
        Ok(())
    }
}
