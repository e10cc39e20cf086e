//! Plays faults on real processes: `scripts/torture --minutes M --seed S`.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use system_tests::torture::{self, Plan};

/// Real processors on a real Kafka of their own under random faults: kill -9, frozen processes, a
/// broker killed, frozen or away, a bad network, late ends of transactions, joins and leaves. At
/// the end the account is taken, and `bps verify` run. Exits with 1 at any violation, and keeps the
/// logs then.
#[derive(Parser)]
#[command(name = "torture")]
struct Flags {
    /// For how long faults are played
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Which
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// In the middle of it the broker is down for so long (seconds)
    #[arg(long)]
    outage: Option<u64>,
}

fn say(text: &str) {
    // Nobody may listen any more.
    drop(writeln!(std::io::stderr(), "{text}"));
}

fn main() -> ExitCode {
    let Flags { minutes, seed, outage } = Flags::parse();
    let time = Duration::from_secs_f64(minutes * 60.0);
    let plan = Plan { time, seed, outage: outage.map(Duration::from_secs) };
    // A violation panics where it is found.
    match std::panic::catch_unwind(|| torture::run("torture", plan, &|text| say(&text))) {
        Ok(Some(report)) => {
            say(&format!("torture: {report}"));
            ExitCode::SUCCESS
        }
        Ok(None) => ExitCode::SUCCESS,
        Err(_) => {
            say(&format!("torture: seed {seed}: a violation, see above"));
            ExitCode::FAILURE
        }
    }
}
