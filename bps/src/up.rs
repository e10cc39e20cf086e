//! `bps up`: the two services, all topologies and a page to watch them in one process, on the
//! embedded log or on Kafka.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bps_service::applications::{
    self, ApplicationFlags, ApplicationSettings, NamedApplication, Rules, Watched,
};
use bps_service::broker::BrokerChoice;
use bps_service::exit::AnyError;
use bps_service::health::Trouble;
use bps_service::logging::Spans;
use bps_service::metrics::Metrics;
use bps_service::service::{HttpFlags, HttpSettings, Service};
use bps_service::settings::{self, CommonFlags, CommonSettings, SettingsError};
use bps_service::{Shutdown, exit, logging, server};
use bps_streams::broker::Broker;
use clap::Args;
use purchase_processor::TOPOLOGIES;
use purchase_processor::flags::{RuleFlags, RuleSettings};
use serde::Serialize;

const NAME: &str = "bps up";

/// Where the page is, unless set.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7400);

/// Longest wait for requests that are being answered when all else has ended.
const END_WAIT: Duration = Duration::from_secs(2);

const EXAMPLES: &str = "  \
  bps up
  bps up --data /var/lib/bps --tokens tokens.toml --purchases-listen 0.0.0.0:7402
  bps up --kafka kafka-1:9092,kafka-2:9092 --workers 2
  bps up --print-config";

/// Runs the services and the processor in one process, until it is told to end.
#[derive(Args, Clone, Debug)]
#[command(after_help = crate::exit::help(EXAMPLES))]
pub(crate) struct UpArgs {
    /// Where the embedded log and the state lie; one process owns it [default: ./data]
    #[arg(long, env = "BPS_DATA", value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Where the page and all paths of both services are [default: 127.0.0.1:7400]
    #[arg(long, env = "BPS_LISTEN", value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Where the items service listens; port 0 is any free one [default: 127.0.0.1:7401]
    #[arg(long, env = "BPS_ITEMS_LISTEN", value_name = "ADDRESS:PORT")]
    items_listen: Option<SocketAddr>,
    /// Where the purchase service listens [default: 127.0.0.1:7402]
    #[arg(long, env = "BPS_PURCHASES_LISTEN", value_name = "ADDRESS:PORT")]
    purchases_listen: Option<SocketAddr>,
    #[command(flatten)]
    http: HttpFlags,
    #[command(flatten)]
    applications: ApplicationFlags,
    #[command(flatten)]
    rules: RuleFlags,
    #[command(flatten)]
    common: CommonFlags,
}

#[derive(Serialize)]
struct Settings {
    data: PathBuf,
    listen: SocketAddr,
    items_listen: SocketAddr,
    purchases_listen: SocketAddr,
    #[serde(flatten)]
    http: HttpSettings,
    #[serde(flatten)]
    applications: ApplicationSettings,
    #[serde(flatten)]
    rules: RuleSettings,
    #[serde(flatten)]
    common: CommonSettings,
}

/// Runs all three until a signal, or the failure of one of them, ends them.
pub(crate) fn run(args: UpArgs) -> ExitCode {
    let print = args.common.print_config;
    let settings = match resolve(args) {
        Ok(settings) => settings,
        Err(error) => return exit::with(exit::USAGE, NAME, error),
    };
    if print {
        return exit::printed(NAME, settings::print(&settings));
    }
    match logging::start(&settings.common.log, "bps") {
        Ok(spans) => exit::ended(NAME, up(&settings, spans)),
        Err(error) => exit::with(exit::USAGE, NAME, error),
    }
}

fn resolve(args: UpArgs) -> Result<Settings, SettingsError> {
    let mut file = args.common.file()?;
    let data = file.or("data", args.data)?.unwrap_or_else(|| "./data".into());
    let listen = file.or("listen", args.listen)?.unwrap_or(LISTEN);
    let items = file.or("items_listen", args.items_listen)?;
    let items = items.unwrap_or(items_service::ABOUT.listen);
    let purchases = file.or("purchases_listen", args.purchases_listen)?;
    let purchases = purchases.unwrap_or(purchase_service::ABOUT.listen);
    let settings = Settings {
        listen,
        items_listen: items,
        purchases_listen: purchases,
        http: args.http.resolve(&mut file, &[listen, items, purchases])?,
        applications: args.applications.resolve(&mut file, data.join("state"), &TOPOLOGIES)?,
        rules: args.rules.resolve(&mut file)?,
        common: args.common.resolve(&mut file)?,
        data,
    };
    file.finish()?;
    Ok(settings)
}

