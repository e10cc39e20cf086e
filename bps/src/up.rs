//! `bps up`: the two services and the processor in one process, on the embedded log or on Kafka.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bps_service::broker::BrokerChoice;
use bps_service::service::{Service, ServiceConfig, WaitingFlags};
use bps_service::settings::{self, CommonFlags, CommonSettings, SettingsError};
use bps_service::{Shutdown, exit, logging, server};
use bps_streams::broker::Broker;
use clap::Args;
use purchase_processor::flags::{ProcessorFlags, ProcessorSettings};
use serde::Serialize;

const NAME: &str = "bps up";

/// Longest wait for requests that are being answered when all else has ended.
const END_WAIT: Duration = Duration::from_secs(2);

const EXAMPLES: &str = "  \
  bps up
  bps up --data /var/lib/bps --items-listen 0.0.0.0:7401 --purchases-listen 0.0.0.0:7402
  bps up --kafka kafka-1:9092,kafka-2:9092 --workers 2
  bps up --print-config";

/// Runs the services and the processor in one process, until it is told to end.
#[derive(Args, Clone, Debug)]
#[command(after_help = crate::exit::help(EXAMPLES))]
pub(crate) struct UpArgs {
    /// Where the embedded log and the state lie; one process owns it [default: ./data]
    #[arg(long, env = "BPS_DATA", value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Where the items service listens; port 0 is any free one [default: 127.0.0.1:7401]
    #[arg(long, env = "BPS_ITEMS_LISTEN", value_name = "ADDRESS:PORT")]
    items_listen: Option<SocketAddr>,
    /// Where the purchase service listens [default: 127.0.0.1:7402]
    #[arg(long, env = "BPS_PURCHASES_LISTEN", value_name = "ADDRESS:PORT")]
    purchases_listen: Option<SocketAddr>,
    #[command(flatten)]
    waiting: WaitingFlags,
    #[command(flatten)]
    processor: ProcessorFlags,
    #[command(flatten)]
    common: CommonFlags,
}

#[derive(Serialize)]
struct Settings {
    data: PathBuf,
    items_listen: SocketAddr,
    purchases_listen: SocketAddr,
    waiters_max: usize,
    #[serde(flatten)]
    processor: ProcessorSettings,
    #[serde(flatten)]
    common: CommonSettings,
}

/// Whatever ends it: it is only told.
type AnyError = Box<dyn std::error::Error + Send + Sync>;

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
    if let Err(error) = logging::start(&settings.common.log) {
        return exit::with(exit::USAGE, NAME, error);
    }
    exit::ended(NAME, up(&settings))
}

fn resolve(args: UpArgs) -> Result<Settings, SettingsError> {
    let mut file = args.common.file()?;
    let data = file.or("data", args.data)?.unwrap_or_else(|| "./data".into());
    let items = file.or("items_listen", args.items_listen)?;
    let purchases = file.or("purchases_listen", args.purchases_listen)?;
    let settings = Settings {
        items_listen: items.unwrap_or(items_service::ABOUT.listen),
        purchases_listen: purchases.unwrap_or(purchase_service::ABOUT.listen),
        waiters_max: args.waiting.resolve(&mut file)?,
        processor: args.processor.resolve(&mut file, data.join("state"))?,
        common: args.common.resolve(&mut file)?,
        data,
    };
    file.finish()?;
    Ok(settings)
}

fn up(settings: &Settings) -> Result<(), AnyError> {
    let choice = match &settings.common.kafka {
        Some(kafka) => BrokerChoice::Kafka(kafka.clone()),
        None => BrokerChoice::Embedded(settings.data.clone()),
    };
    let broker = choice.open()?;
    let shutdown = Shutdown::on_signals()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (items, purchases) = runtime.block_on(async {
        let items = server::listen(settings.items_listen).await?;
        Ok::<_, AnyError>((items, server::listen(settings.purchases_listen).await?))
    })?;
    let services = services(&broker, settings, &shutdown)?;
    exit::say(format_args!("items-service http://{}", items.local_addr()?));
    exit::say(format_args!("purchase-service http://{}", purchases.local_addr()?));

    // Both drain at the same time: what is taken now and decided no more is decided next time.
    let outcome = std::thread::scope(|scope| {
        let decide = || {
            let ready = || exit::say(format_args!("{NAME}: ready"));
            let (common, processor) = (&settings.common, &settings.processor);
            let broker = broker.clone();
            let ended = purchase_processor::run::run(broker, common, processor, &shutdown, ready);
            // One without the others would look alive.
            shutdown.request();
            ended
        };
        let processor = std::thread::Builder::new().spawn_scoped(scope, decide)?;
        let served = runtime.block_on(async {
            let [restocks, wishes] = &services;
            // The one ends what it has begun though the other has failed.
            let (restocks, wishes) = tokio::join!(
                restocks.serve(items, shutdown.clone()),
                wishes.serve(purchases, shutdown.clone()),
            );
            restocks.and(wishes)
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

/// Both services, each with rows of its own.
fn services(
    broker: &Arc<dyn Broker>,
    settings: &Settings,
    shutdown: &Shutdown,
) -> Result<[Service; 2], AnyError> {
    let config = |name: &str| ServiceConfig {
        inbox: settings.common.inbox(),
        state: settings.data.join(name),
        waiters_max: settings.waiters_max,
    };
    let items = items_service::start(broker.clone(), &config("items"), shutdown)?;
    let purchases = purchase_service::start(broker.clone(), &config("purchases"), shutdown)?;
    Ok([items, purchases])
}
