//! The replay of one partition: the inputs merged as the stamps say, and each output compared.

use std::collections::HashSet;
use std::sync::Arc;

use super::partition_reader::PartitionReader;
use super::{Difference, ReplayReport, Spot};
use crate::broker::{Broker, BrokerError, CommittedOffset, Now, TopicPartition};
use crate::error::{Error, Result};
use crate::record::{Batch, Outgoing, Record};
use crate::stamp::{STAMP, Stamp};
use crate::store::StoreBatch;
use crate::task::{Metadata, Output, Progress, Task, TaskEnv};

/// Records between two batches to the store.
const BATCH_RECORDS: u64 = 20_000;

/// What the task writes to the topics that are compared.
#[derive(Default)]
struct Captured {
    /// Where: topic and partition.
    places_of: Vec<TopicPartition>,
    records: Batch,
    /// Index of the place of each.
    places: Vec<usize>,
}

impl Output for Captured {
    fn send(&mut self, record: Outgoing<'_>) -> Result<(), BrokerError> {
        // Moved records are none of the rule's, and dead letters bear the time of writing.
        let is_it =
            |at: &TopicPartition| (&*at.topic, at.partition) == (record.topic, record.partition);
        if let Some(place) = self.places_of.iter().position(is_it) {
            let Outgoing { timestamp, key, value, headers, .. } = record;
            self.records.push(0, timestamp, key, value, headers.iter().copied());
            self.places.push(place);
        }
        Ok(())
    }
}

/// A partition that the task has written to.
struct Written {
    reader: PartitionReader,
    /// Other tasks write there too: which one this is.
    writer: Option<u32>,
}

impl Written {
    /// The stamp of the next record of this task's; others wrote the rest.
    fn stamp(&mut self) -> Result<Option<Stamp>> {
        while let Some(record) = self.reader.head()? {
            if let Some(stamp) = record.headers.get(STAMP).and_then(Stamp::decode)
                && (self.writer.is_none() || stamp.writer == self.writer)
            {
                return Ok(Some(stamp));
            }
            self.reader.advance();
        }
        Ok(None)
    }

    /// That of the next record, if it came of this one.
    fn is_of(&mut self, source: (u32, u64)) -> Result<bool> {
        Ok(self.stamp()?.is_some_and(|stamp| stamp.source == Some(source)))
    }
}

/// A record that had outputs, and the positions it left.
struct Decided {
    input: usize,
    offset: u64,
    positions: Vec<u64>,
}

/// Where a replay has come to.
pub(super) struct Reached {
    /// What the group had committed when it began.
    pub(super) committed: Vec<Option<CommittedOffset>>,
    pub(super) positions: Vec<u64>,
    pub(super) stream_time: i64,
    /// The highest that is recorded.
    pub(super) incarnation: u64,
}

pub(super) struct Run<'a> {
    env: Arc<TaskEnv>,
    pub(super) partition: u32,
    task: Task,
    incarnation: u64,
    inputs: Vec<PartitionReader>,
    outputs: Vec<Written>,
    committed: Vec<Option<CommittedOffset>>,
    early: &'a HashSet<Spot>,
    captured: Captured,
}

