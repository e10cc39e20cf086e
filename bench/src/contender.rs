//! Who decides, and how each is started.

use std::path::Path;
use std::process::Command;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use system_tests::processes::{self, Process};

/// Who decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Contender {
    /// `purchase-processor`, as it is.
    Ours,
    /// The same engine and job without transactions.
    OursAtLeastOnce,
    /// Kafka Streams, `exactly_once_v2`.
    KafkaStreams,
    /// Kafka Streams with less to do: it remembers no ids and would decide a resend again.
    KafkaStreamsForgetful,
    /// Kafka Streams that commits each 10 instead of 100 ms: latency only.
    KafkaStreamsPrompt,
    /// librdkafka alone: reads, writes and commits, decides nothing.
    Floor,
}

/// Heap of Kafka Streams: the least with which it is as fast as with Java's default, a quarter of the
/// machine, of which it takes two and a half times as much memory (bench/NOTES.md).
const JAVA_HEAP: &str = "-Xmx1g";

impl Contender {
    /// Those that decide a backlog.
    pub(crate) const RACING: [Self; 5] = [
        Self::Ours,
        Self::OursAtLeastOnce,
        Self::KafkaStreams,
        Self::KafkaStreamsForgetful,
        Self::Floor,
    ];

    /// As it stands in tables.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Ours => "ours, exactly once",
            Self::OursAtLeastOnce => "ours, at least once",
            Self::KafkaStreams => "Kafka Streams",
            Self::KafkaStreamsForgetful => "Kafka Streams, no ids kept",
            Self::KafkaStreamsPrompt => "Kafka Streams, 10 ms",
            Self::Floor => "librdkafka alone",
        }
    }

    /// Whether its results are decisions.
    pub(crate) fn decides(self) -> bool {
        self != Self::Floor
    }

    /// Starts it.
    ///
    /// # Panics
    /// When its program is not there.
    pub(crate) fn start(self, run: &Run<'_>) -> Process {
        let command = match self {
            Self::Ours => ours("purchase-processor", run),
            Self::OursAtLeastOnce => ours("at-least-once", run),
            Self::KafkaStreams => java(run, "ids", "100"),
            Self::KafkaStreamsForgetful => java(run, "nothing", "100"),
            Self::KafkaStreamsPrompt => java(run, "ids", "10"),
            Self::Floor => {
                let mut command = processes::command("floor");
                command.args([run.kafka, &group(run.output), run.input, run.output]);
                command.args([run.workers, run.partitions].map(|n| n.to_string()));
                command
            }
        };
        Process::spawn(run.folder, "contender", command)
    }
}

/// The consumer group that everyone reads in.
pub(crate) fn group(output: &str) -> String {
    format!("{output}-purchase-processor")
}

fn java(run: &Run<'_>, remembers: &str, commit_interval_ms: &str) -> Command {
    let java = std::env::var("JAVA_HOME").map_or("java".to_owned(), |home| home + "/bin/java");
    let mut command = Command::new(java);
    let jars = format!("{0}/job.jar:{0}/jars/*", run.streams_jars.display());
    let log = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn";
    command.args([JAVA_HEAP, log, "-cp", &jars, "bps.Job"]);
    command.args([run.kafka, &group(run.output), run.input, run.output]);
    command.arg(run.folder.join("state"));
    command.args([&run.workers.to_string(), remembers, commit_interval_ms]);
    command
}

fn ours(program: &str, run: &Run<'_>) -> Command {
    let mut command = processes::command(program);
    command.args([
        "--kafka",
        run.kafka,
        "--input-prefix",
        run.input,
        "--output-prefix",
        run.output,
    ]);
    command.args(["--workers", &run.workers.to_string()]);
    command.args(["--partitions", &run.partitions.to_string()]);
    command.arg("--state").arg(run.folder.join("state"));
    command
}

/// Where and on what one decides.
#[derive(Clone, Copy)]
pub(crate) struct Run<'a> {
    /// The cluster.
    pub(crate) kafka: &'a str,
    /// Prefix of the topics that are read.
    pub(crate) input: &'a str,
    /// Prefix of the topics that are written.
    pub(crate) output: &'a str,
    /// Its state, its log.
    pub(crate) folder: &'a Path,
    /// Where the job for Kafka Streams was built.
    pub(crate) streams_jars: &'a Path,
    /// Threads.
    pub(crate) workers: u32,
    /// Partitions of each topic.
    pub(crate) partitions: u32,
}
