//! What of librdkafka may be set from outside, and what the engine sets itself because
//! exactly-once depends on it.

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;

/// Keys that are refused, each with the reason.
const REFUSED: &[(&str, &str)] = &[
    ("acks", "a record counts as written only when all in-sync replicas have it"),
    ("auto.offset.reset", "where to begin is decided from the store and the group's offsets"),
    ("bootstrap.servers", "it has a setting of its own"),
    ("delivery.report.only.error", "the engine counts deliveries"),
    ("enable.auto.commit", "offsets are committed with the results, never beside them"),
    ("enable.auto.offset.store", "offsets are committed with the results, never beside them"),
    ("enable.gapless.guarantee", "the order of records is kept by idempotence"),
    ("enable.idempotence", "without it a retry writes twice"),
    ("enable.partition.eof", "it tells where a partition ends"),
    ("group.id", "it is the application's name"),
    ("group.instance.id", "it is the worker's name"),
    ("group.protocol", "the new protocol neither co-partitions nor fences as needed"),
    ("isolation.level", "records of aborted transactions must not be read"),
    ("max.in.flight", "idempotence bounds it"),
    ("max.in.flight.requests.per.connection", "idempotence bounds it"),
    ("message.send.max.retries", "a delivery ends by its time-out, not by a count"),
    ("partition.assignment.strategy", "only `range` keeps co-partitioned topics together"),
    ("partitioner", "keys are placed by murmur2, as Java does"),
    ("request.required.acks", "a record counts as written only when all in-sync replicas have it"),
    ("retries", "a delivery ends by its time-out, not by a count"),
    ("session.timeout.ms", "it has a setting of its own"),
    ("transactional.id", "it names the worker and fences its predecessor"),
];

/// As many partitions have a full share of what may be fetched ahead; with fewer of them, there is
/// no use for all of it.
const FULL_SHARES: usize = 8;

/// A setting that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// It would break exactly-once.
    #[error("kafka setting {key:?} cannot be set: {reason}")]
    Refused {
        /// The key.
        key: String,
        /// What depends on it.
        reason: &'static str,
    },
    /// librdkafka does not take it.
    #[error("kafka setting {key:?}: {cause}")]
    Unknown {
        /// The key.
        key: String,
        /// What librdkafka says.
        cause: String,
    },
}

/// Where the cluster is, and what is passed through to librdkafka.
#[derive(Clone, Debug)]
pub struct KafkaConfig {
    bootstrap: String,
    passed: Vec<(String, String)>,
}

impl KafkaConfig {
    /// A cluster at `bootstrap` (`HOST:PORT`, several separated by commas).
    pub fn new(bootstrap: impl Into<String>) -> KafkaConfig {
        KafkaConfig { bootstrap: bootstrap.into(), passed: Vec::new() }
    }

    /// Passes a setting through to librdkafka.
    ///
    /// # Errors
    /// A key that would break exactly-once, or that librdkafka does not know.
    pub fn set(mut self, key: &str, value: &str) -> Result<KafkaConfig, ConfigError> {
        if let Some((_, reason)) = REFUSED.iter().find(|(refused, _)| *refused == key) {
            return Err(ConfigError::Refused { key: key.to_owned(), reason });
        }
        let mut probe = ClientConfig::new();
        probe.set(key, value);
        if let Err(error) = probe.create_native_config() {
            let cause = match error {
                // Its text has the value, which may be a password under a misspelt key.
                KafkaError::ClientConfig(_, cause, ..) => cause,
                other => other.to_string(),
            };
            return Err(ConfigError::Unknown { key: key.to_owned(), cause });
        }
        self.passed.push((key.to_owned(), value.to_owned()));
        Ok(self)
    }

    /// Where the cluster is.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// What every client has.
    pub(super) fn client(&self) -> ClientConfig {
        self.with(&[])
    }

