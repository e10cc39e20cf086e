//! All faults at random on real processes and a real Kafka: 75 s of it in every run; in a long one its
//! share of the time, with long outages if there is time for them. `scripts/torture` does the same for
//! as long as wanted.
#![allow(missing_docs, clippy::unwrap_used)]

use std::time::Duration;

use system_tests::budget::{self, LongRun};
use system_tests::processes::tell;
use system_tests::torture::{Plan, run};

/// In every run; with what is played once at the end, a minute and a half.
const SHORT: Duration = Duration::from_secs(75);

#[test]
fn under_all_faults_at_random_nothing_is_lost_or_doubled() {
    let plan = match budget::time(LongRun::Torture) {
        None => Plan::new(SHORT, 1),
        Some(more) => Plan::new(SHORT + more, 2),
    };
    if let Some(report) = run("torture", plan, &|text| tell(text)) {
        tell(format_args!("torture: {report}"));
    }
}
