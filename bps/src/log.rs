//! Which log a command looks at: the embedded one in a folder, or a Kafka cluster.

use std::path::{Path, PathBuf};

use bps_events::topics::PREFIX;
use bps_service::settings::{KafkaFlags, KafkaSettings, SettingsFile};
use bps_streams::broker::embedded::{EmbeddedBroker, Follower};
use bps_streams::broker::kafka::KafkaBroker;
use bps_streams::broker::{
    Broker, Isolation, OffsetSpec, Reader, Result, TopicDescription, TopicPartition,
};

use crate::error::Error;

/// The arguments that name a log.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct LogArgs {
    /// Folder of the embedded log [default: ./data, where no cluster is named]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Settings file of a service; its table `kafka` names the cluster and who one is there
    #[arg(long, env = "BPS_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    kafka: KafkaFlags,
}

/// The arguments that name the topics.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Prefixes {
    /// Prefix of the topics that are read: restocks and purchases
    #[arg(long, env = "BPS_INPUT_PREFIX", value_name = "PREFIX", default_value = PREFIX)]
    pub(crate) input_prefix: String,
    /// Prefix of the topics of results and state
    #[arg(long, env = "BPS_OUTPUT_PREFIX", value_name = "PREFIX", default_value = PREFIX)]
    pub(crate) output_prefix: String,
}

impl LogArgs {
    /// The cluster, where one is named.
    pub(crate) fn cluster(&self) -> Result<Option<KafkaSettings>, Error> {
        let kafka = self.kafka.clone().resolve(&mut SettingsFile::read(self.config.as_deref())?)?;
        // A flag overrules the environment and the file, and two flags contradict each other.
        let environment = std::env::var("BPS_KAFKA_BOOTSTRAP").ok();
        let is_flag = self.kafka.kafka.is_some() && self.kafka.kafka != environment;
        match &self.data {
            Some(_) if is_flag => {
                Err(Error::Usage("--data and --kafka: a log is either here or there".to_owned()))
            }
            Some(_) => Ok(None),
            None => Ok(kafka),
        }
    }

    /// The folder of the embedded log.
    pub(crate) fn folder(&self) -> &Path {
        self.data.as_deref().unwrap_or(Path::new("./data"))
    }

    /// Looks at the log, which another process may own.
    pub(crate) fn look(&self) -> Result<Log, Error> {
        Ok(match self.cluster()? {
            Some(kafka) => Log::Cluster(kafka.broker()?),
            None => Log::Folder(EmbeddedBroker::follow(existing(self.folder())?)?),
        })
    }

    /// Takes the log to change it. Only one process can have the embedded one.
    pub(crate) fn take(&self) -> Result<Box<dyn Broker>, Error> {
        Ok(match self.cluster()? {
            Some(kafka) => Box::new(kafka.broker()?),
            None => Box::new(EmbeddedBroker::open(self.folder())?),
        })
    }
}

/// RocksDB's own message on a missing folder speaks of its files.
pub(crate) fn existing(folder: &Path) -> Result<&Path, Error> {
    match folder.join("log").is_dir() {
        true => Ok(folder),
        false => Err(Error::NoLog { folder: folder.to_owned() }),
    }
}

/// A log to look at.
pub(crate) enum Log {
    /// The embedded one, followed read-only.
    Folder(Follower),
    /// A cluster.
    Cluster(KafkaBroker),
}

impl Log {
    /// As a port, to be read from only.
    pub(crate) fn broker(&self) -> &dyn Broker {
        match self {
            Self::Folder(follower) => follower,
            Self::Cluster(broker) => broker,
        }
    }

    /// As [`Broker::describe_topics`].
    pub(crate) fn describe(&self, names: &[&str]) -> Result<Vec<Option<TopicDescription>>> {
        match self {
            Self::Folder(follower) => follower.describe_topics(names),
            Self::Cluster(broker) => broker.describe_topics(names),
        }
    }

    /// All topics, by name.
    pub(crate) fn topics(&self) -> Result<Vec<TopicDescription>> {
        let mut topics: Vec<_> = self.describe(&[])?.into_iter().flatten().collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(topics)
    }

    /// One topic; the error names those that are there.
    pub(crate) fn topic(&self, name: &str) -> Result<TopicDescription, Error> {
        if let Some(topic) = self.describe(&[name])?.into_iter().flatten().next() {
            return Ok(topic);
        }
        let known = self.topics()?.into_iter().map(|t| t.name).collect();
        Err(Error::UnknownTopic { topic: name.to_owned(), known })
    }

    /// As [`Broker::offsets`].
    pub(crate) fn offsets(&self, at: &[TopicPartition], spec: OffsetSpec) -> Result<Vec<u64>> {
        match self {
            Self::Folder(follower) => follower.offsets(at, spec),
            Self::Cluster(broker) => broker.offsets(at, spec),
        }
    }

    /// Reads committed records from these positions on.
    pub(crate) fn reader(&self, from: &[(TopicPartition, u64)]) -> Result<Box<dyn Reader>> {
        match self {
            Self::Folder(follower) => follower.reader(from),
            Self::Cluster(broker) => broker.reader(from, Isolation::ReadCommitted),
        }
    }
}

/// The partitions of a topic.
pub(crate) fn partitions(topic: &TopicDescription) -> Vec<TopicPartition> {
    (0..topic.partitions).map(|p| TopicPartition::new(&topic.name, p)).collect()
}
