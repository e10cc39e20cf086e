//! An installation of the product on one broker, under prefixes of its own.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bps_streams::broker::{
    Appender, Broker, CleanupPolicy, Isolation, OffsetSpec, TopicDescription, TopicPartition,
};
use bps_streams::partitioner::partition_of;
use bps_streams::record::{Batch, Record};
use bps_streams::worker::TaskStatus;
use bps_streams::{Application, ApplicationConfig, Error, Outgoing, prepare_topics};
use bps_verifier::{Report, Verifier};
use purchase_processor::{Settings, topology};
use tempfile::TempDir;

/// Longest wait for something that must come.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A record as a test looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Partition.
    pub partition: u32,
    /// Offset.
    pub offset: u64,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// Key as text.
    pub key: String,
    /// Value as text.
    pub value: String,
    /// Value as it is; `None` is a null value.
    pub raw: Option<Vec<u8>>,
    /// Headers, values as text.
    pub headers: Vec<(String, String)>,
}

impl Written {
    /// The value as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.value).unwrap_or_default()
    }

    /// The message for people.
    pub fn message(&self) -> String {
        self.json()["resultMessage"].as_str().unwrap_or_default().to_owned()
    }

    /// The text of a header; empty where it is not there.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map_or("", |(_, value)| value)
    }
}

/// Topics and, when started, a processor.
pub struct Installation {
    /// The broker.
    pub broker: Arc<dyn Broker>,
    /// Its settings.
    pub settings: Settings,
    /// What the processor is started with.
    pub config: ApplicationConfig,
    /// Partitions of its topics.
    pub partitions: u32,
    /// Records of the test that only a processor may write: so many findings has the checker.
    pub forged: usize,
    appender: Box<dyn Appender>,
    application: Option<Application>,
    _folder: TempDir,
}

static COUNT: AtomicU32 = AtomicU32::new(0);

impl Installation {
    /// Topics under a fresh prefix; the processor is not started yet.
    pub fn new(broker: Arc<dyn Broker>, name: &str, partitions: u32) -> Installation {
        let mut installation = Installation::bare(broker, name, partitions);
        installation.prepare();
        installation
    }

    /// A fresh prefix under which there is no topic yet.
    pub fn bare(broker: Arc<dyn Broker>, name: &str, partitions: u32) -> Installation {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("t{}-{number}-{name}", std::process::id());
        let settings = Settings::new(&prefix, &prefix);
        let folder = tempfile::tempdir().unwrap();
        let mut config = ApplicationConfig::new(folder.path().join("state"));
        config.partitions = partitions;
        let appender = broker.appender().unwrap();
        Installation {
            broker,
            settings,
            config,
            partitions,
            forged: 0,
            appender,
            application: None,
            _folder: folder,
        }
    }

    /// As [`Installation::new`], with input topics that take records from the future.
    pub fn without_door(broker: Arc<dyn Broker>, name: &str, partitions: u32) -> Installation {
        let mut installation = Installation::bare(broker, name, partitions);
        let kept = CleanupPolicy::Delete { retention_ms: None };
        let topics = installation.settings.topics.clone();
        for topic in [&topics.items_added, &topics.purchase_created] {
            installation.create(topic, kept.clone());
        }
        installation.prepare();
        installation
    }

    /// Creates a topic.
    pub fn create(&self, topic: &str, cleanup: CleanupPolicy) {
        let description = TopicDescription {
            name: topic.to_owned(),
            partitions: self.partitions,
            cleanup,
            future_max_ms: None,
        };
        self.broker.create_topic(&description).unwrap();
    }

    /// Creates the topics that are missing.
    pub fn prepare(&mut self) {
        let topology = topology(&self.settings).unwrap();
        let deadline = Instant::now() + PATIENCE;
        let made = loop {
            // A broker on a busy machine may be slow to answer.
            match prepare_topics(&*self.broker, &topology, self.config.partitions) {
                Err(Error::Broker(e)) if e.is_unavailable() && Instant::now() < deadline => {}
                made => break made.unwrap(),
            }
        };
        self.partitions = made.partitions;
    }

    /// Starts the processor.
    pub fn start(&mut self) {
        let topology = topology(&self.settings).unwrap();
        let started = Application::start(self.broker.clone(), topology, self.config.clone());
        self.application = Some(started.unwrap());
    }

    /// Stops the processor, which must end without an error; what it has written so far must pass
    /// the checker.
    pub fn stop(&mut self) {
        self.end().unwrap();
        self.check(false);
    }

    /// As [`Installation::stop`]; the processor gives up its places in the group.
    pub fn leave(&mut self) {
        self.application.take().unwrap().leave().unwrap();
        self.check(false);
    }

    /// Stops the processor.
    ///
    /// # Errors
    /// What has ended it.
    pub fn end(&mut self) -> bps_streams::Result<()> {
        self.application.take().unwrap().stop()
    }

