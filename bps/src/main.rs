//! `bps`: the operator's command. This file parses and dispatches; each command has its own.
//!
//! It decides nothing about purchases: `up` starts the services, the rest looks at topics, sends
//! files, or moves local state aside. Reading order: [`exit`] and [`error`] (how a command ends),
//! [`log`] (which log it looks at), then any command.

mod error;
mod exit;
mod import;
mod interrupt;
mod log;
mod out;
mod reset;
mod tail;
mod topics;
mod topology;
mod up;

use std::process::ExitCode;

use clap::Parser;

use crate::error::Error;
use crate::exit::Outcome;

/// RocksDB and librdkafka keep their own; all that Rust allocates comes from here.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const EXAMPLES: &str = "  \
bps up                                     everything in one process, data in ./data
  bps import --restocks r.jsonl --purchases p.jsonl
  bps tail bps-purchase-finished --from-start
  bps topics list
  bps COMMAND --help                         more examples";

#[derive(Debug, Parser)]
#[command(name = "bps", version, about = "Restocks and purchases, decided exactly once")]
#[command(after_help = exit::help(EXAMPLES), max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Up(Box<up::UpArgs>),
    Import(import::ImportArgs),
    Tail(tail::TailArgs),
    Topics(topics::TopicsArgs),
    Topology(topology::TopologyArgs),
    Reset(reset::ResetArgs),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(message) => {
            // Help goes to standard output and is no error. Colours follow NO_COLOR.
            drop(message.print());
            return ExitCode::from(if message.use_stderr() { exit::USAGE } else { exit::OK });
        }
    };
    let command = match cli.command {
        Command::Up(args) => return up::run(*args),
        other => other,
    };
    let outcome = start_logging().and_then(|()| run(command));
    match outcome {
        Ok(outcome) => ExitCode::from(outcome.code()),
        Err(error) => {
            if !error.is_closed_pipe() {
                out::note(format_args!("bps: {error}"));
            }
            ExitCode::from(error.code())
        }
    }
}

/// The engine's warnings, and nothing that a command says itself.
fn start_logging() -> Result<(), Error> {
    Ok(bps_service::logging::start("warn")?)
}

fn run(command: Command) -> Result<Outcome, Error> {
    match command {
        Command::Up(_) => unreachable!("it runs on its own"),
        Command::Import(args) => import::run(&args),
        Command::Tail(args) => tail::run(&args),
        Command::Topics(args) => topics::run(&args),
        Command::Topology(args) => topology::run(&args),
        Command::Reset(args) => reset::run(&args),
    }
}
