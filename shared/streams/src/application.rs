//! Runs a topology for real: takes the state folder, prepares the topics, opens the store and
//! starts the workers, each on a thread of its own.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::broker::{Broker, BrokerError, Now, ProducerMode};
use crate::error::{Error, Result};
use crate::folder::{FolderError, FolderLock};
use crate::prepare::{Prepared, prepare_topics};
use crate::state_folder::{check_identity, worker_ids};
use crate::status::{ApplicationStatus, Observer};
use crate::store::rocks::{MemoryBounds, RocksStore, mark};
use crate::store::{Store, StoreError};
use crate::task::TaskEnv;
use crate::topic_watch::TopicWatch;
use crate::topology::Topology;
use crate::worker::{Guarantee, Worker, WorkerConfig};

/// Settings of an application on one machine.
#[derive(Clone, Debug)]
pub struct ApplicationConfig {
    /// Where its state lies; one process owns it.
    pub state_folder: PathBuf,
    /// Threads that process.
    pub workers: u32,
    /// Partitions of topics that are created, where none of them exists yet.
    pub partitions: u32,
    /// What each worker is set to; its id is completed with the process's and the worker's own.
    pub worker: WorkerConfig,
    /// Memory of the store.
    pub memory: MemoryBounds,
}

impl ApplicationConfig {
    /// The defaults, with state in `state_folder`.
    pub fn new(state_folder: impl Into<PathBuf>) -> Self {
        Self {
            state_folder: state_folder.into(),
            workers: 1,
            partitions: 8,
            worker: WorkerConfig::new(""),
            memory: MemoryBounds::default(),
        }
    }
}

/// A running topology.
pub struct Application {
    shutdown: Arc<AtomicBool>,
    leave: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
    observer: Observer,
}

impl Application {
    /// Starts a topology. Returns as soon as the state folder is taken; a broker that is away is
    /// waited for.
    ///
    /// # Errors
    /// When the state folder cannot be taken.
    pub fn start(
        broker: Arc<dyn Broker>,
        topology: Topology,
        config: ApplicationConfig,
    ) -> Result<Application> {
        let lock = FolderLock::take(&config.state_folder)?;
        let (shutdown, leave) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let observer = Observer::default();
        let run = {
            let signals = Signals { shutdown: shutdown.clone(), leave: leave.clone() };
            let observer = observer.clone();
            move || {
                let outcome = run(&broker, topology, &config, &signals, &observer);
                // Others may take the folder only when nothing of this one is left.
                drop(lock);
                outcome
            }
        };
        let thread = std::thread::Builder::new().name("streams".to_owned()).spawn(run);
        let thread = thread.map_err(|source| io(Path::new("thread"), source))?;
        Ok(Application { shutdown, leave, thread: Some(thread), observer })
    }

    /// What it is doing.
    pub fn status(&self) -> ApplicationStatus {
        self.observer.status()
    }

    /// Looks at it from anywhere.
    pub fn observer(&self) -> Observer {
        self.observer.clone()
    }

    /// Whether it has ended by itself, which only an error makes it do.
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Commits what is open and ends. The members keep their places in the group for the
    /// session's time, so that a restart takes over at once.
    ///
    /// # Errors
    /// What ended it before, or on the way.
    pub fn stop(mut self) -> Result<()> {
        self.end()
    }

    /// As [`Application::stop`], and gives the places in the group up: scaling down.
    ///
    /// # Errors
    /// As [`Application::stop`].
    pub fn leave(mut self) -> Result<()> {
        self.leave.store(true, Ordering::Relaxed);
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        self.shutdown.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::error!(%error, "the application ended");
        }
    }
}

struct Signals {
    shutdown: Arc<AtomicBool>,
    leave: Arc<AtomicBool>,
}

/// The origin of all intervals: one for the process, since several applications may share a
/// broker in it.
fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    *ORIGIN.get_or_init(Instant::now)
}

/// A clock for real runs: monotonic from the start of the process, and the system's.
fn clock(origin: Instant) -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let monotonic_ms = origin.elapsed().as_millis() as u64;
    Now { monotonic_ms, wall_ms: wall.as_millis() as i64 }
}

fn io(folder: &Path, source: std::io::Error) -> Error {
    FolderError::Io { folder: folder.to_owned(), source }.into()
}

