//! One run: the folder, the topics, the store; again where the store is damaged.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::ApplicationConfig;
use super::workers::run_workers;
use crate::broker::{Broker, Now, ProducerMode};
use crate::error::{Error, Result};
use crate::folder::FolderError;
use crate::prepare::prepare_topics;
use crate::state_folder::{check_identity, worker_ids};
use crate::status::Observer;
use crate::store::StoreError;
use crate::store::rocks::{RocksStore, mark};
use crate::task::TaskEnv;
use crate::topic_watch::TopicWatch;
use crate::topology::{Layout, Topology};
use crate::worker::Guarantee;
use crate::{skip_gap, topology_manifest};

pub(super) struct Signals {
    pub(super) shutdown: Arc<AtomicBool>,
    pub(super) leave: Arc<AtomicBool>,
}

/// The origin of all intervals: one for the process, since several applications may share a
/// broker in it.
pub(super) fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    *ORIGIN.get_or_init(Instant::now)
}

/// A clock for real runs: monotonic from the start of the process, and the system's.
pub(super) fn clock(origin: Instant) -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let monotonic_ms = origin.elapsed().as_millis() as u64;
    Now { monotonic_ms, wall_ms: wall.as_millis() as i64 }
}

pub(super) fn io(folder: &Path, source: std::io::Error) -> Error {
    FolderError::Io { folder: folder.to_owned(), source }.into()
}

pub(super) fn run(
    broker: &Arc<dyn Broker>,
    topology: Topology,
    config: &ApplicationConfig,
    signals: &Signals,
    observer: &Observer,
) -> Result<()> {
    let stopped = || signals.shutdown.load(Ordering::Relaxed);
    let prepared = patiently(&stopped, || {
        let partitions = prepare_topics(&**broker, &topology, config.partitions)?;
        Ok((partitions, broker.cluster_id()?))
    })?;
    let Some((layout, cluster)) = prepared else {
        return Ok(());
    };
    let folder = &config.state_folder;
    check_identity(folder, &cluster, topology.name(), layout.partitions)?;
    topology_manifest::compare(folder, &topology)?;
    let ids = worker_ids(folder, topology.name(), config.workers)?;
    let mut config = config.clone();
    config.worker.skip_gap |= skip_gap::take(folder)?;
    if config.worker.guarantee == Guarantee::ExactlyOnce {
        let retired = &ids[config.workers.max(1) as usize..];
        settle_retired(&**broker, retired, &stopped)?;
    }
    let topology = Arc::new(topology);
    let watch = || TopicWatch::begin(&**broker, &topology, layout.partitions);
    let Some(watch) = patiently(&stopped, watch)? else {
        return Ok(());
    };
    watch.during(&**broker, observer, &signals.shutdown, || {
        let mut rebuilds = 0;
        loop {
            let run = run_on_store(broker, &topology, layout, &config, &ids, signals, observer);
            let Err(Error::Store(StoreError::Damaged { cause, .. })) = &run else {
                return run;
            };
            // Else the next start would end where this one did.
            let store = config.state_folder.join(STORE);
            mark(&store, cause).map_err(|source| io(&store, source))?;
            if rebuilds == REBUILDS_MAX || stopped() {
                return run;
            }
            rebuilds += 1;
            tracing::error!(%cause, "the store is damaged: it is moved aside and rebuilt, at once");
            observer.lock().forget_tasks();
        }
    })
}

/// Damaged stores that one run moves aside before it gives up: a disk that damages whatever is
/// written to it is not to be filled with copies.
const REBUILDS_MAX: u32 = 2;

/// Name of the store's folder in the state folder.
const STORE: &str = "store";

/// Opens the store and runs the workers until they end; nothing holds the store afterwards.
fn run_on_store(
    broker: &Arc<dyn Broker>,
    topology: &Arc<Topology>,
    layout: Layout,
    config: &ApplicationConfig,
    ids: &[String],
    signals: &Signals,
    observer: &Observer,
) -> Result<()> {
    let tables = topology.tables();
    let store = RocksStore::open(&config.state_folder.join(STORE), &tables, config.memory)?;
    let env = TaskEnv::new(topology.clone(), Arc::new(store), layout);
    let env = Arc::new(env.bounded(config.tables));
    run_workers(broker, &env, config, ids, signals, observer)
}

/// Repeats a call while the broker is away; `None` when stopped meanwhile.
fn patiently<T>(stopped: &dyn Fn() -> bool, call: impl Fn() -> Result<T>) -> Result<Option<T>> {
    let mut told = None;
    while !stopped() {
        match call() {
            Err(Error::Broker(error)) if error.is_unavailable() => {
                let text = error.to_string();
                if told.as_ref() != Some(&text) {
                    tracing::warn!("waits: {text}");
                    told = Some(text);
                }
                std::thread::sleep(Duration::from_millis(200));
            }
            other => return other.map(Some),
        }
    }
    Ok(None)
}

/// Workers that are no more may have left a transaction open, which would hold up every reader:
/// initialising their ids once ends it.
fn settle_retired(broker: &dyn Broker, ids: &[String], stopped: &dyn Fn() -> bool) -> Result<()> {
    for id in ids {
        let settle = || {
            let mode = ProducerMode::Transactional { id: id.clone() };
            let mut producer = broker.producer(mode)?;
            while !stopped() && !producer.poll_ready()? {
                std::thread::sleep(Duration::from_millis(5));
            }
            Ok(())
        };
        patiently(stopped, settle)?;
    }
    Ok(())
}
