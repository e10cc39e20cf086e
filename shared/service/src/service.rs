//! A service as a whole: its paths, its read side, and its main function on Kafka.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Uri;
use bps_streams::broker::Broker;
use bps_streams::global::{GlobalTable, GlobalTableConfig};
use bps_streams::store::rocks::MemoryBounds;
use clap::{Args, CommandFactory, FromArgMatches, Parser};
use serde::Serialize;
use tokio::net::TcpListener;
use utoipa_axum::router::OpenApiRouter;

use crate::intake::{Inbox, InboxConfig};
use crate::problem::{Kind, Problem};
use crate::settings::{self, CommonFlags, CommonSettings, SettingsError, SettingsFile};
use crate::signals::Shutdown;
use crate::{docs, exit, health, logging, server};

/// What a service is.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Name of its program.
    pub name: &'static str,
    /// Title of its documentation.
    pub title: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
    /// Where it listens, unless set.
    pub listen: SocketAddr,
}

/// What a service is set to.
#[derive(Clone, Debug)]
pub struct ServiceConfig {
    /// What its intake is set to.
    pub inbox: InboxConfig,
    /// Where the rows of its read side lie; one process owns it.
    pub state: PathBuf,
    /// How many requests may wait for decisions.
    pub waiters_max: usize,
}

/// How often the read side is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// Memory of a read side: its rows are small, and most look-ups are of new ones.
const MEMORY: MemoryBounds =
    MemoryBounds { block_cache_bytes: 8 << 20, write_buffer_bytes: 8 << 20 };

impl ServiceConfig {
    /// The read side of these topics. `rows` says how its rows are made, with a version.
    pub fn table(&self, rows: &str, topics: &[String]) -> GlobalTableConfig {
        GlobalTableConfig {
            // Rows of other topics, as of a trial, are others.
            name: format!("{rows}-{}", topics[0]),
            folder: self.state.clone(),
            topics: topics.to_vec(),
            memory: MEMORY,
        }
    }
}

/// A service that runs: it takes what comes as long as this is there.
pub struct Service {
    router: Router,
    table: GlobalTable,
}

impl Service {
    /// Of these paths, and those that every service has.
    pub fn new(about: &About, paths: OpenApiRouter, inbox: Inbox, table: GlobalTable) -> Service {
        let missing = |uri: Uri| async move {
            let path = uri.path().to_owned();
            Problem::new(Kind::NotFound, format!("{path} is no path of this service: see /docs"))
        };
        let method = || async { Problem::new(Kind::MethodNotAllowed, "see /docs") };
        let paths = paths.merge(health::paths(inbox, table.view()));
        let router = docs::serve(about, paths);
        let router = router.fallback(missing).method_not_allowed_fallback(method);
        Service { router, table }
    }

    /// Serves it until `shutdown`, which it asks for when its read side ends: without it, it would
    /// look alive.
    ///
    /// # Errors
    /// When the listener fails; why the read side has ended.
    pub async fn serve(&self, listener: TcpListener, shutdown: Shutdown) -> io::Result<()> {
        let mut served = pin!(server::serve(listener, self.router.clone(), shutdown.clone()));
        tokio::select! {
            served = &mut served => served,
            cause = self.failure() => {
                shutdown.request();
                served.await?;
                Err(io::Error::other(cause))
            }
        }
    }

    async fn failure(&self) -> String {
        loop {
            if let Some(cause) = self.table.failure() {
                return cause;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Starts a service on a log.
pub type Start = fn(Arc<dyn Broker>, &ServiceConfig, &Shutdown) -> bps_streams::Result<Service>;

#[derive(Parser)]
#[command(version)]
struct Flags {
    #[command(flatten)]
    own: OwnFlags,
    #[command(flatten)]
    common: CommonFlags,
}

#[derive(Args)]
struct OwnFlags {
    /// Where to listen; port 0 is any free one
    #[arg(long, env = "BPS_LISTEN", value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Where the rows of the read side lie; one process owns it [default: ./SERVICE-state]
    #[arg(long, env = "BPS_STATE", value_name = "FOLDER")]
    state: Option<PathBuf>,
    #[command(flatten)]
    waiting: WaitingFlags,
}

/// Flags of whatever runs a service.
#[derive(Args, Clone, Debug, Default)]
pub struct WaitingFlags {
    /// How many requests of a service may wait for decisions; past it 503 [default: 10000]
    #[arg(long, env = "BPS_WAITERS_MAX", value_name = "COUNT")]
    waiters_max: Option<usize>,
}

impl WaitingFlags {
    /// Completes them from the file and the default.
    ///
    /// # Errors
    /// When the file's value is none.
    pub fn resolve(self, file: &mut SettingsFile) -> Result<usize, SettingsError> {
        Ok(file.or("waiters_max", self.waiters_max)?.unwrap_or(10_000))
    }
}

#[derive(Serialize)]
struct Settings {
    listen: SocketAddr,
    state: PathBuf,
    waiters_max: usize,
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

/// Runs a service on Kafka until a signal ends it.
pub fn main(about: &About, start: Start) -> ExitCode {
    let name = about.name;
    let command = Flags::command().name(name).about(about.about);
    let matches = command.try_get_matches();
    let flags = match matches.and_then(|matches| Flags::from_arg_matches(&matches)) {
        Ok(flags) => flags,
        Err(error) => return exit::usage(name, &error),
    };
    let print = flags.common.print_config;
    let settings = match resolve(flags, about) {
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
    exit::ended(name, run(about, start, &settings))
}

fn resolve(flags: Flags, about: &About) -> Result<Settings, SettingsError> {
    let mut file: SettingsFile = flags.common.file()?;
    let listen = file.or("listen", flags.own.listen)?;
    let state = file.or("state", flags.own.state)?;
    let settings = Settings {
        listen: listen.unwrap_or(about.listen),
        state: state.unwrap_or_else(|| format!("./{}-state", about.name).into()),
        waiters_max: flags.own.waiting.resolve(&mut file)?,
        common: flags.common.resolve(&mut file)?,
    };
    file.finish()?;
    Ok(settings)
}

/// Whatever ends a service: it is only told.
type AnyError = Box<dyn std::error::Error + Send + Sync>;

fn run(about: &About, start: Start, settings: &Settings) -> Result<(), AnyError> {
    let shutdown = Shutdown::on_signals()?;
    let broker = Arc::new(settings.common.required_kafka()?.broker()?);
    let config = ServiceConfig {
        inbox: settings.common.inbox(),
        state: settings.state.clone(),
        waiters_max: settings.waiters_max,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let listener = runtime.block_on(server::listen(settings.listen))?;
    let service = start(broker, &config, &shutdown)?;
    exit::say(format_args!("{} http://{}", about.name, listener.local_addr()?));
    let served = runtime.block_on(service.serve(listener, shutdown.clone()));
    // A question to a broker that is away must not hold up the end.
    runtime.shutdown_background();
    Ok(served?)
}