fn run(
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
    let Some((prepared, cluster)) = prepared else {
        return Ok(());
    };
    let folder = &config.state_folder;
    check_identity(folder, &cluster, &topology.name, prepared.partitions)?;
    let ids = worker_ids(folder, &topology.name, config.workers)?;
    let mut config = config.clone();
    config.worker.skip_gap |= crate::skip_gap::take(folder)?;
    if config.worker.guarantee == Guarantee::ExactlyOnce {
        let retired = &ids[config.workers.max(1) as usize..];
        settle_retired(&**broker, retired, &stopped)?;
    }
    let topology = Arc::new(topology);
    let watch = || TopicWatch::begin(&**broker, &topology, prepared.partitions);
    let Some(watch) = patiently(&stopped, watch)? else {
        return Ok(());
    };
    watch.during(&**broker, observer, &signals.shutdown, || {
        let mut rebuilds = 0;
        loop {
            let run = run_on_store(broker, &topology, prepared, &config, &ids, signals, observer);
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
    prepared: Prepared,
    config: &ApplicationConfig,
    ids: &[String],
    signals: &Signals,
    observer: &Observer,
) -> Result<()> {
    let tables: Vec<&str> = topology.stores.iter().map(|s| s.name.as_str()).collect();
    let store = RocksStore::open(&config.state_folder.join(STORE), &tables, config.memory)?;
    let env = Arc::new(TaskEnv::new(topology.clone(), Arc::new(store), prepared));
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

fn run_workers(
    broker: &Arc<dyn Broker>,
    env: &Arc<TaskEnv>,
    config: &ApplicationConfig,
    ids: &[String],
    signals: &Signals,
    observer: &Observer,
) -> Result<()> {
    let origin = origin();
    // One worker's error ends all: a half-running application would look alive.
    let failed = AtomicBool::new(false);
    let outcomes = std::thread::scope(|scope| {
        let run = |number: u32| {
            let worker = WorkerConfig { id: ids[number as usize].clone(), ..config.worker.clone() };
            let (broker, env) = (broker.clone(), env.clone());
            let failed = &failed;
            move || -> Result<()> {
                let run =
                    || run_worker(broker, env, worker, number, signals, failed, observer, origin);
                let outcome = catch_unwind(AssertUnwindSafe(run));
                if !matches!(outcome, Ok(Ok(()))) {
                    failed.store(true, Ordering::Relaxed);
                }
                outcome.unwrap_or_else(|panic| resume_unwind(panic))
            }
        };
        let spawn = |number| {
            let name = format!("worker-{number}");
            std::thread::Builder::new().name(name).spawn_scoped(scope, run(number))
        };
        let threads: Vec<_> = (0..config.workers.max(1)).map(spawn).collect();
        let ended = || failed.load(Ordering::Relaxed) || signals.shutdown.load(Ordering::Relaxed);
        maintain(&**broker, &*env.store, &ended, observer, origin);
        let join = |thread: std::io::Result<std::thread::ScopedJoinHandle<'_, Result<()>>>| {
            let thread = thread.map_err(|source| io(Path::new("worker"), source))?;
            thread.join().unwrap_or_else(|panic| resume_unwind(panic))
        };
        threads.into_iter().map(join).collect::<Vec<_>>()
    });
    outcomes.into_iter().collect()
}

#[allow(clippy::too_many_arguments)] // what one thread needs, each thing once
fn run_worker(
    broker: Arc<dyn Broker>,
    env: Arc<TaskEnv>,
    config: WorkerConfig,
    number: u32,
    signals: &Signals,
    failed: &AtomicBool,
    observer: &Observer,
    origin: Instant,
) -> Result<()> {
    let id = config.id.clone();
    let stop = AtomicBool::new(false);
    let mut told = Instant::now();
    let mut watch = |worker: &Worker| {
        let done = signals.shutdown.load(Ordering::Relaxed) || failed.load(Ordering::Relaxed);
        stop.store(done, Ordering::Relaxed);
        if told.elapsed() >= Duration::from_millis(20) || done {
            told = Instant::now();
            let status = worker.status();
            observer.lock().workers.insert(number, status);
        }
    };
    let mut taken = Vec::new();
    loop {
        let mut worker = Worker::new(broker.clone(), env.clone(), config.clone())?;
        let before = observer.lock().workers.get(&number).cloned();
        worker.count_on(before.unwrap_or_default());
        match worker.run(&stop, || clock(origin), &mut watch) {
            Err(Error::Broker(BrokerError::Fenced { what: "group", cause }))
                if may_rejoin(&mut taken) =>
            {
                tracing::warn!(worker = %id, %cause, "its place was taken: joins anew");
                drop(worker);
                std::thread::sleep(REJOIN_PAUSE);
            }
            Err(error) => {
                tracing::error!(worker = %id, %error, "the worker stops");
                return Err(error);
            }
            Ok(()) if signals.leave.load(Ordering::Relaxed) => return worker.leave(clock(origin)),
            Ok(()) => return Ok(()),
        }
    }
}

/// How often a worker may find its place taken, within [`TAKEN_WINDOW`].
const TAKEN_MAX: usize = 5;
const TAKEN_WINDOW: Duration = Duration::from_secs(60);
const REJOIN_PAUSE: Duration = Duration::from_millis(500);

/// A join whose answer was lost is sent again, and the coordinator takes the two for two members of
/// one id: the worker is fenced by itself, and joins anew. Another process with the same id (a
/// copied state folder) would take the place again and again: then one of the two ends.
fn may_rejoin(taken: &mut Vec<Instant>) -> bool {
    taken.retain(|at| at.elapsed() < TAKEN_WINDOW);
    taken.push(Instant::now());
    taken.len() <= TAKEN_MAX
}

/// The broker's own housekeeping, where it has any, and a look at everything, until the end.
fn maintain(
    broker: &dyn Broker,
    store: &dyn Store,
    ended: &dyn Fn() -> bool,
    observer: &Observer,
    origin: Instant,
) {
    let (mut kept, mut measured) = (None::<Instant>, Instant::now());
    while !ended() {
        if kept.is_none_or(|at| at.elapsed() > Duration::from_secs(60)) {
            if let Err(error) = broker.maintain(clock(origin)) {
                tracing::warn!(%error, "housekeeping");
            }
            kept = Some(Instant::now());
        }
        if measured.elapsed() > Duration::from_secs(1) {
            observer.measure(broker, store);
            measured = Instant::now();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
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
