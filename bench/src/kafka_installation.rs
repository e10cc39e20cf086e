//! The cluster that all contenders share, and what lies on it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bps_service::exit::AnyError;
use bps_streams::broker::kafka::{KafkaBroker, KafkaConfig};
use bps_streams::broker::{Broker, BrokerError, TopicPartition};
use purchase_processor::Settings;
use rustix::process::Signal;
use system_tests::installation::PATIENCE;
use system_tests::oracle::Event;
use system_tests::processes::Process;
use tempfile::TempDir;

use crate::contender::{Contender, Run, group};
use crate::expected::Expected;
use crate::say;
use crate::topics;
use crate::workload::Workload;

/// How often the group's offsets are looked at.
const LOOK: Duration = Duration::from_millis(20);

/// See the module.
pub(crate) struct KafkaInstallation {
    kafka: String,
    streams_jars: PathBuf,
    /// The broker's process, where it is one of this machine.
    pub(crate) broker_pid: Option<u32>,
    /// The cluster.
    pub(crate) broker: KafkaBroker,
    /// Whether the broker has worked for a while.
    pub(crate) is_warm: bool,
    /// What all names begin with: other runs may have left topics behind.
    tag: String,
    filled: BTreeMap<String, Expected>,
    folder: TempDir,
    runs: u32,
}

/// One contender on one workload.
pub(crate) struct Entry {
    /// Prefix of the topics that it writes.
    pub(crate) output: String,
    /// Its state, its log.
    pub(crate) folder: PathBuf,
    /// Prefix of those that it reads.
    pub(crate) input: String,
    /// Partitions of each topic.
    pub(crate) partitions: u32,
    who: Contender,
    workers: u32,
}

impl KafkaInstallation {
    /// # Errors
    /// When there is no room for the runs.
    pub(crate) fn new(
        kafka: &str,
        pid: Option<u32>,
        streams_jars: &Path,
    ) -> Result<KafkaInstallation, AnyError> {
        Ok(KafkaInstallation {
            kafka: kafka.to_owned(),
            streams_jars: streams_jars.to_owned(),
            broker_pid: pid,
            broker: KafkaBroker::new(KafkaConfig::new(kafka)),
            is_warm: false,
            tag: format!("b{}", std::process::id()),
            filled: BTreeMap::new(),
            folder: tempfile::Builder::new().prefix("bps-bench-").tempdir()?,
            runs: 0,
        })
    }

    /// A prefix that no topic has.
    pub(crate) fn fresh(&mut self, name: &str) -> String {
        self.runs += 1;
        format!("{}-{name}{}", self.tag, self.runs)
    }

    /// Prefix of a workload's topics.
    pub(crate) fn input(&self, workload: Workload, partitions: u32) -> String {
        format!("{}-{}-{partitions}", self.tag, workload.name())
    }

    /// Fills the topics under this prefix with a workload, once.
    ///
    /// # Errors
    /// What kept a record from being written.
    pub(crate) fn fill(
        &mut self,
        input: &str,
        workload: Workload,
        partitions: u32,
    ) -> Result<&Expected, AnyError> {
        if !self.filled.contains_key(input) {
            say(format_args!("fills {input}"));
            let expected = topics::fill(&self.broker, input, workload, partitions)?;
            self.filled.insert(input.to_owned(), expected);
        }
        Ok(&self.filled[input])
    }

    /// Ends a run whose topics got these purchases besides, behind all others: once all is decided,
    /// every result is compared.
    ///
    /// # Errors
    /// As with [`KafkaInstallation::wait_decided`] and [`KafkaInstallation::check`].
    pub(crate) fn conclude(
        &mut self,
        entry: &Entry,
        mut process: Process,
        more: &[Event],
        patience: Duration,
    ) -> Result<(), AnyError> {
        let expected = self.filled.get_mut(&entry.input).ok_or("nothing was filled")?;
        more.iter().for_each(|event| expected.decide(event));
        self.wait_decided(entry, &mut process, patience)?;
        KafkaInstallation::stop(process);
        self.check(entry)?;
        self.clear(entry)
    }

