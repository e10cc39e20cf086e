//! A program that runs topologies on Kafka, until a signal ends it.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use bps_streams::broker::Broker;
use clap::{Args, CommandFactory, FromArgMatches, Parser};
use serde::Serialize;

use super::{ApplicationFlags, ApplicationSettings, Topologies, run, trouble, watch};
use crate::exit::AnyError;
use crate::health::Probe;
use crate::logging::Spans;
use crate::metrics::Metrics;
use crate::settings::{
    self, CommonFlags, CommonSettings, ListenFlags, ListenSettings, SettingsError, SettingsFile,
};
use crate::{Shutdown, exit, logging};

/// What a program that runs topologies is.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Its name.
    pub name: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
}

/// Flags that a program has for its rules.
pub trait Rules: Args {
    /// What they come to, as it is printed.
    type Settings: Serialize;
    /// What topologies are made from.
    type Rule: 'static;

    /// Completes them from the file and the defaults.
    ///
    /// # Errors
    /// The first setting that cannot be.
    fn resolve(self, file: &mut SettingsFile) -> Result<Self::Settings, SettingsError>;

    /// What decisions depend on.
    fn rule(settings: &Self::Settings, common: &CommonSettings) -> Self::Rule;
}

#[derive(Parser)]
#[command(version)]
struct Flags<R: Rules> {
    /// Where to answer /livez, /readyz and /metrics; port 0 is any free one [default: nowhere]
    #[arg(long, env = "BPS_LISTEN", value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    #[command(flatten)]
    access: ListenFlags,
    #[command(flatten)]
    applications: ApplicationFlags,
    #[command(flatten)]
    rules: R,
    #[command(flatten)]
    common: CommonFlags,
}

#[derive(Serialize)]
struct Settings<S> {
    #[serde(skip_serializing_if = "Option::is_none")]
    listen: Option<SocketAddr>,
    #[serde(flatten)]
    access: ListenSettings,
    #[serde(flatten)]
    applications: ApplicationSettings,
    #[serde(flatten)]
    rules: S,
    #[serde(flatten)]
    common: CommonSettings,
}

/// Its command line.
pub fn command<R: Rules>(about: &About) -> clap::Command {
    Flags::<R>::command().name(about.name).about(about.about)
}

/// Runs it until a signal ends it, or one of its topologies fails.
pub fn main<R: Rules>(about: &About, topologies: &Topologies<R::Rule>) -> ExitCode {
    let name = about.name;
    let matches = command::<R>(about).try_get_matches();
    let flags = match matches.and_then(|matches| Flags::<R>::from_arg_matches(&matches)) {
        Ok(flags) => flags,
        Err(error) => return exit::usage(name, &error),
    };
    let print = flags.common.print_config;
    let settings = match resolve(flags, topologies) {
        Ok(settings) => settings,
        Err(error) => return exit::with(exit::USAGE, name, error),
    };
    if print {
        return exit::printed(name, settings::print(&settings));
    }
    let kafka = settings.common.required_kafka().and_then(|kafka| kafka.broker());
    let started = logging::start(&settings.common.log, name).and_then(|spans| Ok((spans, kafka?)));
    let (spans, broker) = match started {
        Ok(started) => started,
        Err(error) => return exit::with(exit::USAGE, name, error),
    };
    exit::ended(name, decide::<R>(name, Arc::new(broker), topologies, &settings, spans))
}

fn decide<R: Rules>(
    name: &'static str,
    broker: Arc<dyn Broker>,
    topologies: &Topologies<R::Rule>,
    settings: &Settings<R::Settings>,
    _spans: Spans,
) -> Result<(), AnyError> {
    let Settings { listen, access, applications, rules, common } = settings;
    let shutdown = Shutdown::on_signals()?;
    let numbers = Arc::<Metrics>::default();
    let mut probe = Ok(None);
    let running = applications.applications(topologies, &R::rule(rules, common), common)?;
    let observed = |watched: &[_]| {
        watch(&numbers, watched);
        let trouble = trouble(watched, access.ready_lag_max);
        let start =
            |address| Probe::start(name, address, access, trouble, numbers.clone(), &shutdown);
        probe = listen.map(start).transpose();
        if probe.is_err() {
            // Whoever watches it would take it for dead.
            shutdown.request();
        }
    };
    let ready = || exit::say(format_args!("{name} ready"));
    let ended = run(&broker, running, applications.leave, &shutdown, observed, ready);
    probe?;
    Ok(ended?)
}

fn resolve<R: Rules>(
    flags: Flags<R>,
    topologies: &Topologies<R::Rule>,
) -> Result<Settings<R::Settings>, SettingsError> {
    let mut file = flags.common.file()?;
    let listen = file.or("listen", flags.listen)?;
    let addresses: Vec<SocketAddr> = listen.into_iter().collect();
    let settings = Settings {
        listen,
        access: flags.access.resolve(&mut file, &addresses)?,
        applications: flags.applications.resolve(&mut file, "./state".into(), topologies)?,
        rules: flags.rules.resolve(&mut file)?,
        common: flags.common.resolve(&mut file)?,
    };
    file.finish()?;
    Ok(settings)
}
