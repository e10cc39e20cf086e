//! Which Kafka, and what is passed through to its client.

use std::collections::BTreeMap;

use bps_streams::broker::kafka::{KafkaBroker, KafkaConfig};
use serde::{Serialize, Serializer};

use super::{SettingsError, SettingsFile};

/// Flags that name a cluster.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct KafkaFlags {
    /// The Kafka cluster: HOST:PORT, several separated by commas
    // Not BPS_KAFKA: that names the cluster of the tests, and would turn an embedded run of
    // somebody who tests into one on Kafka.
    #[arg(long, env = "BPS_KAFKA_BOOTSTRAP", value_name = "HOST:PORT")]
    pub kafka: Option<String>,
    /// Passed through to librdkafka, may be repeated (in the environment: one a line); what
    /// would break exactly-once is refused
    #[arg(
        long,
        env = "BPS_KAFKA_SET",
        value_name = "KEY=VALUE",
        value_delimiter = '\n',
        hide_env_values = true,
        num_args = 1
    )]
    pub kafka_set: Vec<String>,
}

/// A cluster, as [`KafkaFlags`] and the file's table `[kafka]` name it.
#[derive(Clone, Debug, Serialize)]
pub struct KafkaSettings {
    /// HOST:PORT, several separated by commas.
    pub bootstrap: String,
    /// What is passed through to librdkafka.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", serialize_with = "without_secrets")]
    pub set: BTreeMap<String, String>,
}

impl KafkaFlags {
    /// Completes them from the file's table `[kafka]`; `None` where no cluster is named.
    ///
    /// # Errors
    /// An address that is none, or a key that is refused or not known.
    pub fn resolve(self, file: &mut SettingsFile) -> Result<Option<KafkaSettings>, SettingsError> {
        let mut table = file.table("kafka")?;
        let bootstrap = table.or("bootstrap", self.kafka)?;
        let mut lines = table.table("set")?;
        let mut set: BTreeMap<String, String> = lines.lines()?.into_iter().collect();
        table.finish()?;
        let wrong = |cause: &dyn std::fmt::Display| SettingsError::new("kafka", cause);
        for line in self.kafka_set.iter().filter(|line| !line.trim().is_empty()) {
            let (key, value) = line
                .split_once('=')
                .ok_or_else(|| wrong(&"a setting is not of the form KEY=VALUE"))?;
            set.insert(key.trim().to_owned(), value.trim().to_owned());
        }
        if let Some(bootstrap) = &bootstrap {
            check_address(bootstrap)?;
        }
        let settings = KafkaSettings { bootstrap: bootstrap.clone().unwrap_or_default(), set };
        // A refused key is told also where no cluster is named.
        settings.config()?;
        Ok(bootstrap.is_some().then_some(settings))
    }
}

impl KafkaSettings {
    /// As the engine takes it.
    ///
    /// # Errors
    /// A key that is refused or not known.
    pub fn config(&self) -> Result<KafkaConfig, SettingsError> {
        let mut config = KafkaConfig::new(&self.bootstrap);
        for (key, value) in &self.set {
            config = config.set(key, value).map_err(|error| SettingsError::new("kafka", error))?;
        }
        Ok(config)
    }

    /// The cluster. Nothing is connected yet.
    ///
    /// # Errors
    /// As [`KafkaSettings::config`].
    pub fn broker(&self) -> Result<KafkaBroker, SettingsError> {
        Ok(KafkaBroker::new(self.config()?))
    }
}

fn check_address(bootstrap: &str) -> Result<(), SettingsError> {
    for address in bootstrap.split(',') {
        let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty());
        if port.is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
            let cause = format!("{:?} is not HOST:PORT", address.trim());
            return Err(SettingsError::new("kafka", cause));
        }
    }
    Ok(())
}

/// Printed settings end up in tickets and logs.
fn without_secrets<S: Serializer>(
    set: &BTreeMap<String, String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let secret = |key: &str| {
        ["password", "passphrase", "secret", "key.pem", "jaas"].iter().any(|s| key.contains(s))
    };
    let shown = |(key, value): (&String, &String)| {
        (key.clone(), if secret(key) { "(not shown)".to_owned() } else { value.clone() })
    };
    serializer.collect_map(set.iter().map(shown))
}
