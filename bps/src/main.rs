//! `bps`: the operator's command. This file parses and dispatches; each command has its own.
//!
//! It decides nothing about purchases: `up` starts the services, the rest looks at topics, sends
//! files, or moves local state aside. Reading order: [`exit`] and [`error`] (how a command ends),
//! [`log`] (which log it looks at), [`selection`] (which topologies), then any command.

mod acl;
mod bar;
mod error;
mod exit;
mod import;
mod interrupt;
mod log;
mod manual;
mod out;
mod page;
mod replay;
mod reset;
mod selection;
mod tail;
mod topics;
mod topology;
mod up;
mod verify;

use std::process::ExitCode;

use bps_service::settings::LogSettings;
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
  bps verify
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
    Acl(acl::AclArgs),
    Verify(verify::VerifyArgs),
    Replay(replay::ReplayArgs),
    Reset(reset::ResetArgs),
    Manual(manual::ManualArgs),
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
    match cli.command {
        // It has settings, logs and exit codes of a service.
        Command::Up(args) => up::run(*args),
        Command::Import(args) => speak(|| import::run(&args)),
        Command::Tail(args) => speak(|| tail::run(&args)),
        Command::Topics(args) => speak(|| topics::run(&args)),
        Command::Topology(args) => speak(|| topology::run(&args)),
        Command::Acl(args) => speak(|| acl::run(&args)),
        Command::Verify(args) => speak(|| verify::run(&args)),
        Command::Replay(args) => speak(|| replay::run(&args)),
        Command::Reset(args) => speak(|| reset::run(&args)),
        Command::Manual(args) => speak(|| manual::run(&args)),
    }
}

/// Runs a command and says how it ended.
fn speak(command: impl FnOnce() -> Result<Outcome, Error>) -> ExitCode {
    match start_logging().and_then(|()| command()) {
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
    drop(bps_service::logging::start(&LogSettings::of_level("warn"), "bps")?);
    Ok(())
}
