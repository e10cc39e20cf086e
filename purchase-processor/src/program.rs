//! The program `purchase-processor`: decides, on Kafka, until a signal ends it.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use bps_service::exit::AnyError;
use bps_service::health::Probe;
use bps_service::logging::Spans;
use bps_service::metrics::Metrics;
use bps_service::settings::{
    self, CommonFlags, CommonSettings, ListenFlags, ListenSettings, SettingsError,
};
use bps_service::{Shutdown, exit, logging};
use bps_streams::broker::Broker;
use clap::{CommandFactory, Parser};
use serde::Serialize;

use crate::flags::{ProcessorFlags, ProcessorSettings};
use crate::metrics;
use crate::run::run;

const NAME: &str = "purchase-processor";

/// Decides every purchase against what is left of its item
#[derive(Parser)]
#[command(name = NAME, version)]
struct Flags {
    /// Where to answer /livez, /readyz and /metrics; port 0 is any free one [default: nowhere]
    #[arg(long, env = "BPS_LISTEN", value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    #[command(flatten)]
    access: ListenFlags,
    #[command(flatten)]
    processor: ProcessorFlags,
    #[command(flatten)]
    common: CommonFlags,
}

#[derive(Serialize)]
struct Settings {
    #[serde(skip_serializing_if = "Option::is_none")]
    listen: Option<SocketAddr>,
    #[serde(flatten)]
    access: ListenSettings,
    #[serde(flatten)]
    processor: ProcessorSettings,
    #[serde(flatten)]
    common: CommonSettings,
}

/// Its command line.
pub fn command() -> clap::Command {
    Flags::command()
}

/// Runs it until a signal ends it.
pub fn main() -> ExitCode {
    let flags = match Flags::try_parse() {
        Ok(flags) => flags,
        Err(error) => return exit::usage(NAME, &error),
    };
    let print = flags.common.print_config;
    let settings = match resolve(flags) {
        Ok(settings) => settings,
        Err(error) => return exit::with(exit::USAGE, NAME, error),
    };
    if print {
        return exit::printed(NAME, settings::print(&settings));
    }
    let kafka = settings.common.required_kafka().and_then(|kafka| kafka.broker());
    let started = logging::start(&settings.common.log, NAME).and_then(|spans| Ok((spans, kafka?)));
    let (spans, broker) = match started {
        Ok(started) => started,
        Err(error) => return exit::with(exit::USAGE, NAME, error),
    };
    exit::ended(NAME, decide(Arc::new(broker), &settings, spans))
}

fn decide(broker: Arc<dyn Broker>, settings: &Settings, _spans: Spans) -> Result<(), AnyError> {
    let shutdown = Shutdown::on_signals()?;
    let numbers = Arc::<Metrics>::default();
    let mut probe = Ok(None);
    let observed = |observer| {
        metrics::watch(&numbers, &observer);
        let trouble = metrics::trouble(&observer, settings.access.ready_lag_max);
        let start = |address| {
            Probe::start(NAME, address, &settings.access, trouble, numbers.clone(), &shutdown)
        };
        probe = settings.listen.map(start).transpose();
        if probe.is_err() {
            // Whoever watches it would take it for dead.
            shutdown.request();
        }
    };
    let ready = || exit::say(format_args!("{NAME} ready"));
    let ended = run(broker, &settings.common, &settings.processor, &shutdown, observed, ready);
    probe?;
    Ok(ended?)
}

fn resolve(flags: Flags) -> Result<Settings, SettingsError> {
    let mut file = flags.common.file()?;
    let listen = file.or("listen", flags.listen)?;
    let addresses: Vec<SocketAddr> = listen.into_iter().collect();
    let settings = Settings {
        listen,
        access: flags.access.resolve(&mut file, &addresses)?,
        processor: flags.processor.resolve(&mut file, "./state".into())?,
        common: flags.common.resolve(&mut file)?,
    };
    file.finish()?;
    Ok(settings)
}
