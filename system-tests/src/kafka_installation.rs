//! An installation on a Kafka whose processors are processes of their own; and what they must have
//! done in the end, whatever happened to them.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bps_streams::broker::kafka::{KafkaBroker, KafkaConfig};
use bps_streams::broker::{BrokerError, Isolation, OffsetSpec, TopicPartition};
use bps_streams::record::Batch;

use crate::Installation;
use crate::accounting::{Found, Sent};
use crate::installation::PATIENCE;
use crate::processes::{Process, Work, command, tell};

/// Partitions of all topics.
pub const PARTITIONS: u32 = 8;
/// What a processor says when it decides.
pub const READY: &str = "purchase-processor ready";

/// See the module.
pub struct KafkaInstallation {
    /// Its topics, and a client of the broker.
    pub installation: Installation,
    /// Folder of states and logs.
    pub work: Work,
    /// Where its Kafka is.
    pub address: String,
    name: String,
}

impl KafkaInstallation {
    /// Fresh topics on the Kafka at `address`.
    pub fn new(name: &str, address: &str) -> KafkaInstallation {
        let broker = Arc::new(KafkaBroker::new(KafkaConfig::new(address)));
        KafkaInstallation::of(name, address, Installation::new(broker, name, PARTITIONS))
    }

    /// A name under which there is no topic yet; the Kafka may be away.
    pub fn bare(name: &str, address: &str) -> KafkaInstallation {
        let broker = Arc::new(KafkaBroker::new(KafkaConfig::new(address)));
        KafkaInstallation::of(name, address, Installation::bare(broker, name, PARTITIONS))
    }

    fn of(name: &str, address: &str, installation: Installation) -> KafkaInstallation {
        let (name, address) = (name.to_owned(), address.to_owned());
        KafkaInstallation { installation, work: Work::new(&name), address, name }
    }

    fn prefix(&self) -> &str {
        let topic = &self.installation.settings.topics.items_added;
        topic.strip_suffix("-items-added").unwrap()
    }

    /// Starts a program of ours on the Kafka at `address` (its own, or a proxy's).
    pub fn program(&self, name: &str, program: &str, address: &str, more: &[&str]) -> Process {
        let prefix = self.prefix();
        let own = ["--kafka", address, "--input-prefix", prefix, "--output-prefix", prefix];
        Process::start(&self.work, name, program, &[&own[..], more].concat())
    }

    /// Starts a processor: `member` is who it is (its state folder), `run` which start this is.
    pub fn processor(&self, member: &str, run: u32, address: &str) -> Process {
        let state = self.state(member);
        let more = ["--state", state.to_str().unwrap()];
        self.program(&format!("{member}-{run}"), "purchase-processor", address, &more)
    }

    fn state(&self, member: &str) -> PathBuf {
        self.work.path(&format!("state-{member}"))
    }

    /// Empties the disk of a processor that does not run.
    pub fn lose_disk(&self, member: &str) {
        let state = self.state(member);
        // One that was killed early has nothing yet.
        if state.exists() {
            std::fs::remove_dir_all(state).unwrap();
        }
    }

    /// `bps reset --skip-gap` for a processor that does not run.
    pub fn skip_gap(&self, member: &str) {
        let (prefix, state) = (self.prefix(), self.state(member));
        let mut command = command("bps");
        command.args(["reset", "--skip-gap", "--yes", "--kafka", &self.address, "--state"]);
        command.arg(state).args(["--input-prefix", prefix, "--output-prefix", prefix]);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{member}: bps reset --skip-gap: {said}");
    }

    /// The topics that it decides on.
    pub fn inputs(&self) -> [&str; 3] {
        let topics = &self.installation.settings.topics;
        [&topics.items_added, &topics.purchase_created, &topics.rekeyed].map(String::as_str)
    }

    fn ledger(&self) -> Vec<TopicPartition> {
        let topic = &self.installation.settings.topics.purchase_finished;
        (0..PARTITIONS).map(|p| TopicPartition::new(topic, p)).collect()
    }

    /// About how many purchases are decided (markers count too).
    pub fn decided(&self) -> u64 {
        let end = OffsetSpec::End(Isolation::ReadCommitted);
        let ends = self.installation.broker.offsets(&self.ledger(), end);
        ends.map_or(0, |ends| ends.iter().sum())
    }

    /// Partitions of the ledger with records of open transactions: last stable offset and end.
    ///
    /// # Errors
    /// The broker is away.
    pub fn open(&self) -> Result<Vec<(u32, u64, u64)>, BrokerError> {
        let broker = &self.installation.broker;
        let at = self.ledger();
        let ends = broker.offsets(&at, OffsetSpec::End(Isolation::ReadUncommitted))?;
        let stable = broker.offsets(&at, OffsetSpec::End(Isolation::ReadCommitted))?;
        let all = (0..).zip(stable.into_iter().zip(ends)).map(|(p, (s, e))| (p, s, e));
        Ok(all.filter(|(_, stable, end)| stable < end).collect())
    }