fn up(settings: &Settings, _spans: Spans) -> Result<(), AnyError> {
    let choice = match &settings.common.kafka {
        Some(kafka) => BrokerChoice::Kafka(kafka.clone()),
        None => BrokerChoice::Embedded(settings.data.clone()),
    };
    let broker = choice.open()?;
    let running = applications(settings)?;
    let shutdown = Shutdown::on_signals()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (page, items, purchases) = runtime.block_on(async {
        let page = server::listen(settings.listen).await?;
        let items = server::listen(settings.items_listen).await?;
        Ok::<_, AnyError>((page, items, server::listen(settings.purchases_listen).await?))
    })?;
    let numbers = Arc::<Metrics>::default();
    // Of the processor, as soon as there is one.
    let trouble = Arc::<OnceLock<Trouble>>::default();
    let besides: Trouble = {
        let trouble = trouble.clone();
        Arc::new(move || match trouble.get() {
            Some(trouble) => trouble(),
            None => Some("the processor has not started yet".to_owned()),
        })
    };
    let services = services(&broker, settings, &numbers, &besides, &shutdown)?;
    exit::say(format_args!("page http://{}", page.local_addr()?));
    exit::say(format_args!("items-service http://{}", items.local_addr()?));
    exit::say(format_args!("purchase-service http://{}", purchases.local_addr()?));

    // Both drain at the same time: what is taken now and decided no more is decided next time.
    let outcome = std::thread::scope(|scope| {
        let decide = || {
            let ready = || exit::say(format_args!("{NAME}: ready"));
            let observed = |watched: &[Watched]| {
                applications::watch(&numbers, watched);
                let lag_max = settings.http.listen.ready_lag_max;
                drop(trouble.set(applications::trouble(watched, lag_max)));
            };
            let leave = settings.applications.leave;
            let ended = applications::run(&broker, running, leave, &shutdown, observed, ready);
            // One without the others would look alive.
            shutdown.request();
            ended
        };
        let processor = std::thread::Builder::new().spawn_scoped(scope, decide)?;
        let served = runtime.block_on(async {
            let [restocks, purchases_service] = &services;
            // The one ends what it has begun though the other has failed.
            let paths = crate::page::router(restocks.router(), purchases_service.router());
            let (restocks, purchases_service, page) = tokio::join!(
                restocks.serve(items, shutdown.clone()),
                purchases_service.serve(purchases, shutdown.clone()),
                server::serve(page, paths, shutdown.clone()),
            );
            restocks.and(purchases_service).and(page)
        });
        shutdown.request();
        let decided = processor.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        decided.map_err(AnyError::from).and(served.map_err(AnyError::from))
    });
    // A question to a broker that is away must not hold up the end for long. Without any wait the
    // embedded log may still be open when the process ends, and RocksDB's threads then abort it.
    runtime.shutdown_timeout(END_WAIT);
    outcome
}

/// The topologies that run.
fn applications(settings: &Settings) -> Result<Vec<NamedApplication>, AnyError> {
    let Settings { applications, rules, common, .. } = settings;
    let rule = RuleFlags::rule(rules, common);
    Ok(applications.applications(&TOPOLOGIES, &rule, common)?)
}

/// Both services, each with rows of its own.
fn services(
    broker: &Arc<dyn Broker>,
    settings: &Settings,
    metrics: &Arc<Metrics>,
    besides: &Trouble,
    shutdown: &Shutdown,
) -> Result<[Service; 2], AnyError> {
    let config = |name: &str| {
        let state = settings.data.join(name);
        settings.http.config(&settings.common, state, metrics, besides.clone())
    };
    let items = items_service::start(broker.clone(), &config("items"), shutdown)?;
    let purchases = purchase_service::start(broker.clone(), &config("purchases"), shutdown)?;
    Ok([items, purchases])
}
