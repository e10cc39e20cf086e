//! Runs a topology for real: takes the state folder, prepares the topics, opens the store and
//! starts the workers, each on a thread of its own.
//!
//! Reading order: this file (what its owner holds), `run` (from the folder to the store),
//! `workers` (the threads).

mod run;
mod workers;

use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use self::run::{Signals, io, run};
use crate::broker::Broker;
use crate::error::Result;
use crate::folder::FolderLock;
use crate::status::{ApplicationStatus, Observer};
use crate::store::rocks::MemoryBounds;
use crate::task::TableBounds;
use crate::topology::Topology;
use crate::worker::WorkerConfig;

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
    /// Memory of the tables of all tasks, beside it.
    pub tables: TableBounds,
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
            tables: TableBounds::default(),
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
