//! Measures this engine beside Kafka Streams and librdkafka on one Kafka; `scripts/bench` prepares
//! all three and runs it.

mod backlog;
mod contender;
mod due;
mod embedded;
mod expected;
mod http;
mod kafka_installation;
mod latency;
mod measured;
mod open_loop;
mod plots;
mod recovery;
mod report;
mod throughput;
mod topics;
mod workload;

use std::fmt::Display;
use std::path::PathBuf;

use bps_service::exit::AnyError;
use clap::{Parser, ValueEnum};

use crate::contender::Contender;
use crate::kafka_installation::KafkaInstallation;
use crate::report::Report;
use crate::throughput::Heat;
use crate::workload::Workload;

/// As the programs have it: the embedded log is measured in this process.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures this engine beside Kafka Streams and librdkafka
#[derive(Parser)]
struct Flags {
    /// The cluster
    #[arg(long, value_name = "HOST:PORT")]
    kafka: String,
    /// The broker's process, for its processor time
    #[arg(long, value_name = "PID")]
    broker_pid: Option<u32>,
    /// Where the job for Kafka Streams was built
    #[arg(long, value_name = "FOLDER")]
    streams: PathBuf,
    /// Where results are kept [default: nowhere]
    #[arg(long, value_name = "FOLDER")]
    results: Option<PathBuf>,
    /// In minutes: the real year and one rate of latency, once
    #[arg(long)]
    quick: bool,
    /// Only these parts [default: all]
    #[arg(long, value_enum)]
    part: Vec<Part>,
    /// Only these workloads [default: all]
    #[arg(long, value_enum)]
    workload: Vec<Workload>,
    /// Only these contenders [default: all]
    #[arg(long, value_enum)]
    who: Vec<Contender>,
    /// How often each runs
    #[arg(long, default_value_t = 3)]
    runs: usize,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Records a second of a backlog, processor time, memory
    Throughput,
    /// The same by workers and by partitions
    Scaling,
    /// From a purchase to its committed result
    Latency,
    /// After kill -9, and with an empty disk
    Recovery,
    /// Purchases over HTTP that wait for their decision
    Http,
    /// One worker and two on the embedded log
    Embedded,
    /// Rows that fall due: how late, and a million at one moment
    Due,
    /// 20 million purchases: whether memory and speed stay the same
    Backlog,
}

impl Flags {
    fn does(&self, part: Part) -> bool {
        match (self.quick, self.part.as_slice()) {
            (true, []) => matches!(part, Part::Throughput | Part::Latency),
            (false, []) => true,
            (_, parts) => parts.contains(&part),
        }
    }

    fn does_all(&self) -> bool {
        !self.quick && self.part.is_empty() && self.workload.is_empty() && self.who.is_empty()
    }

    fn workloads(&self) -> Vec<Workload> {
        match (self.quick, self.workload.as_slice()) {
            (true, []) => vec![Workload::Year],
            (false, []) => vec![Workload::Year, Workload::Uniform, Workload::Zipf, Workload::Hot],
            (_, workloads) => workloads.to_vec(),
        }
    }

    fn who(&self, all: &[Contender]) -> Vec<Contender> {
        let wanted = |who: &Contender| self.who.is_empty() || self.who.contains(who);
        all.iter().copied().filter(wanted).collect()
    }
}

/// A line for the one who waits.
#[allow(clippy::print_stderr)]
fn say(line: impl Display) {
    eprintln!("{line}");
}

#[allow(clippy::print_stdout)] // the table is what it is run for
fn main() -> Result<(), AnyError> {
    let flags = Flags::parse();
    let runs = if flags.quick { 1 } else { flags.runs };
    let mut installed = KafkaInstallation::new(&flags.kafka, flags.broker_pid, &flags.streams)?;
    let mut report = Report::open(flags.results.as_deref(), flags.does_all())?;
    if flags.does(Part::Throughput) {
        let who = flags.who(&Contender::RACING);
        for workload in flags.workloads() {
            let heat = |who: &Contender| Heat { who: *who, workload, workers: 2, partitions: 4 };
            let heats: Vec<Heat> = who.iter().map(heat).collect();
            report.throughput(throughput::run(&mut installed, &heats, runs)?)?;
        }
    }
    if flags.does(Part::Scaling) {
        let (who, workload) = (Contender::Ours, Workload::Year);
        let heat = |(workers, partitions)| Heat { who, workload, workers, partitions };
        // Two workers on four partitions are among the throughput.
        let heats = [(1, 4), (4, 4), (2, 1), (2, 16), (2, 64)].map(heat);
        report.throughput(throughput::run(&mut installed, &heats, runs)?)?;
    }
    if flags.does(Part::Latency) {
        let rates: &[u64] = if flags.quick { &[2_000] } else { &[500, 2_000, 5_000] };
        let who = [Contender::Ours, Contender::KafkaStreams, Contender::KafkaStreamsPrompt];
        report.latency(latency::run(&mut installed, &flags.who(&who), rates, runs)?)?;
    }
    if flags.does(Part::Recovery) {
        let who = [Contender::Ours, Contender::KafkaStreams];
        report.recovery(recovery::run(&mut installed, &flags.who(&who), runs)?)?;
    }
    if flags.does(Part::Http) {
        report.http(http::run(&flags.kafka, &[200, 500, 1_000], runs)?)?;
    }
    if flags.does(Part::Embedded) {
        report.embedded(embedded::run(runs)?)?;
    }
    if flags.does(Part::Due) {
        report.due(due::run(&flags.kafka, runs)?)?;
    }
    if flags.does(Part::Backlog) {
        report.backlog(backlog::run(&mut installed, flags.results.as_deref())?)?;
    }
    println!("{}", report.table());
    Ok(())
}
