//! A service as a whole: its paths, its read side, and its main function on Kafka.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use bps_streams::broker::Broker;
use bps_streams::global::{GlobalTable, GlobalTableConfig, GlobalView};
use bps_streams::store::rocks::MemoryBounds;
use clap::{Args, CommandFactory, FromArgMatches, Parser};
use serde::Serialize;
use tokio::net::TcpListener;
use utoipa_axum::router::OpenApiRouter;

use crate::access::Access;
use crate::exit::AnyError;
use crate::health::Trouble;
use crate::intake::{Inbox, InboxConfig};
use crate::logging::Spans;
use crate::metrics::{Metrics, Watched};
use crate::settings::{
    self, CommonFlags, CommonSettings, ListenFlags, ListenSettings, SettingsError, SettingsFile,
};
use crate::signals::Shutdown;
use crate::waiters::Waiters;
use crate::{docs, exit, health, layers, logging, server};

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
#[derive(Clone)]
pub struct ServiceConfig {
    /// What its intake is set to.
    pub inbox: InboxConfig,
    /// Where the rows of its read side lie; one process owns it.
    pub state: PathBuf,
    /// Who may call it, and how many may wait.
    pub http: HttpSettings,
    /// Where its numbers are shown.
    pub metrics: Arc<Metrics>,
    /// Why else it should not be sent requests: what else runs in the process.
    pub besides: Trouble,
}

/// How often the read side is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// Memory of a read side: its rows are small, and most look-ups are of new ones.
const MEMORY: MemoryBounds =
    MemoryBounds { block_cache_bytes: 4 << 20, write_buffer_bytes: 6 << 20 };

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

/// What a service is made of.
pub struct Parts {
    /// Its own paths.
    pub paths: OpenApiRouter,
    /// What it takes, each on its topic.
    pub inboxes: Vec<Inbox>,
    /// Who waits in it.
    pub waiters: Arc<Waiters>,
    /// Its read side.
    pub table: GlobalTable,
}

impl Service {
    /// Of these parts, with the paths that every service has. What is sent to a path needs the role that
    /// its documentation tells.
    pub fn new(about: &About, parts: Parts, config: &ServiceConfig) -> Service {
        let Parts { paths, inboxes, waiters, table } = parts;
        let ListenSettings { ready_lag_max, known, .. } = config.http.listen.clone();
        let (name, view, metrics) = (about.name, table.view(), config.metrics.clone());
        metrics.watch_service(Watched {
            name,
            inboxes: inboxes.clone(),
            waiters,
            view: view.clone(),
        });
        let besides = config.besides.clone();
        let trouble =
            Arc::new(move || trouble(&inboxes, &view, ready_lag_max).or_else(|| besides()));
        let paths = paths.merge(health::paths(trouble, metrics.clone()));
        let (paths, needed) = docs::serve(about, paths);
        let access = Access { tokens: known, needed: Arc::new(needed) };
        let router = layers::around(paths, access, name, metrics);
        Service { router, table }
    }

