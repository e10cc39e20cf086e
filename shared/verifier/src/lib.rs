//! The independent checker: reads the topics and proves that every promise was kept.
//!
//! It knows what lies on the topics and what the rule is, from `docs` and nothing else: it shares
//! no code with the processor. It parses the records itself, decides each purchase again in the
//! recorded order, and compares. What is found wrong is named with its rule ([`Rule`]), topic,
//! partition and offset.
//!
//! It never: writes to a topic, joins a group, looks into a store, reads a clock, or believes a
//! record that is not committed. It runs beside a live system: what is not decided yet is counted
//! as undecided, and is a finding only at rest ([`Verifier::at_rest`]).
//!
//! How: partition p of all topics belongs together. Every result carries a stamp with the
//! positions of all inputs at its decision, so that the decisions can be walked through in their
//! order, one partition after the other, with no more in memory than
//!
//! - 16 to 40 bytes for each decision of the partition (fingerprints; the set grows by doubling),
//! - about 300 bytes and the id for each item of the partition,
//! - 64 bytes for each moved record and dead letter, [`DIVERTED_MAX`] of them at a time; more take
//!   one reading of those two topics for each such lot,
//! - 4 MiB that Kafka's client reads ahead for each of the six topics,
//!
//! for each thread. A partition with more input records than
//! [`Verifier::records_per_pass`] is walked through several times, each time for a slice of the
//! items. All is freed before the next partition.
//!
//! Reading order: [`report`] (what is found), `snapshot` (up to where is read, and why it is right on a
//! live system), `stream` (the topics), `request` and `outputs` (what is read), `walk` (the order),
//! `decide` (results) and `kind` (what each must say),
//! `unanswered` (records without one), `overtaken` (what had to go first), `table` (stock, and the end),
//! `diverted` (moved records, dead letters).

mod acknowledged;
mod decide;
mod decoded;
mod diverted;
mod error;
mod fold;
mod holes;
mod item;
mod kind;
mod memory;
mod order;
mod outputs;
mod overtaken;
mod partition_reader;
pub mod report;
mod request;
mod snapshot;
mod stream;
mod table;
mod unanswered;
mod walk;

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bps_events::Topics;
use bps_streams::broker::Broker;

pub use crate::acknowledged::{Acknowledged, Receipt};
pub use crate::error::{Error, Progress, Result};
pub use crate::report::{Counts, Finding, Report, Rule};

use crate::diverted::DivertedRecords;
use crate::fold::Pass;
use crate::partition_reader::Meter;
use crate::snapshot::Snapshot;
use crate::stream::{MOVED, Stream};
use crate::walk::Walk;

/// Moved records and dead letters in memory at a time.
pub const DIVERTED_MAX: u64 = 1_000_000;
const RECORDS_PER_PASS: u64 = 2_000_000;
/// Longer than the broker lets a transaction of the processor be open.
const TRANSACTION_WAIT: Duration = Duration::from_secs(15);

/// As the processor's own.
const FUTURE_MAX_MS: i64 = 10_000;
const CLOCK_SKEW_MAX_MS: i64 = 5_000;

/// What a processor surely looks through of one input: it queues up to 16 MiB of all inputs of all
/// partitions and up to 1 MiB of one, looks through half of that, and counts it by batches of a
/// quarter.
fn look_ahead(partitions: u32) -> u64 {
    ((16 << 20) / (3 * u64::from(partitions.max(1)))).min(1 << 20) / 4
}

/// What all parts of a run share.
pub(crate) struct Env<'a> {
    pub(crate) broker: &'a dyn Broker,
    pub(crate) topics: &'a Topics,
    pub(crate) streams: &'static [Stream],
    /// The inputs of a task, by number.
    pub(crate) inputs: Vec<&'a str>,
    /// The topics of answers, by stream.
    pub(crate) outputs: Vec<&'a str>,
    pub(crate) group: &'a str,
    pub(crate) partitions: u32,
    pub(crate) letter_partitions: u32,
    pub(crate) at_rest: bool,
    pub(crate) window_ms: Option<i64>,
    pub(crate) future_max_ms: i64,
    pub(crate) clock_skew_max_ms: i64,
    pub(crate) stamps_within_ms: Option<i64>,
    pub(crate) look_ahead_bytes: u64,
    pub(crate) acknowledged: &'a acknowledged::All,
    pub(crate) transaction_wait: Duration,
    pub(crate) transactional_inputs: bool,
}

impl Env<'_> {
    /// Where the answers of a stream are read, among the topics of a partition.
    pub(crate) fn output_slot(&self, stream: usize) -> usize {
        self.inputs.len() + stream
    }

    /// Where the table of stock is read.
    pub(crate) fn stock_slot(&self) -> usize {
        self.inputs.len() + self.outputs.len()
    }
}

