//! The workers of a run, each on a thread of its own, and who looks after them meanwhile.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::ApplicationConfig;
use super::run::{Signals, clock, io, origin};
use crate::broker::{Broker, BrokerError};
use crate::error::{Error, Result};
use crate::status::Observer;
use crate::store::Store;
use crate::task::TaskEnv;
use crate::worker::{Worker, WorkerConfig};

pub(super) fn run_workers(
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
