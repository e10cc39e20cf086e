//! What follows a kill -9, and an empty disk: one million items are known, 500 purchases a second
//! come in meanwhile.

use std::time::{Duration, Instant};

use bps_service::exit::AnyError;
use serde::{Deserialize, Serialize};
use system_tests::processes::Process;

use crate::contender::Contender;
use crate::kafka_installation::KafkaInstallation;
use crate::measured::Spread;
use crate::open_loop::OpenLoop;
use crate::say;
use crate::workload::Workload;

const PARTITIONS: u32 = 4;
const WORKERS: u32 = 2;
const RATE: u64 = 500;
/// Between a start and the next kill.
const CALM: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(600);

/// Times in s, until every partition has brought a committed result of a purchase that was sent
/// after the kill, or the start.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Result {
    /// Who decided.
    pub(crate) who: Contender,
    /// kill -9, started again at once: until the first committed result.
    pub(crate) restart_first: Spread,
    /// The same, until all partitions are back.
    pub(crate) restart_all: Spread,
    /// kill -9 of one of two processes: until the other has taken all over.
    pub(crate) takeover: Spread,
    /// Started with an empty folder, until all partitions are back.
    pub(crate) restore: Spread,
    /// Rows restored a second by each thread; only ours tells it.
    pub(crate) rows_per_s: Option<Spread>,
}

/// Measures each contender, several times.
///
/// # Errors
/// When someone does not come back, or a result is not what it must be after all of it.
pub(crate) fn run(
    kafka: &mut KafkaInstallation,
    who: &[Contender],
    runs: usize,
) -> std::result::Result<Vec<Result>, AnyError> {
    let mut results = Vec::new();
    for who in who {
        let one = measure(kafka, *who, runs).map_err(|e| format!("{}: {e}", who.title()))?;
        results.push(one);
    }
    Ok(results)
}

fn measure(
    kafka: &mut KafkaInstallation,
    who: Contender,
    runs: usize,
) -> std::result::Result<Result, AnyError> {
    let input = kafka.fresh("recovery");
    let items = kafka.fill(&input, Workload::Zipf, PARTITIONS)?.items();
    let entry = kafka.enter(who, &input, WORKERS, PARTITIONS)?;
    let mut running = kafka.start(&entry);
    kafka.wait_decided(&entry, &mut running, PATIENCE)?;
    let open_loop = OpenLoop::begin(kafka, &entry, &items, RATE)?;
    let mut restarts = (Vec::new(), Vec::new());
    for round in 1..=runs {
        std::thread::sleep(CALM);
        let killed = Instant::now();
        running.kill();
        running = kafka.start(&entry);
        let (first, all) = back(&open_loop, killed)?;
        tell(who, round, runs, "restarted after kill -9: first result after", first);
        restarts.0.push(first);
        restarts.1.push(all);
    }
    let mut takeovers = Vec::new();
    for round in 1..=runs {
        let second = kafka.beside(&entry)?;
        let other = kafka.start(&second);
        // It restores all that it takes over.
        back(&open_loop, Instant::now() + CALM)?;
        std::thread::sleep(CALM);
        let killed = Instant::now();
        running.kill();
        let (_, all) = back(&open_loop, killed)?;
        tell(who, round, runs, "taken over by another process: all partitions after", all);
        takeovers.push(all);
        KafkaInstallation::stop(other);
        running = kafka.start(&entry);
        back(&open_loop, Instant::now())?;
    }
    let (mut restores, mut rows) = (Vec::new(), Vec::new());
    for round in 1..=runs {
        KafkaInstallation::stop(running);
        std::fs::remove_dir_all(entry.folder.join("state"))?;
        let started = Instant::now();
        running = kafka.start(&entry);
        let (_, all) = back(&open_loop, started)?;
        tell(who, round, runs, "started with an empty disk: all partitions after", all);
        restores.push(all);
        rows.extend(rows_per_s(&running));
    }
    kafka.conclude(&entry, running, &open_loop.end()?, PATIENCE)?;
    Ok(Result {
        who,
        restart_first: Spread::of(restarts.0),
        restart_all: Spread::of(restarts.1),
        takeover: Spread::of(takeovers),
        restore: Spread::of(restores),
        rows_per_s: (!rows.is_empty()).then(|| Spread::of(rows)),
    })
}

fn tell(who: Contender, round: usize, runs: usize, what: &str, seconds: f64) {
    say(format_args!("{round}/{runs} {:<26} {what} {seconds:.2} s", who.title()));
}

/// Seconds until the first partition and all of them have brought a result of a purchase that was
/// sent after `since`.
fn back(open_loop: &OpenLoop, since: Instant) -> std::result::Result<(f64, f64), AnyError> {
    let (first, all) = open_loop.all_back(since, PARTITIONS, PATIENCE)?;
    let after = |at: Instant| at.saturating_duration_since(since).as_secs_f64();
    Ok((after(first), after(all)))
}

/// As its tasks tell, of which those of a thread restore side by side.
fn rows_per_s(process: &Process) -> Option<f64> {
    let tasks = process.tasks();
    let longest = tasks.iter().map(|task| task.ms).max()?;
    let rows = process.restored() as f64;
    (longest > 0).then(|| rows / (longest as f64 / 1_000.0) / f64::from(WORKERS))
}
