//! Plays faults on real processes: `scripts/torture --minutes M --seed S`.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use system_tests::torture::{self, Plan};

/// Real processors on a real Kafka of their own under random faults: kill -9, frozen processes, empty
/// disks, a broker killed, frozen or away, a bad network, failing fetches, late ends of transactions,
/// joins and leaves (with odd seeds), strangers in the group, offsets that others set. At the end the
/// account is taken, `bps verify` run, and a topic made anew. Exits with 1 at any violation, and keeps
/// the logs then.
#[derive(Parser)]
#[command(name = "torture")]
struct Flags {
    /// For how long faults are played
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Which
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Twice, while a processor restores, nothing can be read for so long (seconds) [default: 90 in a
    /// run of 10 minutes or more, else never]
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
    let usual = Plan::new(time, seed);
    let plan = Plan { outage: outage.map(Duration::from_secs).or(usual.outage), ..usual };
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