/// The topics of a task's inputs, by number; and those of the answers, by stream.
fn topics_of<'a>(topics: &'a Topics, streams: &[Stream]) -> (Vec<&'a str>, Vec<&'a str>) {
    let mut inputs: Vec<&str> = streams.iter().map(|stream| (stream.input)(topics)).collect();
    inputs.insert(MOVED, &topics.rekeyed);
    (inputs, streams.iter().map(|stream| (stream.output)(topics)).collect())
}

/// A verification to be run.
pub struct Verifier<'a> {
    broker: &'a dyn Broker,
    topics: Topics,
    group: String,
    at_rest: bool,
    window_ms: Option<i64>,
    future_max_ms: i64,
    clock_skew_max_ms: i64,
    stamps_within_ms: Option<i64>,
    look_ahead_bytes: Option<u64>,
    acknowledged: acknowledged::All,
    records_per_pass: u64,
    threads: usize,
    transaction_wait: Duration,
    transactional_inputs: bool,
}

impl<'a> Verifier<'a> {
    /// Of the topics under these names, and the offsets of `group` (the application's name).
    pub fn new(broker: &'a dyn Broker, topics: Topics, group: impl Into<String>) -> Verifier<'a> {
        Verifier {
            broker,
            topics,
            group: group.into(),
            at_rest: false,
            window_ms: None,
            future_max_ms: FUTURE_MAX_MS,
            clock_skew_max_ms: CLOCK_SKEW_MAX_MS,
            stamps_within_ms: None,
            look_ahead_bytes: None,
            acknowledged: acknowledged::All::default(),
            records_per_pass: RECORDS_PER_PASS,
            threads: 1,
            transaction_wait: TRANSACTION_WAIT,
            transactional_inputs: false,
        }
    }

    /// Nothing is being sent or decided: what is undecided, open or not reached is a finding.
    pub fn at_rest(mut self, at_rest: bool) -> Self {
        self.at_rest = at_rest;
        self
    }

    /// How long the processor remembers decided ids, in stream time (ms); `None`: for ever.
    pub fn memory_window_ms(mut self, window_ms: Option<i64>) -> Self {
        self.window_ms = window_ms;
        self
    }

    /// How far ahead of the processor's clock a record may be stamped (ms; 10 s by default).
    pub fn future_max_ms(mut self, ms: i64) -> Self {
        self.future_max_ms = ms;
        self
    }

    /// How much later than a purchase a restock may be stamped that goes before it (ms; 5 s by
    /// default).
    pub fn clock_skew_max_ms(mut self, ms: i64) -> Self {
        self.clock_skew_max_ms = ms;
        self
    }

    /// The operator's word that every record came to its topic at most so long before or after the
    /// time of its stamp (ms); `None`: stamps prove nothing.
    pub fn stamps_within_ms(mut self, ms: Option<i64>) -> Self {
        self.stamps_within_ms = ms;
        self
    }

    /// How much of the restocks that wait a processor surely looks through (bytes of a partition);
    /// by default as much as one whose queues have not been set to another size.
    pub fn look_ahead_bytes(mut self, bytes: u64) -> Self {
        self.look_ahead_bytes = Some(bytes);
        self
    }

    /// What services have acknowledged (C10), and when (C2). All of it is kept in memory.
    pub fn acknowledged<R: Into<Receipt>>(mut self, events: impl IntoIterator<Item = R>) -> Self {
        events.into_iter().for_each(|event| self.acknowledged.add(event.into()));
        self
    }

    /// Input records of a partition that one pass may take (two million by default): a bound of
    /// the memory, at the price of reading the partition once more for each such number.
    pub fn records_per_pass(mut self, records: u64) -> Self {
        self.records_per_pass = records.max(1);
        self
    }

    /// Partitions that are verified side by side (one by default): each takes its own memory.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// How long open transactions are waited for (15 s by default).
    pub fn transaction_wait(mut self, wait: Duration) -> Self {
        self.transaction_wait = wait;
        self
    }

    /// Others write restocks and purchases in transactions: offsets without a record are the markers
    /// of these then, or what they aborted, and no finding (`false` by default).
    pub fn transactional_inputs(mut self, are: bool) -> Self {
        self.transactional_inputs = are;
        self
    }

    /// Reads and checks everything. `progress` is told now and then, from any thread, and may end
    /// it.
    ///
    /// # Errors
    /// When the topics cannot be read or do not belong together, or `progress` ended it.
    pub fn run(&self, progress: &(dyn Fn(Progress) -> ControlFlow<()> + Sync)) -> Result<Report> {
        let streams = stream::used();
        let (inputs, outputs) = topics_of(&self.topics, streams);
        let (partitions, letter_partitions) =
            snapshot::partitions(self.broker, &self.topics, &inputs, &outputs)?;
        let env = Env {
            broker: self.broker,
            topics: &self.topics,
            streams,
            inputs,
            outputs,
            group: &self.group,
            partitions,
            letter_partitions,
            at_rest: self.at_rest,
            window_ms: self.window_ms,
            future_max_ms: self.future_max_ms,
            clock_skew_max_ms: self.clock_skew_max_ms,
            stamps_within_ms: self.stamps_within_ms,
            look_ahead_bytes: self.look_ahead_bytes.unwrap_or_else(|| look_ahead(partitions)),
            acknowledged: &self.acknowledged,
            transaction_wait: self.transaction_wait,
            transactional_inputs: self.transactional_inputs,
        };
        let snapshot = snapshot::ask(&env)?;
        let diverted: u64 = snapshot.diverted.iter().map(|s| s.end - s.start).sum();
        let lots = diverted.div_ceil(DIVERTED_MAX).clamp(1, u64::from(partitions)) as u32;
        let walks = (0..partitions).map(|p| {
            let spans = &snapshot.partitions[p as usize].spans;
            spans.iter().map(|s| s.end - s.start).sum::<u64>()
                * u64::from(self.passes(&snapshot, p))
        });
        let total = walks.sum::<u64>() + diverted * u64::from(lots);
        let meter = Meter { done: AtomicU64::new(0), total, tell: progress };
        let mut report = Report::default();
        holes::check_policies(&env, &mut report)?;
        if self.at_rest {
            for (at, stable, high) in &snapshot.open {
                let expected = format!("no open transaction below {high}");
                let (topic, p) = (&at.topic, Some(at.partition));
                report.note(Rule::C8, topic, p, Some(*stable), expected, "one that stays open");
            }
        }
        let size = partitions.div_ceil(lots);
        for from in (0..partitions).step_by(size as usize) {
            let range = (from, (from + size).min(partitions));
            let diverted = diverted::read(&env, &snapshot, range, &meter, &mut report)?;
            let jobs = (range.0..range.1).zip(diverted).rev().collect();
            report.merge(self.lot(&env, &snapshot, jobs, &meter)?);
        }
        self.acknowledged.check(&env, &mut report);
        report.records_read = meter.done.load(Ordering::Relaxed);
        Ok(report.finish())
    }

    /// How often a partition is walked through.
    fn passes(&self, snapshot: &Snapshot, partition: u32) -> u32 {
        let spans = &snapshot.partitions[partition as usize].spans;
        let inputs = &spans[..stream::used().len() + 1];
        let records: u64 = inputs.iter().map(|s| s.end - s.start).sum();
        u32::try_from(records.div_ceil(self.records_per_pass)).unwrap_or(u32::MAX).max(1)
    }

    /// Verifies some partitions, each by one thread.
    fn lot(
        &self,
        env: &Env<'_>,
        snapshot: &Snapshot,
        jobs: Vec<(u32, DivertedRecords)>,
        meter: &Meter<'_>,
    ) -> Result<Report> {
        let threads = self.threads.min(jobs.len());
        let jobs = Mutex::new(jobs);
        let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let work = || {
            let mut report = Report::default();
            while let Some((partition, mut diverted)) = next() {
                report.merge(self.partition(env, snapshot, partition, &mut diverted, meter)?);
            }
            Ok::<_, Error>(report)
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let mut report = Report::default();
            for worker in workers {
                match worker.join() {
                    Ok(done) => report.merge(done?),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            Ok(report)
        })
    }

    fn partition(
        &self,
        env: &Env<'_>,
        snapshot: &Snapshot,
        partition: u32,
        diverted: &mut DivertedRecords,
        meter: &Meter<'_>,
    ) -> Result<Report> {
        let own = &snapshot.partitions[partition as usize];
        let mut report = Report::default();
        for span in &own.spans[..env.inputs.len()] {
            if span.start > 0 {
                let at = report::Place::new(&span.at.topic, partition, 0);
                let found = format!("none before offset {}: they are gone", span.start);
                report.find(Rule::C1, at, "all records of the input", found);
            }
        }
        if !report.is_clean() {
            // Without its inputs no decision can be followed.
            return Ok(report);
        }
        let of = self.passes(snapshot, partition);
        for number in 0..of {
            let pass = Pass { number, of };
            let walk = Walk::open(env, own, partition, pass, diverted, meter)?;
            report.merge(walk.run()?);
        }
        Ok(report)
    }
}
