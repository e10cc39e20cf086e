//! Runs seeds of the simulator: `scripts/simulate --seeds N [--from S]`.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

use clap::Parser;
use system_tests::simulator::campaign::{self, Tally};
use system_tests::simulator::{Scenario, register, relay, reminders};

/// The real engine and rule on a simulated cluster: every seed is a run with its own faults, run
/// twice and checked. Exits with 1 at the first seed that fails, and shows its shortest run.
#[derive(Parser)]
#[command(name = "simulate")]
struct Flags {
    /// How many seeds
    #[arg(long, default_value_t = 2_000)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// With a topology whose rows come and go, instead of the product's
    #[arg(long)]
    register: bool,
    /// With a topology that talks to itself
    #[arg(long, conflicts_with = "register")]
    relay: bool,
    /// With a topology whose rows fall due
    #[arg(long, conflicts_with_all = ["register", "relay"])]
    reminders: bool,
    /// Lines of the trace shown of a failure (the last ones); 0: all
    #[arg(long, default_value_t = 60)]
    lines: usize,
}

fn say(text: &str) {
    // Nobody may listen any more.
    drop(std::io::stderr().write_all(text.as_bytes()));
}

fn main() -> ExitCode {
    let Flags { seeds, from, register, relay, reminders, lines } = Flags::parse();
    let scenario = match () {
        () if register => register::scenario,
        () if relay => relay::scenario,
        () if reminders => reminders::scenario,
        () => Scenario::new,
    };
    let begin = Instant::now();
    let told = Mutex::new(Instant::now());
    let live = std::io::stderr().is_terminal();
    let progress = |tally: Tally| {
        let Ok(mut told) = told.lock() else { return };
        if told.elapsed().as_secs() < if live { 1 } else { 10 } {
            return;
        }
        *told = Instant::now();
        let per_s = tally.seeds as f64 / begin.elapsed().as_secs_f64();
        say(&format!("{} of {seeds} seeds, {per_s:.0} a second\n", tally.seeds));
    };
    match campaign::run(from..from + seeds, scenario, progress) {
        Ok(Tally { seeds, faults, commits }) => {
            let per_s = seeds as f64 / begin.elapsed().as_secs_f64();
            say(&format!(
                "seeds {from}..{}: no violation; each run twice, {per_s:.0} seeds a second, \
                 {faults} faults, {commits} commits\n",
                from + seeds
            ));
            ExitCode::SUCCESS
        }
        Err(failure) => {
            say(&format!(
                "seed {}: {}\nlooks for its shortest run\n",
                failure.seed, failure.violation
            ));
            let (steps, outcome) = campaign::shortest(&scenario(failure.seed));
            let skipped = match lines {
                0 => 0,
                lines => outcome.trace.len().saturating_sub(lines),
            };
            for line in &outcome.trace[skipped..] {
                say(&format!("{line}\n"));
            }
            let violation = outcome.violation.unwrap_or(failure.violation);
            say(&format!("seed {}, {steps} steps: {violation}\n", failure.seed));
            ExitCode::FAILURE
        }
    }
}
