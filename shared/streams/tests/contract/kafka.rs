//! The rows on a real Kafka: the one that `BPS_KAFKA` names, else one in a container.

use std::io::Write as _;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use bps_streams::broker::Broker;
use bps_streams::broker::kafka::{KafkaBroker, KafkaConfig};
use testcontainers::core::{IntoContainerPort as _, WaitFor};
use testcontainers::runners::SyncRunner as _;
use testcontainers::{Container, GenericImage, ImageExt as _};

use crate::harness::Fresh;

contract! { kafka }

/// The Kafka that everything here is tested with.
const VERSION: &str = include_str!("../../../../scripts/kafka.version");

/// One node; the same as in `scripts/kafka`, where each setting has its reason.
const SETTINGS: &[(&str, &str)] = &[
    ("NODE_ID", "1"),
    ("PROCESS_ROLES", "broker,controller"),
    ("CONTROLLER_QUORUM_VOTERS", "1@127.0.0.1:9093"),
    ("LISTENER_SECURITY_PROTOCOL_MAP", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"),
    ("INTER_BROKER_LISTENER_NAME", "PLAINTEXT"),
    ("CONTROLLER_LISTENER_NAMES", "CONTROLLER"),
    ("LOG_RETENTION_MS", "-1"),
    ("OFFSETS_TOPIC_REPLICATION_FACTOR", "1"),
    ("OFFSETS_TOPIC_NUM_PARTITIONS", "8"),
    ("TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "1"),
    ("TRANSACTION_STATE_LOG_MIN_ISR", "1"),
    ("TRANSACTION_STATE_LOG_NUM_PARTITIONS", "8"),
    ("GROUP_INITIAL_REBALANCE_DELAY_MS", "0"),
    ("GROUP_MIN_SESSION_TIMEOUT_MS", "1000"),
    ("AUTO_CREATE_TOPICS_ENABLE", "false"),
];

/// The cluster of all rows, or why there is none.
enum Cluster {
    At(KafkaBroker),
    NotWanted,
    Missing(String),
}

fn with(row: &str, behaviour: fn(&dyn Broker, &Fresh)) {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    match CLUSTER.get_or_init(find) {
        Cluster::At(broker) => behaviour(broker, &Fresh::named(row)),
        Cluster::NotWanted => crate::harness::cannot_run(row, "kafka", "BPS_NO_KAFKA is set"),
        Cluster::Missing(why) => panic!(
            "no Kafka: set BPS_KAFKA=HOST:PORT, or run Docker, or leave these rows out by \
             BPS_NO_KAFKA=1 ({why})"
        ),
    }
}

fn find() -> Cluster {
    if let Ok(address) = std::env::var("BPS_KAFKA") {
        return Cluster::At(KafkaBroker::new(KafkaConfig::new(address)));
    }
    if std::env::var("BPS_NO_KAFKA").is_ok_and(|v| v == "1") {
        return Cluster::NotWanted;
    }
    // For the whole run: a static is never dropped, so a watchman removes it in the end.
    static CONTAINER: OnceLock<Container<GenericImage>> = OnceLock::new();
    match start() {
        Err(why) => Cluster::Missing(why),
        Ok((container, address)) => {
            remove_at_the_end(container.id());
            CONTAINER.get_or_init(|| container);
            Cluster::At(KafkaBroker::new(KafkaConfig::new(address)))
        }
    }
}

/// The port has the same number inside: the broker tells its clients the address it advertises.
fn start() -> Result<(Container<GenericImage>, String), String> {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
    let port = free.map_err(|e| e.to_string())?.port();
    let listeners = format!("PLAINTEXT://0.0.0.0:{port},CONTROLLER://127.0.0.1:9093");
    let mut image = GenericImage::new("apache/kafka", VERSION.trim())
        .with_wait_for(WaitFor::message_on_stdout("Kafka Server started"))
        .with_mapped_port(port, port.tcp())
        .with_env_var("KAFKA_LISTENERS", listeners)
        .with_env_var("KAFKA_ADVERTISED_LISTENERS", format!("PLAINTEXT://127.0.0.1:{port}"));
    for (name, value) in SETTINGS {
        image = image.with_env_var(format!("KAFKA_{name}"), *value);
    }
    // One line: it stands in the message of every row.
    let started = image.start().map_err(|e| e.to_string().replace('\n', " "));
    Ok((started?, format!("127.0.0.1:{port}")))
}

/// Leaves behind a shell that removes the container once this process is gone.
fn remove_at_the_end(container: &str) {
    let watch = r#"while kill -0 "$1" 2>/dev/null; do sleep 1; done; docker rm -fv "$2""#;
    let mut shell = Command::new("sh");
    shell.args(["-c", watch, "sh", &std::process::id().to_string(), container]);
    let null = Stdio::null;
    if let Err(error) = shell.stdin(null()).stdout(null()).stderr(null()).spawn() {
        let line = format!("container {container} stays behind: {error}\n");
        drop(std::io::stderr().write_all(line.as_bytes()));
    }
}