    /// A fresh place for a contender: topics for its results, a folder.
    ///
    /// # Errors
    /// When there is no room, or the cluster does not answer.
    pub(crate) fn enter(
        &mut self,
        who: Contender,
        input: &str,
        workers: u32,
        partitions: u32,
    ) -> Result<Entry, AnyError> {
        let output = self.fresh("run");
        let folder = self.folder.path().join(&output);
        std::fs::create_dir(&folder)?;
        topics::prepare(&self.broker, &Settings::new(input, &output), partitions)?;
        Ok(Entry { output, folder, who, input: input.to_owned(), workers, partitions })
    }

    /// A place for a second process of the same application.
    ///
    /// # Errors
    /// When there is no room.
    pub(crate) fn beside(&mut self, entry: &Entry) -> Result<Entry, AnyError> {
        let name = self.fresh("beside");
        let folder = self.folder.path().join(name);
        std::fs::create_dir(&folder)?;
        let (output, input) = (entry.output.clone(), entry.input.clone());
        Ok(Entry { output, folder, input, ..*entry })
    }

    /// What it wrote goes, which may be much. A folder that cannot be removed is in one that goes at
    /// the end.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub(crate) fn clear(&self, entry: &Entry) -> Result<(), AnyError> {
        drop(std::fs::remove_dir_all(entry.folder.join("state")));
        topics::delete(&self.kafka, &self.broker, &format!("{}-", entry.output))
    }

    /// Waits until all that was filled in is decided.
    ///
    /// # Errors
    /// As with [`KafkaInstallation::watch`].
    pub(crate) fn wait_decided(
        &self,
        entry: &Entry,
        process: &mut Process,
        patience: Duration,
    ) -> Result<(), AnyError> {
        self.watch(entry, process, patience, |_| Ok(()))
    }

    /// Tells again and again how many records are decided, until it is all that were filled in.
    ///
    /// # Errors
    /// When it takes too long, or what `see` says.
    ///
    /// # Panics
    /// When the process ends, with what it said last.
    pub(crate) fn watch(
        &self,
        entry: &Entry,
        process: &mut Process,
        patience: Duration,
        mut see: impl FnMut(u64) -> Result<(), AnyError>,
    ) -> Result<(), AnyError> {
        let (records, deadline) = (self.records(&entry.input), Instant::now() + patience);
        loop {
            process.must_run();
            let decided = self.progress(entry)?;
            see(decided)?;
            if decided >= records {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("{decided} of {records} after {patience:?}").into());
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Starts it.
    ///
    /// # Panics
    /// When its program is not there.
    pub(crate) fn start(&self, entry: &Entry) -> Process {
        entry.who.start(&Run {
            kafka: &self.kafka,
            input: &entry.input,
            output: &entry.output,
            folder: &entry.folder,
            streams_jars: &self.streams_jars,
            workers: entry.workers,
            partitions: entry.partitions,
        })
    }

    /// Lets it end in order; with which status, is its own affair.
    ///
    /// # Panics
    /// When it has ended before, or does not.
    pub(crate) fn stop(mut process: Process) {
        process.must_run();
        process.signal(Signal::TERM);
        process.wait(PATIENCE);
    }

    /// Records of the inputs behind which its group has committed so far.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub(crate) fn progress(&self, entry: &Entry) -> Result<u64, AnyError> {
        let topics = Settings::new(&entry.input, &entry.output).topics;
        let inputs = [&topics.items_added, &topics.purchase_created];
        let at: Vec<_> = inputs
            .into_iter()
            .flat_map(|topic| (0..entry.partitions).map(move |p| TopicPartition::new(topic, p)))
            .collect();
        match self.broker.committed(&group(&entry.output), &at) {
            Ok(committed) => Ok(committed.iter().flatten().map(|c| c.offset).sum()),
            // A group that is about to be made.
            Err(BrokerError::Unavailable { .. }) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Compares its results with what they must be.
    ///
    /// # Errors
    /// The first result that is wrong, twice there or missing.
    pub(crate) fn check(&mut self, entry: &Entry) -> Result<(), AnyError> {
        let mut expected = self.filled.remove(&entry.input).ok_or("nothing was filled")?;
        let settings = Settings::new(&entry.input, &entry.output);
        let kept = match entry.who.decides() {
            true => topics::check(&self.broker, &settings, entry.partitions, &mut expected),
            false => topics::count(&self.broker, &settings, entry.partitions, &expected),
        };
        self.filled.insert(entry.input.clone(), expected);
        kept
    }

    /// Records under a prefix that was filled.
    pub(crate) fn records(&self, input: &str) -> u64 {
        self.filled.get(input).map_or(0, |expected| expected.records)
    }
}
