//! The main function of a service that is an [`Intake`]: settings, signals, Kafka, HTTP.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, CommandFactory, FromArgMatches, Parser};
use serde::Serialize;

use crate::exit;
use crate::intake::{Inbox, InboxConfig, Intake};
use crate::logging;
use crate::server;
use crate::settings::{self, CommonFlags, CommonSettings, SettingsError, SettingsFile};
use crate::signals::Shutdown;

#[derive(Parser)]
#[command(version)]
struct Flags {
    #[command(flatten)]
    listen: ListenFlag,
    #[command(flatten)]
    common: CommonFlags,
}

#[derive(Args)]
struct ListenFlag {
    /// Where to listen; port 0 is any free one
    #[arg(long, env = "BPS_LISTEN", value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
}

#[derive(Serialize)]
struct Settings {
    listen: SocketAddr,
    #[serde(flatten)]
    common: CommonSettings,
}

impl CommonSettings {
    /// What an [`Inbox`] needs of them.
    pub fn inbox(&self) -> InboxConfig {
        InboxConfig {
            topics: self.topics(),
            partitions: self.partitions,
            future_max: self.future_max,
        }
    }
}

/// Runs a service on Kafka until a signal ends it. `listen` is where it listens by default.
pub fn main(intake: Arc<dyn Intake>, about: &'static str, listen: SocketAddr) -> ExitCode {
    let name = intake.name();
    let command = Flags::command().name(name).about(about);
    let matches = command.try_get_matches();
    let flags = match matches.and_then(|matches| Flags::from_arg_matches(&matches)) {
        Ok(flags) => flags,
        Err(error) => return exit::usage(name, &error),
    };
    let print = flags.common.print_config;
    let settings = match resolve(flags, listen) {
        Ok(settings) => settings,
        Err(error) => return exit::with(exit::USAGE, name, error),
    };
    if print {
        return exit::printed(name, settings::print(&settings));
    }
    let required = settings.common.required_kafka().map(|_| ());
    if let Err(error) = required.and_then(|()| logging::start(&settings.common.log)) {
        return exit::with(exit::USAGE, name, error);
    }
    match run(intake, &settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::with(exit::FAILED, name, error),
    }
}

fn resolve(flags: Flags, listen: SocketAddr) -> Result<Settings, SettingsError> {
    let mut file: SettingsFile = flags.common.file()?;
    let listen = file.or("listen", flags.listen.listen)?.unwrap_or(listen);
    let settings = Settings { listen, common: flags.common.resolve(&mut file)? };
    file.finish()?;
    Ok(settings)
}

/// Whatever ends a service: it is only told.
type AnyError = Box<dyn std::error::Error + Send + Sync>;

fn run(intake: Arc<dyn Intake>, settings: &Settings) -> Result<(), AnyError> {
    let shutdown = Shutdown::on_signals()?;
    let broker = Arc::new(settings.common.required_kafka()?.broker()?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        let listener = server::listen(settings.listen).await?;
        let name = intake.name();
        exit::say(format_args!("{name} http://{}", listener.local_addr()?));
        let inbox = Inbox::start(broker, intake, &settings.common.inbox(), &shutdown)?;
        server::serve(listener, inbox.router(), shutdown.clone()).await?;
        Ok(())
    });
    // A question to a broker that is away must not hold up the end.
    runtime.shutdown_background();
    served
}
