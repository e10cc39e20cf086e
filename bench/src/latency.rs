//! How long a purchase takes from its creation to a result that readers of committed records see.

use std::time::Duration;

use bps_service::exit::AnyError;
use serde::{Deserialize, Serialize};

use crate::contender::Contender;
use crate::kafka_installation::KafkaInstallation;
use crate::measured::{Spread, percentile};
use crate::open_loop::OpenLoop;
use crate::say;
use crate::workload::Workload;

/// Purchases before this do not count: the virtual machine of the other one compiles meanwhile.
const WARM_UP: Duration = Duration::from_secs(10);
const MEASURED: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(60);

/// Latencies in ms.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Result {
    /// Who decided.
    pub(crate) who: Contender,
    /// Purchases a second.
    pub(crate) rate: u64,
    /// Half are faster.
    pub(crate) p50: Spread,
    /// One in ten is slower.
    pub(crate) p90: Spread,
    /// One in a hundred.
    pub(crate) p99: Spread,
    /// One in a thousand.
    pub(crate) p999: Spread,
}

/// Measures each contender at each rate, several times.
///
/// # Errors
/// A purchase that gets no result, or not the one that it must have.
pub(crate) fn run(
    kafka: &mut KafkaInstallation,
    who: &[Contender],
    rates: &[u64],
    runs: usize,
) -> std::result::Result<Vec<Result>, AnyError> {
    let mut results = Vec::new();
    for rate in rates {
        for who in who {
            let mut took = Vec::new();
            for round in 1..=runs {
                let one = once(kafka, *who, *rate)
                    .map_err(|e| format!("{} at {rate} a second: {e}", who.title()))?;
                say(format_args!(
                    "{round}/{runs} {:<26} {rate:>5} a second: p50 {:.1} p90 {:.1} p99 {:.1} \
                     p99.9 {:.1} ms",
                    who.title(),
                    one[0],
                    one[1],
                    one[2],
                    one[3],
                ));
                took.push(one);
            }
            let spread = |n: usize| Spread::of(took.iter().map(|one| one[n]).collect());
            let (p50, p90, p99, p999) = (spread(0), spread(1), spread(2), spread(3));
            results.push(Result { who: *who, rate: *rate, p50, p90, p99, p999 });
        }
    }
    Ok(results)
}

fn once(
    kafka: &mut KafkaInstallation,
    who: Contender,
    rate: u64,
) -> std::result::Result<[f64; 4], AnyError> {
    let input = kafka.fresh("live");
    let items = kafka.fill(&input, Workload::Shelf, 4)?.items();
    let entry = kafka.enter(who, &input, 2, 4)?;
    let mut running = kafka.start(&entry);
    kafka.wait_decided(&entry, &mut running, PATIENCE)?;
    let open_loop = OpenLoop::begin(kafka, &entry, &items, rate)?;
    let (from, to) = (open_loop.after(WARM_UP), open_loop.after(WARM_UP + MEASURED));
    let mut latencies = vec![None; (to - from) as usize];
    let mut open = latencies.len();
    while open > 0 {
        running.must_run();
        let arrival = open_loop.next(PATIENCE)?;
        if !(from..to).contains(&arrival.number) {
            continue;
        }
        let took = arrival.at.saturating_duration_since(open_loop.due(arrival.number));
        let place = &mut latencies[(arrival.number - from) as usize];
        if place.replace(took.as_secs_f64() * 1_000.0).is_some() {
            return Err(format!("purchase {} has a second result", arrival.number).into());
        }
        open -= 1;
    }
    kafka.conclude(&entry, running, &open_loop.end()?, PATIENCE)?;
    let mut latencies: Vec<f64> = latencies.into_iter().flatten().collect();
    latencies.sort_by(f64::total_cmp);
    Ok([0.5, 0.9, 0.99, 0.999].map(|part| percentile(&latencies, part)))
}
