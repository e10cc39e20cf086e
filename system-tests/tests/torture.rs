//! All faults at random on real processes and a real Kafka: 90 s of it in every run, ten minutes
//! and a long outage with `BPS_LONG`. `scripts/torture` does the same for as long as wanted.
#![allow(missing_docs, clippy::unwrap_used)]

use std::time::Duration;

use system_tests::processes::{is_long, tell};
use system_tests::torture::{Plan, run};

#[test]
fn under_all_faults_at_random_nothing_is_lost_or_doubled() {
    let seconds = |s| Duration::from_secs(s);
    let plan = match is_long() {
        true => Plan { time: seconds(600), seed: 2, outage: Some(seconds(70)) },
        false => Plan { time: seconds(90), seed: 1, outage: None },
    };
    if let Some(report) = run("torture", plan, &|text| tell(text)) {
        tell(format_args!("torture: {report}"));
    }
}