    /// What every client has, over these defaults of the engine and under what was passed through.
    /// (A config cannot be copied from another one: its secrets are not shown.)
    fn with(&self, defaults: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.bootstrap)
            .set("client.id", "streams")
            // A broker that comes back is found again soon.
            .set("reconnect.backoff.ms", "10")
            .set("reconnect.backoff.max.ms", "1000")
            .set("retry.backoff.ms", "1")
            .set("socket.nagle.disable", "true");
        for (key, value) in defaults {
            config.set(*key, *value);
        }
        for (key, value) in &self.passed {
            config.set(key, value);
        }
        config
    }

    /// What every client that fetches has besides. It fetches ahead until about `messages` wait for
    /// it, in all of its partitions together: each costs librdkafka some 500 bytes besides its own.
    pub(super) fn fetcher(&self, partitions: usize, messages: usize) -> ClientConfig {
        let share = |all: usize, least: usize, most: usize| {
            (all / partitions.max(1)).clamp(least, most).to_string()
        };
        let messages = share(messages, 100, messages / FULL_SHARES);
        let waiting_kib = share(32 << 10, 128, (32 << 10) / FULL_SHARES);
        let fetched_at_once = share(8 << 20, 64 << 10, (8 << 20) / FULL_SHARES);
        let defaults = [
            // The default of a second stalls a partition whose queue was full once.
            ("fetch.queue.backoff.ms", "5"),
            ("fetch.wait.max.ms", "10"),
            // For so long the group waits for a member that is said to be there and does not join
            // (decision 0038); the default is five minutes. A worker is away for seconds at most.
            ("max.poll.interval.ms", "60000"),
            // For each partition.
            ("queued.min.messages", &messages),
            ("queued.max.messages.kbytes", &waiting_kib),
            ("fetch.message.max.bytes", &fetched_at_once),
        ];
        self.with(&defaults)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("enable.partition.eof", "true")
            .to_owned()
    }

    /// What every client that writes has besides.
    pub(super) fn writer(&self) -> ClientConfig {
        let defaults = [
            ("linger.ms", "2"),
            ("compression.type", "lz4"),
            ("batch.num.messages", "10000"),
            ("queue.buffering.max.messages", "200000"),
            ("queue.buffering.max.kbytes", "65536"),
            // An unknown topic is to be told as such, before its records time out.
            ("topic.metadata.propagation.max.ms", "5000"),
        ];
        self.with(&defaults)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("partitioner", "murmur2_random")
            .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_break_exactly_once_is_refused_by_name() {
        let set = |key| KafkaConfig::new("x:1").set(key, "1").expect_err(key).to_string();
        for (key, reason) in REFUSED {
            assert_eq!(set(key), format!("kafka setting {key:?} cannot be set: {reason}"));
        }
        assert!(set("no.such.key").contains("no.such.key"));
        let misspelt = KafkaConfig::new("x:1").set("sasl.pasword", "canary").expect_err("a key");
        let told = misspelt.to_string();
        assert!(told.contains("sasl.pasword") && !told.contains("canary"), "{told}");
    }

    #[test]
    fn what_is_fetched_ahead_is_bounded_for_all_partitions_together() {
        let config = KafkaConfig::new("x:1");
        let ahead = |partitions: usize| -> [usize; 3] {
            let fetcher = config.fetcher(partitions, 80_000);
            let keys =
                ["queued.min.messages", "queued.max.messages.kbytes", "fetch.message.max.bytes"];
            keys.map(|key| fetcher.get(key).and_then(|v| v.parse().ok()).expect("a number"))
        };
        assert_eq!(ahead(1), [10_000, 4_096, 1 << 20], "no more than one is worth");
        assert_eq!(ahead(8), ahead(1));
        assert_eq!(ahead(128).map(|each| each * 128), [80_000, 32 << 10, 8 << 20]);
    }

    #[test]
    fn other_keys_are_passed_through_and_win_over_defaults() {
        let config = KafkaConfig::new("x:1").set("linger.ms", "7").expect("a known key");
        assert_eq!(config.writer().get("linger.ms"), Some("7"));
        assert_eq!(config.writer().get("acks"), Some("all"));
        assert_eq!(config.fetcher(1, 8_000).get("max.poll.interval.ms"), Some("60000"));
        let config = config.set("max.poll.interval.ms", "90000").expect("a known key");
        assert_eq!(config.fetcher(1, 8_000).get("max.poll.interval.ms"), Some("90000"));
        let config = config.set("sasl.password", "secret").expect("a known key");
        for config in [config.client(), config.fetcher(1, 8_000), config.writer()] {
            assert_eq!(config.get("sasl.password"), Some("secret"));
        }
    }
}
