//! A backlog of 20 million purchases: whether memory stays flat, and the last million goes as fast
//! as an early one, the first after all items were restocked.

use std::path::Path;
use std::time::{Duration, Instant};

use bps_service::exit::AnyError;
use serde::{Deserialize, Serialize};

use crate::contender::Contender;
use crate::kafka_installation::KafkaInstallation;
use crate::measured::memory_kib;
use crate::plots;
use crate::say;
use crate::workload::Workload;

const PARTITIONS: u32 = 4;
const WORKERS: u32 = 2;
/// Records whose rate is compared, at both ends.
const PART: u64 = 1_000_000;
const PATIENCE: Duration = Duration::from_secs(1_200);

/// What was seen at one moment.
#[derive(Clone, Copy, Debug)]
struct Seen {
    seconds: f64,
    records: u64,
    memory_mib: f64,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Result {
    /// Records decided.
    pub(crate) records: u64,
    /// Records a second, over all.
    pub(crate) records_per_s: f64,
    /// Over the first million after the first restocks and purchases, and over the last.
    pub(crate) first_and_last: [f64; 2],
    /// The memory held after a tenth of the time, and the most of it after that, in MiB.
    pub(crate) memory_mib: [f64; 2],
}

/// Decides it once, and draws it to `backlog.svg` in a folder.
///
/// # Errors
/// A run that fails, or whose results are not what they must be.
pub(crate) fn run(
    kafka: &mut KafkaInstallation,
    results: Option<&Path>,
) -> std::result::Result<Result, AnyError> {
    let input = kafka.input(Workload::Backlog, PARTITIONS);
    kafka.fill(&input, Workload::Backlog, PARTITIONS)?;
    let entry = kafka.enter(Contender::Ours, &input, WORKERS, PARTITIONS)?;
    let mut process = kafka.start(&entry);
    let (pid, mut seen) = (process.pid(), Vec::new());
    let started = Instant::now();
    kafka.watch(&entry, &mut process, PATIENCE, |records| {
        let memory_mib = memory_kib(pid)? as f64 / 1024.0;
        let seconds = started.elapsed().as_secs_f64();
        if records > 0 {
            seen.push(Seen { seconds, records, memory_mib });
        }
        Ok(())
    })?;
    KafkaInstallation::stop(process);
    kafka.check(&entry)?;
    kafka.clear(&entry)?;
    if let Some(folder) = results {
        draw(&seen, &folder.join("backlog.svg"))?;
    }
    result(&seen).ok_or_else(|| "nothing was seen".into())
}

fn result(seen: &[Seen]) -> Option<Result> {
    let (first, last) = (seen.first()?, seen.last()?);
    let rate =
        |from: &Seen, to: &Seen| (to.records - from.records) as f64 / (to.seconds - from.seconds);
    // The items are restocked first, which is another kind of work.
    let begun = seen.iter().find(|s| s.records >= 2 * PART)?;
    let after = seen.iter().find(|s| s.records >= begun.records + PART)?;
    let before = seen.iter().rfind(|s| s.records + PART <= last.records)?;
    let settled = seen.iter().filter(|s| s.seconds >= last.seconds / 10.0);
    let memory: Vec<f64> = settled.map(|s| s.memory_mib).collect();
    let result = Result {
        records: last.records,
        records_per_s: rate(first, last),
        first_and_last: [rate(begun, after), rate(before, last)],
        memory_mib: [*memory.first()?, memory.iter().copied().fold(0.0, f64::max)],
    };
    let [first, last] = result.first_and_last;
    say(format_args!(
        "{} records, {:.0} a second; an early million {first:.0}, the last {last:.0} a second; \
         {:.0} MiB after a tenth, then at most {:.0}",
        result.records, result.records_per_s, result.memory_mib[0], result.memory_mib[1],
    ));
    Some(result)
}

/// Records decided a second, and memory, over time.
fn draw(seen: &[Seen], file: &Path) -> std::result::Result<(), AnyError> {
    let rates = seen
        .chunk_by(|a, b| a.seconds as u64 / 2 == b.seconds as u64 / 2)
        .filter_map(|chunk| {
            let (a, b) = (chunk.first()?, chunk.last()?);
            let rate = (b.records - a.records) as f64 / (b.seconds - a.seconds);
            rate.is_finite().then_some((a.seconds, rate / 1_000.0))
        })
        .collect();
    let memory = seen.iter().map(|s| (s.seconds, s.memory_mib)).collect();
    plots::lines(file, [("thousand records decided a second", rates), ("memory, MiB", memory)])
}
