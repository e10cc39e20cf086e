//! Two topologies of one process, on an embedded log: each is an application of its own, and what
//! ends one of them ends both.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bps_service::Shutdown;
use bps_service::applications::{
    self, ApplicationFlags, Failure, NamedTopology, Ticks, Topologies, Watched,
};
use bps_service::metrics::Metrics;
use bps_service::settings::{CommonFlags, CommonSettings, SettingsFile};
use bps_streams::broker::embedded::EmbeddedBroker;
use bps_streams::broker::{Broker, Isolation, OffsetSpec, TopicPartition};
use bps_streams::partitioner::partition_of;
use bps_streams::record::Batch;
use bps_streams::topology::as_it_is;
use bps_streams::{
    Context, Due, DueRow, FolderLock, Ledger, Message, Node, Outgoing, ProcessError, ProcessResult,
    Processor, Record, Sink, SinkId, Source, Store, StoreId, Topology, TopologyError,
};

/// The key of all records.
const KEY: &[u8] = b"k";
const PATIENCE: Duration = Duration::from_secs(20);

/// What the processors are made from: whether they stand poison.
#[derive(Clone, Copy)]
struct Rule {
    stands_poison: bool,
}

/// Counts the records of each key, until one is poison.
struct Count {
    counts: StoreId,
    totals: SinkId,
    rule: Rule,
}

impl Processor for Count {
    type Input<'a> = Record<'a>;

    fn process(&mut self, record: Record<'_>, context: &mut Context<'_>) -> ProcessResult {
        if record.value == Some(b"poison") && !self.rule.stands_poison {
            return Err(ProcessError::failed("it does not stand this"));
        }
        let key = record.key.unwrap_or_default();
        let before = context.get(self.counts, key)?.map_or(0, |row| number(row.value));
        let count = (before + 1).to_string();
        context.put(self.counts, key, count.as_bytes())?;
        context.send(self.totals, Message::new(key, count.as_bytes()))?;
        context.count("record COUNTED");
        Ok(())
    }
}

fn number(digits: &[u8]) -> u64 {
    std::str::from_utf8(digits).unwrap().parse().unwrap()
}

fn counting(name: &str, rule: Rule) -> Result<Topology, TopologyError> {
    let node = Node::new("count", move |wiring| Count {
        counts: wiring.store("counts"),
        totals: wiring.sink("totals"),
        rule,
    });
    Topology::named(format!("test-{name}"))
        .store(Store::new("counts", format!("{name}-counts")))
        .sink(Sink::new("totals", format!("{name}-totals")))
        .processor(node.reads(Source::new("events", name, as_it_is)))
        .dead_letters(format!("{name}-dead-letters"))
        .build()
}

static TWO: Topologies<Rule> = Topologies(&[
    NamedTopology { name: "clicks", workers: 2, topology: |rule| counting("clicks", *rule) },
    NamedTopology { name: "visits", workers: 1, topology: |rule| counting("visits", *rule) },
]);

/// Keeps what it is to remind of: the value is when (ms since 1970).
struct Remind {
    reminders: StoreId,
    fired: SinkId,
}

impl Processor for Remind {
    type Input<'a> = Record<'a>;

    fn process(&mut self, record: Record<'_>, context: &mut Context<'_>) -> ProcessResult {
        context.put(self.reminders, KEY, record.value.unwrap_or_default())?;
        Ok(())
    }

    fn due(&mut self, fallen: DueRow<'_>, context: &mut Context<'_>) -> ProcessResult {
        context.delete(self.reminders, fallen.key)?;
        context.send(self.fired, Message::new(KEY, fallen.row.value))?;
        Ok(())
    }
}

fn reminding() -> Result<Topology, TopologyError> {
    let node = Node::new("remind", |wiring| {
        // What changes when a row falls due is told in a topic that backs a ledger.
        wiring.ledger("fired");
        Remind { reminders: wiring.store("reminders"), fired: wiring.sink("fired") }
    });
    let when = |value: &[u8]| Some(Due::At(number(value)));
    Topology::named("test-reminders")
        .store(Store::new("reminders", "reminders-rows").due(1, when))
        .ledger(Ledger::new("fired", "fired", |_, _| None))
        .sink(Sink::new("fired", "fired"))
        .processor(node.reads(Source::new("reminders", "reminders", as_it_is)))
        .ticks("reminders-ticks")
        .dead_letters("reminders-dead-letters")
        .build()
}

static REMINDERS: Topologies<Rule> =
    Topologies(&[NamedTopology { name: "reminders", workers: 1, topology: |_| reminding() }]);

/// A log, a state folder, and how often it was said that all are ready.
struct Case {
    topologies: &'static Topologies<Rule>,
    folder: tempfile::TempDir,
    broker: Arc<EmbeddedBroker>,
    ready: Arc<AtomicU32>,
}

/// A process that runs.
struct Running {
    thread: JoinHandle<Result<(), Failure>>,
    shutdown: Shutdown,
    metrics: Arc<Metrics>,
}

impl Case {
    fn new() -> Case {
        Case::of(&TWO)
    }

