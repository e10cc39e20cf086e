//! The replay of one partition: the inputs merged as the stamps say, and each output compared.

use std::collections::HashSet;
use std::sync::Arc;

use super::partition_reader::PartitionReader;
use super::written::{Decided, Written, is_same, outputs, shown};
use super::{Difference, ReplayReport, Spot};
use crate::broker::{Broker, BrokerError, CommittedOffset, Now, TopicPartition};
use crate::error::{Error, Result};
use crate::record::{Batch, Outgoing};
use crate::stamp::Clocks;
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
        while let Some(decided) = self.next_decided()? {
            let source = decided.source.map(|(input, offset)| (input as usize, offset));
            for (input, position) in decided.positions.iter().enumerate() {
                let but = source.filter(|(own, _)| *own == input).map(|(_, offset)| offset);
                self.consume(input, *position, but, report)?;
            }
            // Before a record too: what has moved them may not have been processed yet.
            self.let_fall_due(decided.clocks)?;
            if let Some((input, offset)) = source
                && self.head_offset(input)? == Some(offset)
            {
                self.process(input, report)?;
            }
            self.compare(&decided, report)?;
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
        let clocks = self.commits().map(|own| own.clocks);
        let clocks = clocks.fold(Clocks::default(), Clocks::latest);
        self.let_fall_due(clocks)?;
        self.note_untold("due", None, report);
        self.keep()?;
        go_on(report.records)
    }

    /// Where it has come to.
    pub(super) fn reached(&self) -> Reached {
        let Progress { positions, stream_time, .. } = self.task.state.progress.clone();
        let incarnation = self.commits().map(|own| own.incarnation).chain([self.incarnation]).max();
        let incarnation = incarnation.unwrap_or_default();
        Reached { committed: self.committed.clone(), positions, stream_time, incarnation }
    }

    /// What this application has committed; others may have set the rest.
    fn commits(&self) -> impl Iterator<Item = Metadata> {
        self.committed.iter().flatten().filter_map(|c| Metadata::parse(&c.metadata))
    }

    /// Moves the clocks on, and lets all rows fall due whose time has come.
    fn let_fall_due(&mut self, clocks: Clocks) -> Result<()> {
        let own = &mut self.task.state.progress.clocks;
        if self.env.topology.due_index().is_some() {
            *own = own.latest(clocks);
        }
        while self.task.has_due() {
            self.task.fall_due(&mut self.captured)?;
        }
        Ok(())
    }

    /// What outputs come of next: that with the lowest positions.
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
            let found = Decided::of(stamp);
            if next.as_ref().is_none_or(|next| found.place() < next.place()) {
                next = Some(found);
            }
        }
        let is_known = |(input, _): (u32, u64)| (input as usize) < self.inputs.len();
        Ok(next.filter(|n| n.source.is_none_or(is_known)))
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
            let place = self.env.inputs[input].clone();
            self.note_untold(&place, Some(offset), report);
        }
        Ok(())
    }

    /// What came of something that is recorded to have had no outputs.
    fn note_untold(&mut self, place: &str, offset: Option<u64>, report: &mut ReplayReport) {
        for index in 0..self.captured.places.len() {
            let topic = &self.captured.places_of[self.captured.places[index]].topic;
            let (place, partition) = (place.to_owned(), self.partition);
            let recorded = "nothing".to_owned();
            let replayed =
                format!("{} to {topic}", shown(&self.captured.records.get(index, "", 0)));
            report.note(Difference { place, partition, offset, recorded, replayed });
        }
        self.clear();
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
        // Rows that are merely deleted when they fall due tell of it nowhere.
        while self.head_offset(input)? == Some(offset) {
            self.let_fall_due(Clocks::default())?;
            self.task.process(input, now, &mut self.captured)?;
        }
        report.records += 1;
        Ok(())
    }

    /// Compares what came of something with what is recorded of it.
    fn compare(&mut self, decided: &Decided, report: &mut ReplayReport) -> Result<()> {
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
                let is_its = written.is_of(decided)?;
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
            while written.is_of(decided)? {
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
