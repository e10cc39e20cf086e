//! An installation of the product on one broker, under prefixes of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bps_streams::broker::{
    Appender, Broker, CleanupPolicy, Isolation, OffsetSpec, TopicDescription, TopicPartition,
};
use bps_streams::partitioner::partition_of;
use bps_streams::record::Batch;
use bps_streams::worker::TaskStatus;
use bps_streams::{Application, ApplicationConfig, Error, Outgoing, prepare_topics};
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

    fn prepare(&mut self) {
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

    /// Stops the processor, which must end without an error.
    pub fn stop(&mut self) {
        self.application.take().unwrap().stop().unwrap();
    }

    /// Stops the processor, which gives up its places in the group.
    pub fn leave(&mut self) {
        self.application.take().unwrap().leave().unwrap();
    }

    /// The running processor.
    pub fn application(&self) -> &Application {
        self.application.as_ref().unwrap()
    }

    /// Waits until all partitions are decided on; returns how many records were restored.
    pub fn wait_running(&self) -> u64 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let statuses = self.application().status();
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
            assert!(!self.application().is_finished(), "the processor has ended");
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

    /// The partition of an item.
    pub fn partition(&self, item: &str) -> u32 {
        partition_of(item.as_bytes(), self.partitions)
    }

    /// Everything that is committed on a topic now, by partition and offset.
    pub fn read(&self, topic: &str) -> Vec<Written> {
        let at: Vec<_> = (0..self.partitions).map(|p| TopicPartition::new(topic, p)).collect();
        let end = OffsetSpec::End(Isolation::ReadCommitted);
        let ends = self.broker.offsets(&at, end).unwrap();
        let starts = self.broker.offsets(&at, OffsetSpec::Start).unwrap();
        let from: Vec<_> = at.iter().cloned().zip(starts).collect();
        let mut reader = self.broker.reader(&from, Isolation::ReadCommitted).unwrap();
        let deadline = Instant::now() + PATIENCE;
        let mut positions: Vec<u64> = from.iter().map(|(_, start)| *start).collect();
        let mut found = vec![Vec::new(); at.len()];
        while positions.iter().zip(&ends).any(|(position, end)| position < end) {
            assert!(Instant::now() < deadline, "{topic}: {positions:?} of {ends:?}");
            reader.wait(Duration::from_millis(20)).unwrap();
            for (slot, at) in at.iter().enumerate() {
                let mut batch = Batch::default();
                positions[slot] = reader.fetch(slot, 1 << 20, &mut batch).unwrap();
                for index in 0..batch.len() {
                    found[slot].push(written(&batch.get(index, topic, at.partition)));
                }
            }
        }
        found.into_iter().flatten().collect()
    }

    /// Waits until a topic holds at least `count` records, and reads it.
    pub fn wait_for(&self, topic: &str, count: usize) -> Vec<Written> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.read(topic);
            if found.len() >= count {
                return found;
            }
            if let Some(application) = &self.application {
                assert!(!application.is_finished(), "the processor has ended");
            }
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

fn written(record: &bps_streams::Record<'_>) -> Written {
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