    fn of(topologies: &'static Topologies<Rule>) -> Case {
        let folder = tempfile::tempdir().unwrap();
        let broker = Arc::new(EmbeddedBroker::open(&folder.path().join("log")).unwrap());
        Case { topologies, folder, broker, ready: Arc::default() }
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Starts those of these names, all where there is none.
    fn start(&self, names: Option<&str>, rule: Rule) -> Running {
        let run = names.map(str::to_owned);
        self.start_with(ApplicationFlags { run, ..Default::default() }, rule)
    }

    fn start_with(&self, flags: ApplicationFlags, rule: Rule) -> Running {
        let file = &mut SettingsFile::default();
        let settings = flags.resolve(file, self.state(), self.topologies).unwrap();
        let common = CommonFlags { partitions: Some(2), ..Default::default() };
        let common: CommonSettings = common.resolve(file).unwrap();
        let applications = settings.applications(self.topologies, &rule, &common).unwrap();
        let (shutdown, metrics) = (Shutdown::default(), Arc::<Metrics>::default());
        let broker: Arc<dyn Broker> = self.broker.clone();
        let (ended, shown, ready) = (shutdown.clone(), metrics.clone(), self.ready.clone());
        let thread = std::thread::spawn(move || {
            let observed = |watched: &[Watched]| applications::watch(&shown, watched);
            let ready = || {
                ready.fetch_add(1, Ordering::Relaxed);
            };
            applications::run(&broker, applications, false, &ended, observed, ready)
        });
        Running { thread, shutdown, metrics }
    }

    /// As [`Case::start`] of all, until they are ready.
    fn start_all(&self, rule: Rule) -> Running {
        let before = self.ready.load(Ordering::Relaxed);
        let running = self.start(None, rule);
        until("ready", || self.ready.load(Ordering::Relaxed) > before);
        running
    }

    fn send(&self, topic: &str, value: &[u8], count: usize) {
        let appender = self.broker.appender().unwrap();
        for _ in 0..count {
            let (tell, told) = mpsc::channel();
            let (partition, timestamp, key) = (partition_of(KEY, 2), 1_000, Some(KEY));
            let value = Some(value);
            let record = Outgoing { topic, partition, timestamp, key, value, headers: &[] };
            let ack = Box::new(move |outcome| drop(tell.send(outcome)));
            appender.append(record, ack).unwrap();
            told.recv().unwrap().unwrap();
        }
    }

    /// Offset of the group of a topology in the partition that is sent to.
    fn committed(&self, group: &str, topic: &str) -> Option<u64> {
        let at = [TopicPartition::new(topic, partition_of(KEY, 2))];
        let committed = self.broker.committed(&format!("test-{group}"), &at).unwrap();
        committed.into_iter().next().unwrap().map(|committed| committed.offset)
    }

    /// What lies on a topic for readers of committed records.
    fn values(&self, topic: &str) -> Vec<String> {
        let at = [TopicPartition::new(topic, partition_of(KEY, 2))];
        let end = OffsetSpec::End(Isolation::ReadCommitted);
        let end = self.broker.offsets(&at, end).unwrap()[0];
        let from = [(at[0].clone(), 0)];
        let mut reader = self.broker.reader(&from, Isolation::ReadCommitted).unwrap();
        let mut batch = Batch::default();
        while reader.fetch(0, 1 << 20, &mut batch).unwrap() < end {}
        let value = |index| batch.get(index, topic, 0).value.unwrap_or_default();
        let text = |index| String::from_utf8(value(index).to_vec()).unwrap();
        (0..batch.len()).map(text).collect()
    }
}

impl Running {
    fn has(&self, line: &str) -> bool {
        self.metrics.text().unwrap().lines().any(|found| found == line)
    }

    fn end(self) -> Result<(), Failure> {
        self.shutdown.request();
        self.outcome()
    }

