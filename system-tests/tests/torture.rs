//! All faults at random on real processes and a real Kafka: 90 s of it in every run; in a long one its
//! share of the time, with a long outage if there is time for it. `scripts/torture` does the same for
//! as long as wanted.
#![allow(missing_docs, clippy::unwrap_used)]

use std::time::Duration;

use system_tests::budget::{self, LongRun};
use system_tests::processes::tell;
use system_tests::torture::{Plan, run};

/// In every run.
const SHORT: Duration = Duration::from_secs(90);
/// Longer than sessions and transactions may be.
const OUTAGE: Duration = Duration::from_secs(70);

#[test]
fn under_all_faults_at_random_nothing_is_lost_or_doubled() {
    let plan = match budget::time(LongRun::Torture) {
        None => Plan { time: SHORT, seed: 1, outage: None },
        Some(more) => {
            let outage = (more >= 2 * OUTAGE).then_some(OUTAGE);
            Plan { time: SHORT + more, seed: 2, outage }
        }
    };
    if let Some(report) = run("torture", plan, &|text| tell(text)) {
        tell(format_args!("torture: {report}"));
    }
}