    /// Its paths, for a server that has others beside them.
    pub fn router(&self) -> Router {
        self.router.clone()
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

/// Why a service should not be sent requests.
fn trouble(inboxes: &[Inbox], view: &GlobalView, lag_max: u64) -> Option<String> {
    if let Some(inbox) = inboxes.iter().find(|inbox| inbox.known_partitions() == 0) {
        return Some(format!("topic {} is not known yet", inbox.topic()));
    }
    if inboxes.iter().any(Inbox::is_away) {
        return Some("the log takes no events".to_owned());
    }
    let status = view.status();
    if let Some(trouble) = status.trouble {
        return Some(format!("the read side waits: {trouble}"));
    }
    if !status.is_caught_up {
        let lag = status.lag;
        return Some(format!(
            "the rows of the read side are being restored, {lag} records are left"
        ));
    }
    let lag = status.lag;
    (lag > lag_max).then(|| format!("the read side is {lag} records behind"))
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
    http: HttpFlags,
}

/// Flags of whatever runs a service.
#[derive(Args, Clone, Debug, Default)]
pub struct HttpFlags {
    /// How many requests of a service may wait for decisions; past it 503 [default: 10000]
    #[arg(long, env = "BPS_WAITERS_MAX", value_name = "COUNT")]
    waiters_max: Option<usize>,
    #[command(flatten)]
    listen: ListenFlags,
}

/// What [`HttpFlags`] come to.
#[derive(Clone, Debug, Serialize)]
pub struct HttpSettings {
    /// How many requests of a service may wait for decisions.
    pub waiters_max: usize,
    /// Who may call it, and what its readiness is.
    #[serde(flatten)]
    pub listen: ListenSettings,
}

impl HttpFlags {
    /// Completes them from the file and the default, for services that listen there.
    ///
    /// # Errors
    /// As [`ListenFlags::resolve`].
    pub fn resolve(
        self,
        file: &mut SettingsFile,
        listen: &[SocketAddr],
    ) -> Result<HttpSettings, SettingsError> {
        Ok(HttpSettings {
            waiters_max: file.or("waiters_max", self.waiters_max)?.unwrap_or(10_000),
            listen: self.listen.resolve(file, listen)?,
        })
    }
}

impl HttpSettings {
    /// What a service needs of them, with rows in `state`.
    pub fn config(
        &self,
        common: &CommonSettings,
        state: PathBuf,
        metrics: &Arc<Metrics>,
        besides: Trouble,
    ) -> ServiceConfig {
        let (inbox, http, metrics) = (common.inbox(), self.clone(), metrics.clone());
        ServiceConfig { inbox, state, http, metrics, besides }
    }
}

#[derive(Serialize)]
struct Settings {
    listen: SocketAddr,
    state: PathBuf,
    #[serde(flatten)]
    http: HttpSettings,
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

/// Its command line.
pub fn command(about: &About) -> clap::Command {
    Flags::command().name(about.name).about(about.about)
}

/// Runs a service on Kafka until a signal ends it.
pub fn main(about: &About, start: Start) -> ExitCode {
    let name = about.name;
    let matches = command(about).try_get_matches();
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
    let required = settings.common.required_kafka();
    let spans = match required.and_then(|_| logging::start(&settings.common.log, name)) {
        Ok(spans) => spans,
        Err(error) => return exit::with(exit::USAGE, name, error),
    };
    exit::ended(name, run(about, start, &settings, spans))
}

fn resolve(flags: Flags, about: &About) -> Result<Settings, SettingsError> {
    let mut file: SettingsFile = flags.common.file()?;
    let listen = file.or("listen", flags.own.listen)?.unwrap_or(about.listen);
    let state = file.or("state", flags.own.state)?;
    let settings = Settings {
        listen,
        state: state.unwrap_or_else(|| format!("./{}-state", about.name).into()),
        http: flags.own.http.resolve(&mut file, &[listen])?,
        common: flags.common.resolve(&mut file)?,
    };
    file.finish()?;
    Ok(settings)
}

fn run(about: &About, start: Start, settings: &Settings, _spans: Spans) -> Result<(), AnyError> {
    let shutdown = Shutdown::on_signals()?;
    let broker = Arc::new(settings.common.required_kafka()?.broker()?);
    let metrics = Arc::<Metrics>::default();
    let config =
        settings.http.config(&settings.common, settings.state.clone(), &metrics, Arc::new(|| None));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let listener = runtime.block_on(server::listen(settings.listen))?;
    let service = start(broker, &config, &shutdown)?;
    exit::say(format_args!("{} http://{}", about.name, listener.local_addr()?));
    let served = runtime.block_on(service.serve(listener, shutdown.clone()));
    // A question to a broker that is away must not hold up the end.
    runtime.shutdown_background();
    Ok(served?)
}