    /// What it ends with by itself.
    fn outcome(self) -> Result<(), Failure> {
        until("the end", || self.thread.is_finished());
        self.thread.join().unwrap()
    }
}

#[track_caller]
fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The words of a file of a state folder.
fn words(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap()
}

const HARDY: Rule = Rule { stands_poison: true };
const WEAK: Rule = Rule { stands_poison: false };

#[test]
fn two_topologies_of_a_process_share_nothing() {
    let case = Case::new();
    let running = case.start_all(WEAK);
    case.send("clicks", b"x", 3);
    case.send("visits", b"x", 2);
    for line in [
        "bps_records_total{topology=\"clicks\"} 3",
        "bps_records_total{topology=\"visits\"} 2",
        "bps_decisions_total{topology=\"visits\",kind=\"record\",outcome=\"COUNTED\"} 2",
        "bps_latency_seconds_count{topology=\"clicks\"} 3",
        "bps_tasks{topology=\"clicks\",state=\"running\"} 2",
        "bps_tasks{topology=\"visits\",state=\"running\"} 2",
        "bps_lag_records{topology=\"visits\",topic=\"visits\",partition=\"1\"} 0",
    ] {
        until(line, || running.has(line));
    }
    let text = running.metrics.text().unwrap();
    assert_eq!(text.matches("# TYPE bps_records counter").count(), 1, "{text}");
    for store in ["clicks", "visits"] {
        let named = format!("bps_store_memory_bytes{{store=\"{store}\",part=\"memtables\"}} ");
        assert!(text.contains(&named), "{named} is not in\n{text}");
    }
    let (root, below) = (case.state(), case.state().join("visits"));
    for folder in [&root, &below] {
        let taken = FolderLock::take(folder).expect_err("taken").to_string();
        assert!(taken.contains("is in use by process"), "{taken}");
    }
    running.end().unwrap();

    assert_eq!(case.committed("clicks", "clicks"), Some(3));
    assert_eq!(case.committed("visits", "visits"), Some(2));
    assert_eq!(case.committed("clicks", "visits"), None);
    assert_eq!(case.committed("visits", "clicks"), None);
    assert!(root.join("store").is_dir() && below.join("store").is_dir());
    assert!(words(&root, "identity").starts_with("application test-clicks, "));
    assert!(words(&below, "identity").starts_with("application test-visits, "));
    assert_eq!(case.ready.load(Ordering::Relaxed), 1, "it is said once");

    // And on, with the rows of before.
    let running = case.start_all(WEAK);
    case.send("visits", b"x", 1);
    until("the third visit", || case.committed("visits", "visits") == Some(3));
    running.end().unwrap();
    assert_eq!(case.values("visits-totals"), ["1", "2", "3"]);
    assert_eq!(case.ready.load(Ordering::Relaxed), 2);
    assert!(
        !root.join("store.quarantine-1").exists() && !below.join("store.quarantine-1").exists()
    );
}

#[test]
fn one_that_fails_ends_both_and_is_named() {
    let case = Case::new();
    let running = case.start_all(WEAK);
    case.send("clicks", b"x", 5);
    case.send("visits", b"poison", 1);
    let shutdown = running.shutdown.clone();
    let failure = running.outcome().expect_err("poison").to_string();
    assert!(failure.starts_with("topology visits: "), "{failure}");
    assert!(failure.contains("it does not stand this"), "{failure}");
    assert!(failure.contains("visits-"), "{failure}");
    assert!(!shutdown.is_requested());
    // The other one could commit what it had begun, and neither has its folder any more.
    for folder in [case.state(), case.state().join("visits")] {
        drop(FolderLock::take(&folder).expect("free"));
    }

    // Alone the other one goes on, and leaves what it does not run as it is.
    let running = case.start(Some("clicks"), WEAK);
    until("all clicks", || case.committed("clicks", "clicks") == Some(5));
    drop(FolderLock::take(&case.state().join("visits")).expect("free"));
    running.end().unwrap();
    assert_eq!(case.values("clicks-totals").len(), 5);
    assert_eq!(case.committed("visits", "visits").unwrap_or(0), 0);

    let running = case.start_all(HARDY);
    until("the poison", || case.committed("visits", "visits") == Some(1));
    running.end().unwrap();
}

#[test]
fn one_that_cannot_start_ends_what_has_begun() {
    let case = Case::new();
    let taken = FolderLock::take(&case.state().join("visits")).unwrap();
    let failure = case.start(None, WEAK).outcome().expect_err("taken").to_string();
    assert!(failure.starts_with("topology visits: "), "{failure}");
    assert!(failure.contains("is in use by process"), "{failure}");
    drop(FolderLock::take(&case.state()).expect("free"));
    assert_eq!(case.ready.load(Ordering::Relaxed), 0);
    drop(taken);
    case.start_all(WEAK).end().unwrap();
    assert_eq!(case.ready.load(Ordering::Relaxed), 1);

    // Where one alone runs, there is none to tell it from.
    let _taken = FolderLock::take(&case.state().join("visits")).unwrap();
    let running = case.start(Some("visits"), WEAK);
    let failure = running.outcome().expect_err("taken").to_string();
    assert!(!failure.starts_with("topology"), "{failure}");
}

#[test]
fn rows_fall_due_by_the_clock_unless_ticks_are_off() {
    let case = Case::of(&REMINDERS);
    let ahead = format!(
        "bps_ticks_ahead_ms{{topology=\"reminders\",partition=\"{}\"}} 0",
        partition_of(KEY, 2)
    );
    let flags = ApplicationFlags { ticks: Some(Ticks::Off), ..Default::default() };
    let running = case.start_with(flags, WEAK);
    until("ready", || case.ready.load(Ordering::Relaxed) == 1);
    // Long ago by any clock, and after all records.
    case.send("reminders", b"2000", 1);
    until("it is kept", || case.committed("reminders", "reminders") == Some(1));
    until("it is shown", || running.has(&ahead));
    running.end().unwrap();
    assert_eq!(case.values("fired"), Vec::<String>::new());
    assert_eq!(case.values("reminders-ticks"), Vec::<String>::new());

    let running = case.start(None, WEAK);
    until("it fires", || case.values("fired") == ["2000"]);
    running.end().unwrap();
}
