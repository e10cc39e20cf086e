//! The simulator: the real engine and the real rule on a simulated cluster, in one thread, in
//! virtual time, everything from one seed; then the checker. The same seed is the same run.
//!
//! Reading order: [`random`], [`chaos`] (what goes wrong with an effect), [`workload`] (who writes
//! the inputs), [`cluster_run`] (processes) and `trouble` (what goes wrong with them), `audit` (the
//! verdict), this file (a run from its beginning to its verdict), [`campaign`] (many runs),
//! [`script`] (a crash at every step), [`register`], [`relay`] and [`reminders`] (other topologies:
//! whose rows come and go, which talks to itself, whose rows fall due).

mod audit;
pub mod campaign;
pub mod chaos;
pub mod cluster_run;
pub mod random;
pub mod register;
pub mod relay;
pub mod reminders;
pub mod script;
mod trouble;
pub mod workload;

use std::sync::Arc;

use bps_streams::broker::Broker;
use bps_streams::simulation::Cluster;
use bps_streams::worker::WorkerConfig;
use bps_streams::{Topology, prepare_topics};
use purchase_processor::Settings;

use self::chaos::{Chaos, Weather};
use self::cluster_run::ClusterRun;
use self::random::Random;
use self::workload::Workload;

/// Partitions of every topic.
pub const PARTITIONS: u32 = 3;
/// The process of those who write the inputs, and of the checker.
pub const OUTSIDE: u32 = 1_000;
/// When it begins (ms since 1970): in 2026.
pub(crate) const BEGIN_MS: i64 = 1_780_000_000_000;
/// What may wait in a queue (bytes): a few records, or enough to look through.
const QUEUE_BYTES: [usize; 2] = [600, 6_000];
/// Once healed, everything must be decided within this virtual time (ms).
const LIVENESS_MS: u64 = 120_000;

/// What is to be simulated.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// Decides everything.
    pub seed: u64,
    /// Steps before everything is healed; a shorter run of the same seed begins in the same way.
    pub steps: u32,
    /// Changes how workers are set: for engines that are wrong on purpose.
    pub configure: fn(&mut WorkerConfig),
    /// Whether lines of what happened are kept.
    pub keep_trace: bool,
    /// How far the clocks of processes may be off (ms), each by its own.
    pub clocks_differ_ms: u64,
    /// What is played.
    pub play: fn(&Scenario) -> Outcome,
}

impl Scenario {
    /// The scenario of a seed, as long as the seed says: the product's.
    pub fn new(seed: u64) -> Scenario {
        let steps = 200 + Random::new(!seed).below(2_800) as u32;
        Scenario {
            seed,
            steps,
            configure: |_| (),
            keep_trace: false,
            clocks_differ_ms: 0,
            play: workload,
        }
    }
}

/// Who writes the inputs of a run, and knows what must have come of them.
pub trait Inputs {
    /// Goes on through another broker.
    fn reconnect(&mut self, broker: Arc<dyn Broker>);
    /// Sends something: new, or what was not acknowledged.
    fn act(&mut self, random: &mut Random, wall_ms: i64);
    /// Sends what was not acknowledged; whether all is by now.
    fn settle(&mut self) -> bool;
    /// What is wrong in the end, if anything.
    ///
    /// # Errors
    /// The violation.
    fn judge(&self, cluster_run: &mut ClusterRun, broker: &dyn Broker) -> Result<(), String>;
}

/// How a run went.
#[derive(Debug)]
pub struct Outcome {
    /// What is wrong, if anything.
    pub violation: Option<String>,
    /// The same for the same run.
    pub trace_hash: u64,
    /// Faults met.
    pub faults: u64,
    /// Transactions committed by workers that lived to tell.
    pub commits: u64,
    /// Lines, if they were asked for.
    pub trace: Vec<String>,
}

/// Runs a scenario.
pub fn simulate(scenario: &Scenario) -> Outcome {
    (scenario.play)(scenario)
}

/// The product, with sellers and buyers.
fn workload(scenario: &Scenario) -> Outcome {
    let settings = Settings::default();
    let topology = purchase_processor::topology(&settings).unwrap();
    let workload =
        |broker| Workload::new(broker, settings.topics.clone(), PARTITIONS, scenario.seed);
    run(scenario, topology, workload)
}

fn run<I: Inputs>(
    scenario: &Scenario,
    topology: Topology,
    inputs: impl FnOnce(Arc<dyn Broker>) -> I,
) -> Outcome {
    let Scenario { seed, steps, configure, keep_trace, .. } = *scenario;
    let weather = Weather::default();
    weather.set_healed(true);
    let cluster = Cluster::new(Chaos::new(seed, weather.clone()));
    if keep_trace {
        cluster.keep_trace();
    }
    let mut random = Random::new(seed ^ 0x5eed);
    let queue_bytes = QUEUE_BYTES[(seed % 2) as usize];
    let mut cluster_run =
        ClusterRun::of(cluster.clone(), topology, BEGIN_MS, PARTITIONS, queue_bytes, configure);
    cluster_run.clocks_differ_ms = scenario.clocks_differ_ms;
    let (outside, _) = cluster.boot(OUTSIDE);
    prepare_topics(&*outside, cluster_run.topology(), PARTITIONS).unwrap();
    let mut inputs = inputs(outside.clone());
    weather.set_healed(false);
    for _ in 0..steps {
        if cluster_run.violation().is_some() {
            break;
        }
        match random.below(100) {
            0..=11 => inputs.act(&mut random, cluster_run.now().wall_ms),
            12..=13 => cluster_run.trouble(&mut random),
            _ => cluster_run.step(&mut random),
        }
        // Those outside are not what is tested: they come back at once.
        if cluster.is_dead(OUTSIDE) {
            let (broker, _) = cluster.boot(OUTSIDE);
            inputs.reconnect(broker);
        }
    }
    weather.set_healed(true);
    let violation = match cluster_run.violation() {
        Some(violation) => Some(violation),
        None => finish(&cluster, &mut cluster_run, &mut inputs).err(),
    };
    Outcome {
        violation,
        trace_hash: cluster.trace_hash(),
        faults: weather.faults(),
        commits: cluster_run.commits(),
        trace: cluster.trace(),
    }
}

/// Heals everything and judges what came of it.
fn finish(
    cluster: &Cluster,
    cluster_run: &mut ClusterRun,
    inputs: &mut impl Inputs,
) -> Result<(), String> {
    let (outside, _) = cluster.boot(OUTSIDE);
    inputs.reconnect(outside.clone());
    cluster_run.heal();
    let deadline_ms = cluster_run.now().monotonic_ms + LIVENESS_MS;
    loop {
        let sent = inputs.settle();
        cluster_run.rounds(20);
        if let Some(violation) = cluster_run.violation() {
            return Err(violation);
        }
        if sent && cluster_run.is_settled(&*outside) {
            break;
        }
        if cluster_run.now().monotonic_ms > deadline_ms {
            return Err(format!("not settled {LIVENESS_MS} ms after all was healed"));
        }
    }
    inputs.judge(cluster_run, &*outside)
}
