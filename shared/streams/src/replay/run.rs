//! The replay of one partition: the inputs merged as the stamps say, and each output compared.

use std::collections::HashSet;
use std::sync::Arc;

use super::lane::Lane;
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
    topics: Vec<String>,
    records: Batch,
    /// Index of the topic of each.
    places: Vec<usize>,
}

impl Output for Captured {
    fn send(&mut self, record: Outgoing<'_>) -> Result<(), BrokerError> {
        // Moved records lie in other partitions, and dead letters bear the time of writing.
        if let Some(place) = self.topics.iter().position(|t| t == record.topic) {
            let Outgoing { timestamp, key, value, headers, .. } = record;
            self.records.push(0, timestamp, key, value, headers.iter().copied());
            self.places.push(place);
        }
        Ok(())
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
    inputs: Vec<Lane>,
    outputs: Vec<Lane>,
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
        let mut topics: Vec<String> = env.topology.sinks.iter().map(|s| s.topic.clone()).collect();
        topics.sort();
        topics.dedup();
        let lanes = |topics: &[String]| -> Result<Vec<Lane>> {
            topics.iter().map(|topic| Lane::whole(broker, at(topic))).collect()
        };
        let outputs = lanes(&topics)?;
        let inputs = lanes(&env.inputs)?;
        if let Some(cut) = inputs.iter().find(|lane| lane.start > 0) {
            let cause = format!("it begins at offset {}: what was before is gone", cut.start);
            return Err(Error::Topic { topic: cut.at.to_string(), cause });
        }
        let begin = Progress { positions: vec![0; env.inputs.len()], ..Progress::default() };
        Ok(Run {
            task: Task::new(env.clone(), partition, 1, begin),
            incarnation: 0,
            committed,
            captured: Captured { topics, ..Captured::default() },
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
        for lane in &mut self.outputs {
            let Some(stamp) = stamped(lane)? else { continue };
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
                let topic = &self.captured.topics[self.captured.places[index]];
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
        let (queue, lane) = (&mut self.task.queues[input], &mut self.inputs[input]);
        if queue.is_empty()
            && let Some((batch, position)) = lane.take(queue.spare())?
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
        for (place, lane) in self.outputs.iter_mut().enumerate() {
            let mine =
                (0..self.captured.places.len()).filter(|i| self.captured.places[*i] == place);
            for index in mine {
                let replayed = self.captured.records.get(index, "", 0);
                let expected = Some((source.0 as u32, source.1));
                let is_its = stamped(lane)?.is_some_and(|stamp| stamp.source == expected);
                let recorded = if is_its { lane.head()? } else { None };
                let offset = recorded.as_ref().map(|r| r.offset);
                if !recorded.as_ref().is_some_and(|r| is_same(r, &replayed)) {
                    let recorded = recorded.map_or_else(|| "nothing".to_owned(), |r| shown(&r));
                    let (place, partition) = (lane.at.topic.clone(), self.partition);
                    let replayed = shown(&replayed);
                    report.note(Difference { place, partition, offset, recorded, replayed });
                }
                if is_its {
                    report.outputs += 1;
                    lane.advance();
                }
            }
            // What the replay did not give.
            while stamped(lane)?.is_some_and(|s| s.source == Some((source.0 as u32, source.1))) {
                let (place, partition) = (lane.at.topic.clone(), self.partition);
                let recorded = lane.head()?;
                let offset = recorded.as_ref().map(|r| r.offset);
                let recorded = recorded.map_or_else(String::new, |r| shown(&r));
                let replayed = "nothing".to_owned();
                report.note(Difference { place, partition, offset, recorded, replayed });
                report.outputs += 1;
                lane.advance();
            }
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

/// The stamp of a lane's next record that has one; others wrote the rest.
fn stamped(lane: &mut Lane) -> Result<Option<Stamp>> {
    while let Some(record) = lane.head()? {
        if let Some(stamp) = record.headers.get(STAMP).and_then(Stamp::decode) {
            return Ok(Some(stamp));
        }
        lane.advance();
    }
    Ok(None)
}

/// Whether both are the same except for their place, the incarnation of their writer, and the version
/// of their stamps.
fn is_same(a: &Record<'_>, b: &Record<'_>) -> bool {
    let headers = |record: &Record<'_>| -> Vec<(String, Option<Vec<u8>>, Option<Stamp>)> {
        let parts = record.headers.iter().map(|(name, value)| {
            let stamp = value.filter(|_| name == STAMP).and_then(Stamp::decode);
            let stamp = stamp.map(|stamp| Stamp { incarnation: 0, inputs: None, ..stamp });
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