impl<'a> Run<'a> {
    pub(super) fn begin(
        broker: &dyn Broker,
        env: Arc<TaskEnv>,
        partition: u32,
        early: &'a HashSet<Spot>,
    ) -> Result<Run<'a>> {
        let at = |topic: &String| TopicPartition::new(topic, partition);
        let places: Vec<_> = env.inputs.iter().map(at).collect();
        // The group first: what it has committed lies on the topics that are asked for next.
        let committed = broker.committed(env.topology.name(), &places)?;
        let outputs = outputs(broker, &env, partition)?;
        let inputs = env.inputs.iter().map(|topic| PartitionReader::whole(broker, at(topic)));
        let inputs = inputs.collect::<Result<Vec<PartitionReader>>>()?;
        if let Some(cut) = inputs.iter().find(|reader| reader.start > 0) {
            let cause = format!("it begins at offset {}: what was before is gone", cut.start);
            return Err(Error::Topic { topic: cut.at.to_string(), cause });
        }
        let begin = Progress { positions: vec![0; env.inputs.len()], ..Progress::default() };
        Ok(Run {
            task: Task::new(env.clone(), partition, 1, begin),
            incarnation: 0,
            committed,
            captured: Captured {
                places_of: outputs.iter().map(|written| written.reader.at.clone()).collect(),
                ..Captured::default()
            },
            env,
            partition,
            inputs,
            outputs,
            early,
        })
    }

    pub(super) fn replay(
        &mut self,
        report: &mut ReplayReport,
        go_on: &dyn Fn(u64) -> Result<()>,
    ) -> Result<()> {
        while let Some(Decided { input, offset, positions }) = self.next_decided()? {
            for (other, position) in positions.iter().enumerate() {
                let but = (other == input).then_some(offset);
                self.consume(other, *position, but, report)?;
            }
            if self.head_offset(input)? == Some(offset) {
                self.process(input, report)?;
            }
            self.compare((input, offset), report)?;
            if self.task.pending >= BATCH_RECORDS {
                self.keep()?;
                go_on(report.records)?;
            }
        }
        // What the group has behind it and nothing came of.
        for input in 0..self.inputs.len() {
            // What others have set says nothing of it.
            let own = |c: &&CommittedOffset| Metadata::parse(&c.metadata).is_some();
            let committed = self.committed[input].as_ref().filter(own).map_or(0, |c| c.offset);
            self.consume(input, committed, None, report)?;
        }
        self.keep()?;
        go_on(report.records)
    }

    /// Where it has come to.
    pub(super) fn reached(&self) -> Reached {
        let own = self.committed.iter().flatten().filter_map(|c| Metadata::parse(&c.metadata));
        let Progress { positions, stream_time, .. } = self.task.state.progress.clone();
        let incarnation = own.map(|m| m.incarnation).chain([self.incarnation]).max();
        let incarnation = incarnation.unwrap_or_default();
        Reached { committed: self.committed.clone(), positions, stream_time, incarnation }
    }

    /// The record whose outputs come next: that with the lowest positions.
    fn next_decided(&mut self) -> Result<Option<Decided>> {
        let mut next: Option<Decided> = None;
        for written in &mut self.outputs {
            let Some(stamp) = written.stamp()? else { continue };
            if !self.env.topology.has_numbers(stamp.inputs, stamp.positions.len()) {
                let topic = written.reader.at.to_string();
                let cause = "it was written with other inputs than the topology has now, or with the \
                             same in another order: it can be replayed with those only";
                return Err(Error::Topic { topic, cause: cause.to_owned() });
            }
            self.incarnation = self.incarnation.max(stamp.incarnation);
            let Some((input, offset)) = stamp.source else { continue };
            let sum: u64 = stamp.positions.iter().sum();
            if next.as_ref().is_none_or(|n| sum < n.positions.iter().sum()) {
                let positions = stamp.positions;
                next = Some(Decided { input: input as usize, offset, positions });
            }
        }
        Ok(next.filter(|n| n.input < self.inputs.len()))
    }

    /// Processes what of an input lies below a position, but one record.
    fn consume(
        &mut self,
        input: usize,
        below: u64,
        but: Option<u64>,
        report: &mut ReplayReport,
    ) -> Result<()> {
        while let Some(offset) = self.head_offset(input)?
            && offset < below
            && Some(offset) != but
        {
            self.process(input, report)?;
            for index in 0..self.captured.places.len() {
                let topic = &self.captured.places_of[self.captured.places[index]].topic;
                let (partition, offset) = (self.partition, Some(offset));
                let recorded = "nothing".to_owned();
                let replayed =
                    format!("{} to {topic}", shown(&self.captured.records.get(index, "", 0)));
                let place = self.env.inputs[input].clone();
                report.note(Difference { place, partition, offset, recorded, replayed });
            }
            self.clear();
        }
        Ok(())
    }

    fn head_offset(&mut self, input: usize) -> Result<Option<u64>> {
        let (queue, reader) = (&mut self.task.queues[input], &mut self.inputs[input]);
        if queue.is_empty()
            && let Some((batch, position)) = reader.take(queue.spare())?
        {
            queue.push(batch, position, 0);
        }
        Ok(queue.head(&self.env.inputs[input], self.partition).map(|record| record.offset))
    }

    fn process(&mut self, input: usize, report: &mut ReplayReport) -> Result<()> {
        let Some(offset) = self.head_offset(input)? else {
            return Ok(());
        };
        let place = (self.env.inputs[input].clone(), self.partition, offset);
        let wall_ms = if self.early.contains(&place) { i64::MIN } else { i64::MAX };
        let now = Now { monotonic_ms: 0, wall_ms };
        self.task.process(input, now, &mut self.captured)?;
        report.records += 1;
        Ok(())
    }

    /// Compares what came of a record with what is recorded of it.
    fn compare(&mut self, source: (usize, u64), report: &mut ReplayReport) -> Result<()> {
        let source = (source.0 as u32, source.1);
        for (place, written) in self.outputs.iter_mut().enumerate() {
            let TopicPartition { topic, partition } = written.reader.at.clone();
            let mut note = |offset, recorded: Option<String>, replayed: Option<String>| {
                let nothing = || "nothing".to_owned();
                let place = topic.clone();
                let recorded = recorded.unwrap_or_else(nothing);
                let replayed = replayed.unwrap_or_else(nothing);
                report.note(Difference { place, partition, offset, recorded, replayed });
            };
            let (mut outputs, places) = (0, &self.captured.places);
            for index in (0..places.len()).filter(|index| places[*index] == place) {
                let replayed = self.captured.records.get(index, "", 0);
                let is_its = written.is_of(source)?;
                let recorded = if is_its { written.reader.head()? } else { None };
                if !recorded.as_ref().is_some_and(|r| is_same(r, &replayed)) {
                    let offset = recorded.as_ref().map(|r| r.offset);
                    note(offset, recorded.as_ref().map(shown), Some(shown(&replayed)));
                }
                if is_its {
                    outputs += 1;
                    written.reader.advance();
                }
            }
            // What the replay did not give.
            while written.is_of(source)? {
                let recorded = written.reader.head()?;
                note(recorded.as_ref().map(|r| r.offset), recorded.as_ref().map(shown), None);
                outputs += 1;
                written.reader.advance();
            }
            report.outputs += outputs;
        }
        self.clear();
        Ok(())
    }

    fn clear(&mut self) {
        self.captured.records.clear();
        self.captured.places.clear();
    }

    /// Writes the rows so far into the store.
    fn keep(&mut self) -> Result<()> {
        let mut batch = StoreBatch::default();
        drop(self.task.offsets("replay"));
        self.task.stage(Vec::new(), &mut batch);
        self.env.store.apply(&batch)?;
        self.task.committed();
        Ok(())
    }
}

