//! The real year as a backlog on the embedded log, in one process without Kafka: what two workers
//! gain over one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bps_service::exit::AnyError;
use bps_streams::broker::embedded::EmbeddedBroker;
use bps_streams::{Application, ApplicationConfig};
use purchase_processor::{Settings, topology};
use serde::{Deserialize, Serialize};

use crate::measured::Spread;
use crate::workload::Workload;
use crate::{say, topics};

const PARTITIONS: u32 = 4;
const PATIENCE: Duration = Duration::from_secs(300);

/// Records of the inputs decided a second.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Result {
    /// Threads.
    pub(crate) workers: u32,
    /// The rate.
    pub(crate) records_per_s: Spread,
}

/// Measures one worker and two in turn, several times, each on a log of its own: one that others have
/// used has merges left to do.
///
/// # Errors
/// A run that fails, or whose results are not what they must be.
pub(crate) fn run(runs: usize) -> std::result::Result<Vec<Result>, AnyError> {
    let mut took = [(1, Vec::new()), (2, Vec::new())];
    for round in 1..=runs {
        for (workers, took) in &mut took {
            let folder = tempfile::Builder::new().prefix("bps-bench-").tempdir()?;
            let broker = Arc::new(EmbeddedBroker::open(&folder.path().join("log"))?);
            let mut expected = topics::fill(&*broker, "year", Workload::Year, PARTITIONS)?;
            let settings = Settings::new("year", "run");
            let mut config = ApplicationConfig::new(folder.path().join("state"));
            (config.workers, config.partitions) = (*workers, PARTITIONS);
            let rate = once(broker.clone(), &settings, config, expected.records)?;
            say(format_args!("{round}/{runs} embedded, {workers} workers: {rate:.0} records/s"));
            topics::check(&*broker, &settings, PARTITIONS, &mut expected)?;
            took.push(rate);
        }
    }
    let result = |(workers, took)| Result { workers, records_per_s: Spread::of(took) };
    Ok(took.into_iter().map(result).collect())
}

/// Records a second, between the first that were seen decided and the last.
fn once(
    broker: Arc<EmbeddedBroker>,
    settings: &Settings,
    config: ApplicationConfig,
    records: u64,
) -> std::result::Result<f64, AnyError> {
    let application = Application::start(broker, topology(settings)?, config)?;
    let deadline = Instant::now() + PATIENCE;
    let mut first = None;
    loop {
        let workers = application.status().workers;
        let (now, decided) = (Instant::now(), workers.values().map(|w| w.processed).sum::<u64>());
        if decided > 0 {
            let (begun, before) = *first.get_or_insert((now, decided));
            if decided >= records {
                application.stop()?;
                return Ok((decided - before) as f64 / (now - begun).as_secs_f64());
            }
        }
        if application.is_finished() || now > deadline {
            application.stop()?;
            return Err(format!("it has ended, or takes too long: {decided} of {records}").into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