    /// Whether a transaction is open that nobody goes on with: at the same place it still is
    /// after a time in which a live processor commits several. A broker that does not answer now
    /// tells of none.
    pub fn is_left_open(&self) -> bool {
        let open = || self.open().unwrap_or_default().into_iter().map(|(p, stable, _)| (p, stable));
        let before: BTreeSet<_> = open().collect();
        if before.is_empty() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(400));
        open().any(|open| before.contains(&open))
    }

    /// Waits, for a time, until a transaction is open in a partition that `of` may have.
    pub fn await_open(&self, of: &Process, patience: Duration) {
        let begin = Instant::now();
        let partitions: BTreeSet<u32> = of.tasks().iter().map(|task| task.partition).collect();
        while begin.elapsed() < patience {
            let open = self.open().unwrap_or_default();
            if open.iter().any(|(partition, ..)| partitions.contains(partition)) {
                return;
            }
        }
    }

    /// Waits until results were committed in each partition that are not there now, not even in
    /// open transactions (markers do not count); returns how long that took.
    pub fn all_go_on(&self) -> Duration {
        self.all_go_on_while(|| ())
    }

    /// As [`KafkaInstallation::all_go_on`]; meanwhile, now and then, `look` is called.
    pub fn all_go_on_while(&self, mut look: impl FnMut()) -> Duration {
        let (begin, at) = (Instant::now(), self.ledger());
        let broker = &self.installation.broker;
        let mut reader = loop {
            // A broker that has just come back may not answer yet.
            let reader = || {
                let now = broker.offsets(&at, OffsetSpec::End(Isolation::ReadUncommitted))?;
                let from: Vec<_> = at.iter().cloned().zip(now).collect();
                broker.reader(&from, Isolation::ReadCommitted)
            };
            match reader() {
                Err(error) if error.is_unavailable() && begin.elapsed() < PATIENCE => {}
                reader => break reader.unwrap(),
            }
        };
        let mut silent: BTreeSet<usize> = (0..at.len()).collect();
        while !silent.is_empty() {
            assert!(begin.elapsed() < PATIENCE * 2, "{}: no results in {silent:?}", self.name);
            look();
            reader.wait(Duration::from_millis(20)).unwrap();
            for slot in 0..at.len() {
                let mut batch = Batch::default();
                reader.fetch(slot, 64 << 10, &mut batch).unwrap();
                if !batch.is_empty() {
                    silent.remove(&slot);
                }
            }
        }
        begin.elapsed()
    }

    /// Whether the group has committed all that lies on the inputs.
    ///
    /// # Errors
    /// The broker is away.
    pub fn is_all_decided(&self) -> Result<bool, BrokerError> {
        let (broker, settings) = (&self.installation.broker, &self.installation.settings);
        let inputs = [&settings.topics.items_added, &settings.topics.purchase_created];
        let at = inputs.into_iter().flat_map(|topic| {
            (0..PARTITIONS).map(move |partition| TopicPartition::new(topic, partition))
        });
        let at: Vec<_> = at.collect();
        let ends = broker.offsets(&at, OffsetSpec::End(Isolation::ReadCommitted))?;
        let committed = broker.committed(&settings.application, &at)?;
        let mut both = ends.into_iter().zip(committed);
        Ok(both.all(|(end, found)| found.map_or(0, |committed| committed.offset) >= end))
    }

    /// Waits until all that was sent is decided.
    pub fn wait_decided(&self, processes: &mut [Process]) {
        let deadline = Instant::now() + PATIENCE * 2;
        while !self.is_all_decided().unwrap_or(false) {
            processes.iter_mut().for_each(Process::must_run);
            let at = self.decided();
            assert!(Instant::now() < deadline, "{}: not all is decided ({at})", self.name);
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// The end of every run: all is decided, the processors end well, the account balances, and
    /// `bps verify` has no finding. Returns the account in a line.
    pub fn settle(&self, sent: &Sent, mut processes: Vec<Process>) -> String {
        self.wait_decided(&mut processes);
        processes.into_iter().for_each(Process::stop);
        let topics = &self.installation.settings.topics;
        let found = Found::read(topics, PARTITIONS, |topic| self.installation.read(topic));
        let account = found.settle(sent);
        let (code, verdict) = self.verify(sent);
        assert_eq!(code, Some(0), "{}: bps verify: {verdict}", self.name);
        let last = verdict.lines().last().unwrap_or_default();
        assert!(last.contains("0 findings"), "{}: bps verify: {verdict}", self.name);
        tell(format_args!("{}: {account}; verify: {last}", self.name));
        account
    }

    /// `bps verify` at rest: its exit code, and what it says.
    pub fn verify(&self, sent: &Sent) -> (Option<i32>, String) {
        let path = self.work.path("acknowledged");
        let mut file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
        for line in sent.lines() {
            writeln!(file, "{line}").unwrap();
        }
        file.flush().unwrap();
        let (prefix, path) = (self.prefix(), path.to_str().unwrap());
        let mut command = command("bps");
        command.args(["verify", "--at-rest", "--kafka", &self.address]);
        command.args(["--input-prefix", prefix, "--output-prefix", prefix]);
        let output = command.args(["--acknowledged", path]).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    }
}