/// What a task has written to: its own partitions of the topics of sinks, and of those of keyed ones
/// all.
fn outputs(broker: &dyn Broker, env: &TaskEnv, partition: u32) -> Result<Vec<Written>> {
    let mut topics: Vec<(&str, bool)> =
        env.topology.sinks.iter().map(|sink| (sink.topic.as_str(), sink.is_keyed)).collect();
    topics.sort_unstable();
    topics.dedup();
    let mut outputs = Vec::new();
    for (topic, is_keyed) in topics {
        let (partitions, writer) = match is_keyed {
            true => (0..env.partitions, Some(partition)),
            false => (partition..partition + 1, None),
        };
        for partition in partitions {
            let reader = PartitionReader::whole(broker, TopicPartition::new(topic, partition))?;
            outputs.push(Written { reader, writer });
        }
    }
    Ok(outputs)
}

/// Whether both are the same except for their place, the incarnation of their writer, and the version
/// of their stamps.
fn is_same(a: &Record<'_>, b: &Record<'_>) -> bool {
    let headers = |record: &Record<'_>| -> Vec<(String, Option<Vec<u8>>, Option<Stamp>)> {
        let parts = record.headers.iter().map(|(name, value)| {
            let stamp = value.filter(|_| name == STAMP).and_then(Stamp::decode);
            let stamp = stamp.map(|mut stamp| {
                // An input that was added since had not been read.
                let read = stamp.positions.iter().rposition(|position| *position > 0);
                stamp.positions.truncate(read.map_or(0, |last| last + 1));
                Stamp { incarnation: 0, inputs: None, ..stamp }
            });
            let rest = value.filter(|_| stamp.is_none()).map(<[u8]>::to_vec);
            (name.to_owned(), rest, stamp)
        });
        parts.collect()
    };
    (a.key, a.value, a.time()) == (b.key, b.value, b.time()) && headers(a) == headers(b)
}

fn shown(record: &Record<'_>) -> String {
    let text = |bytes: Option<&[u8]>| bytes.map(|b| String::from_utf8_lossy(b).into_owned());
    let stamp = record.headers.get(STAMP).and_then(Stamp::decode);
    let (key, value) = (text(record.key), text(record.value));
    format!(
        "{} {} at {}, {stamp:?}",
        key.unwrap_or_default(),
        value.unwrap_or_default(),
        record.timestamp
    )
}
