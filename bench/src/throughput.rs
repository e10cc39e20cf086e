//! How fast a backlog is decided, and what it takes.

use std::time::{Duration, Instant};

use bps_service::exit::AnyError;
use serde::{Deserialize, Serialize};

use crate::contender::Contender;
use crate::kafka_installation::KafkaInstallation;
use crate::measured::{Spread, cpu, memory_peak_kib};
use crate::say;
use crate::workload::Workload;

/// A run that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(1_200);

/// Who decides what, with how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Heat {
    /// Who.
    pub(crate) who: Contender,
    /// What.
    pub(crate) workload: Workload,
    /// Threads.
    pub(crate) workers: u32,
    /// Partitions of each topic.
    pub(crate) partitions: u32,
}

/// What one run took. Rate and processor time are those between the first commit that was seen and
/// the last, so that nobody pays for its start.
#[derive(Clone, Copy, Debug)]
struct Took {
    records_per_s: f64,
    cpu_us: f64,
    broker_cpu_us: f64,
    memory_mib: f64,
    seconds_with_start: f64,
}

/// What the runs of a heat took.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Result {
    /// Of whom.
    pub(crate) heat: Heat,
    /// Runs.
    pub(crate) runs: usize,
    /// Records of the inputs decided a second.
    pub(crate) records_per_s: Spread,
    /// Processor time of the whole process for each record, in us.
    pub(crate) cpu_us: Spread,
    /// Processor time of the broker for each record, in us.
    pub(crate) broker_cpu_us: Spread,
    /// The most memory it held, in MiB.
    pub(crate) memory_mib: Spread,
    /// From the start of the process to the last commit, in s.
    pub(crate) seconds_with_start: Spread,
}

impl Result {
    /// Two workers on four partitions, as all contenders have.
    pub(crate) fn is_standard(&self) -> bool {
        (self.heat.workers, self.heat.partitions) == (2, 4)
    }
}

/// Runs all heats of a workload in turn, and that several times: what changes on the machine
/// meanwhile, changes for all.
///
/// # Errors
/// A run that fails, or whose results are not what they must be.
pub(crate) fn run(
    kafka: &mut KafkaInstallation,
    heats: &[Heat],
    runs: usize,
) -> std::result::Result<Vec<Result>, AnyError> {
    let mut took = vec![Vec::new(); heats.len()];
    for heat in heats {
        let input = kafka.input(heat.workload, heat.partitions);
        if kafka.records(&input) == 0 {
            kafka.fill(&input, heat.workload, heat.partitions)?;
            // The broker is slow right after it was filled, and its virtual machine compiles for
            // half a minute after its start, for clients of either kind; whoever came first would
            // pay for it.
            use Contender::{Floor, KafkaStreamsForgetful, Ours};
            let warm_up: &[Contender] = match kafka.is_warm {
                true => &[Floor],
                false => &[Floor, KafkaStreamsForgetful, Ours, Ours, Ours],
            };
            for who in warm_up {
                once(kafka, Heat { who: *who, ..*heat })?;
            }
            kafka.is_warm = true;
        }
    }
    for round in 1..=runs {
        // Each time another one begins: whoever follows meets what the broker still has to tidy up.
        for turn in 0..heats.len() {
            let turn = (turn + round - 1) % heats.len();
            let (heat, took) = (&heats[turn], &mut took[turn]);
            let one = once(kafka, *heat)
                .map_err(|e| format!("{} on {}: {e}", heat.who.title(), heat.workload.title()))?;
            say(format_args!(
                "{round}/{runs} {:<26} {:<20} {:>2} workers {:>2} partitions: {:>7.0} records/s, \
                 {:>5.2} us, broker {:>5.2} us, {:>5.0} MiB; {:.1} s with the start",
                heat.who.title(),
                heat.workload.title(),
                heat.workers,
                heat.partitions,
                one.records_per_s,
                one.cpu_us,
                one.broker_cpu_us,
                one.memory_mib,
                one.seconds_with_start,
            ));
            took.push(one);
        }
    }
    Ok(heats.iter().zip(took).map(|(heat, took)| result(*heat, &took)).collect())
}

fn result(heat: Heat, took: &[Took]) -> Result {
    let spread = |of: fn(&Took) -> f64| Spread::of(took.iter().map(of).collect());
    Result {
        heat,
        runs: took.len(),
        records_per_s: spread(|t| t.records_per_s),
        cpu_us: spread(|t| t.cpu_us),
        broker_cpu_us: spread(|t| t.broker_cpu_us),
        memory_mib: spread(|t| t.memory_mib),
        seconds_with_start: spread(|t| t.seconds_with_start),
    }
}

fn once(kafka: &mut KafkaInstallation, heat: Heat) -> std::result::Result<Took, AnyError> {
    let input = kafka.input(heat.workload, heat.partitions);
    let entry = kafka.enter(heat.who, &input, heat.workers, heat.partitions)?;
    let started = Instant::now();
    let mut process = kafka.start(&entry);
    let broker_cpu = || kafka.broker_pid.map_or(Ok(Duration::ZERO), cpu);
    let pid = process.pid();
    let (mut first, mut last) = (None, None);
    kafka.watch(&entry, &mut process, PATIENCE, |decided| {
        last = Some((Instant::now(), decided, cpu(pid)?, broker_cpu()?));
        if first.is_none() && decided > 0 {
            first = last;
        }
        Ok(())
    })?;
    let memory_mib = memory_peak_kib(pid)? as f64 / 1024.0;
    KafkaInstallation::stop(process);
    kafka.check(&entry)?;
    kafka.clear(&entry)?;
    let (first, last) = first.zip(last).ok_or("nothing was decided")?;
    let decided = (last.1 - first.1) as f64;
    let each = |to: Duration, from: Duration| (to - from).as_secs_f64() * 1e6 / decided;
    Ok(Took {
        records_per_s: decided / (last.0 - first.0).as_secs_f64(),
        cpu_us: each(last.2, first.2),
        broker_cpu_us: each(last.3, first.3),
        memory_mib,
        seconds_with_start: (last.0 - started).as_secs_f64(),
    })
}