    /// Waits until the processor has ended by itself; why it did.
    pub fn failure(&mut self) -> String {
        let deadline = Instant::now() + PATIENCE;
        while !self.application().is_finished() {
            assert!(
                Instant::now() < deadline,
                "it does not end: {:?}",
                self.application().status()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        self.application.take().unwrap().stop().unwrap_err().to_string()
    }

    /// Starts the processor, which must refuse to; why it does.
    pub fn refused(&self) -> String {
        let topology = topology(&self.settings).unwrap();
        let config = self.config.clone();
        Application::start(self.broker.clone(), topology, config).err().unwrap().to_string()
    }

    /// The running processor.
    pub fn application(&self) -> &Application {
        self.application.as_ref().unwrap()
    }

    fn must_run(&self) {
        let ended = self.application.as_ref().is_some_and(Application::is_finished);
        assert!(!ended, "the processor has ended");
    }

    /// Waits until all partitions are decided on; returns how many records were restored.
    pub fn wait_running(&self) -> u64 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let statuses = self.application().status().workers;
            let tasks = statuses.values().flat_map(|s| s.tasks.values());
            let restored: Option<Vec<u64>> = tasks
                .map(|task| match task {
                    TaskStatus::Running { restored } => Some(*restored),
                    TaskStatus::Restoring { .. } => None,
                })
                .collect();
            if let Some(restored) = restored
                && restored.len() == self.partitions as usize
            {
                return restored.iter().sum();
            }
            self.must_run();
            assert!(Instant::now() < deadline, "{statuses:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Appends records (topic, partition, key, value, timestamp) and waits for all acks.
    pub fn append(&self, records: &[(&str, u32, &str, &[u8], i64)]) {
        let records = records.iter().map(|(topic, partition, key, value, timestamp)| Outgoing {
            topic,
            partition: *partition,
            timestamp: *timestamp,
            key: Some(key.as_bytes()),
            value: Some(value),
            headers: &[],
        });
        let records: Vec<_> = records.collect();
        self.append_all(&records);
    }

    /// Appends by a new client from now on: the one of before knows topics that are no more.
    pub fn append_anew(&mut self) {
        self.appender = self.broker.appender().unwrap();
    }

    /// Appends records and waits for all acks.
    pub fn append_all(&self, records: &[Outgoing<'_>]) {
        let (sender, acks) = mpsc::channel();
        for record in records {
            let sender = sender.clone();
            let ack = Box::new(move |acked| sender.send(acked).unwrap());
            self.appender.append(*record, ack).unwrap();
        }
        for _ in records {
            acks.recv_timeout(PATIENCE).unwrap().unwrap();
        }
    }

    /// The checker's report on the topics, read through `broker` (this one, or a view of it).
    pub fn report_through(&self, broker: &dyn Broker, at_rest: bool) -> Report {
        let Settings { topics, application, clock_skew_max, future_max, memory_window } =
            &self.settings;
        let ms = |span: &Duration| span.as_millis() as i64;
        Verifier::new(broker, topics.clone(), application)
            .at_rest(at_rest)
            .memory_window_ms(memory_window.as_ref().map(ms))
            .future_max_ms(ms(future_max))
            .clock_skew_max_ms(ms(clock_skew_max))
            .run(&|_| ControlFlow::Continue(()))
            .unwrap()
    }

    /// Fails unless the checker finds every promise kept and nothing left to be decided; the
    /// processor has stopped.
    pub fn verify(&self) -> Report {
        self.check(true)
    }

    fn check(&self, at_rest: bool) -> Report {
        assert!(self.application.is_none(), "it may still decide something");
        let report = self.report_through(&*self.broker, at_rest);
        assert_eq!(report.findings.len(), self.forged, "{:#?}", report.findings);
        report
    }

    /// The partition of an item.
    pub fn partition(&self, item: &str) -> u32 {
        partition_of(item.as_bytes(), self.partitions)
    }

    /// Everything that is committed on a topic now, by partition and offset.
    pub fn read(&self, topic: &str) -> Vec<Written> {
        let at: Vec<_> = (0..self.partitions).map(|p| TopicPartition::new(topic, p)).collect();
        let starts = self.broker.offsets(&at, OffsetSpec::Start).unwrap();
        let from: Vec<_> = at.into_iter().zip(starts).collect();
        let mut found = vec![Vec::new(); from.len()];
        self.scan(&from, |slot, record| found[slot].push(written(record)));
        found.into_iter().flatten().collect()
    }

    /// Shows all that is committed now behind these offsets, with the index of its partition.
    pub fn scan(&self, from: &[(TopicPartition, u64)], mut visit: impl FnMut(usize, &Record<'_>)) {
        let (at, mut positions): (Vec<_>, Vec<u64>) = from.iter().cloned().unzip();
        let end = OffsetSpec::End(Isolation::ReadCommitted);
        let ends = self.broker.offsets(&at, end).unwrap();
        let mut reader = self.broker.reader(from, Isolation::ReadCommitted).unwrap();
        let deadline = Instant::now() + PATIENCE;
        let mut batch = Batch::default();
        while positions.iter().zip(&ends).any(|(position, end)| position < end) {
            assert!(Instant::now() < deadline, "{at:?}: {positions:?} of {ends:?}");
            reader.wait(Duration::from_millis(20)).unwrap();
            for (slot, at) in at.iter().enumerate() {
                batch.clear();
                positions[slot] = reader.fetch(slot, 1 << 20, &mut batch).unwrap();
                for index in 0..batch.len() {
                    visit(slot, &batch.get(index, &at.topic, at.partition));
                }
            }
        }
    }

    /// Waits until a topic holds at least `count` records, and reads it.
    pub fn wait_for(&self, topic: &str, count: usize) -> Vec<Written> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.read(topic);
            if found.len() >= count {
                return found;
            }
            self.must_run();
            let status = self.application.as_ref().map(Application::status);
            assert!(
                Instant::now() < deadline,
                "{topic}: {} of {count} records; {status:?}",
                found.len()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn written(record: &Record<'_>) -> Written {
    let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or(b"")).into_owned();
    Written {
        partition: record.partition,
        offset: record.offset,
        timestamp: record.timestamp,
        key: text(record.key),
        value: text(record.value),
        raw: record.value.map(<[u8]>::to_vec),
        headers: record.headers.iter().map(|(n, v)| (n.to_owned(), text(v))).collect(),
    }
}
