//! A global table: what the committed records of some topics come to, of all their partitions,
//! in rows that this process can look up. It is a read side: nothing is decided here, and nothing
//! is written to a topic.
//!
//! Each process that wants to look has a table of its own, in a folder of its own. Rows and the
//! positions they stand for are written in one batch, so that a start goes on where it was; a
//! table of another cluster, or of records that are gone, is moved aside and built anew.
//!
//! Reading order: [`GlobalProcessor`] (what a user writes), [`GlobalTable`] (the running table),
//! [`GlobalView`] (who looks into it), `update` (one round of records).

mod rows;
mod update;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

use crate::broker::{Broker, BrokerError, TopicPartition};
use crate::error::Result;
use crate::folder::{FolderError, FolderLock};
use crate::record::Record;
use crate::store::rocks::{MemoryBounds, RocksStore};
use crate::store::{self, MemoryUse, Store, StoreError};

pub use self::rows::Rows;
use self::update::Run;

/// All rows of a global table are kept as those of one partition, so that they are in the order
/// of their keys.
const GLOBAL: u32 = 0;

/// Folds records into rows. Called by one thread, for each partition in the order of its offsets;
/// a record may come again after a crash, then with the rows as they were before it.
pub trait GlobalProcessor: Send + Sync {
    /// The names of its tables; elsewhere a table is named by its index here.
    fn tables(&self) -> &[&'static str];
    /// Takes a record into the rows.
    ///
    /// # Errors
    /// Those of the rows.
    fn process(&self, record: &Record<'_>, rows: &mut Rows<'_>) -> store::Result<()>;
    /// The rows of this record can be looked up now: wake who waits for it.
    fn applied(&self, record: &Record<'_>);
    /// All records of a round have been told by [`GlobalProcessor::applied`]: wake who waits for
    /// anything.
    fn advanced(&self) {}
}

/// Settings of a global table.
#[derive(Clone, Debug)]
pub struct GlobalTableConfig {
    /// Names the table in its folder, with the version of how its rows are made: rows of another
    /// name are never read.
    pub name: String,
    /// Where its rows lie; one process owns it.
    pub folder: PathBuf,
    /// The topics. They need not have the same number of partitions.
    pub topics: Vec<String>,
    /// Memory of the rows.
    pub memory: MemoryBounds,
}

/// How far a table is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GlobalStatus {
    /// It has read all that was there when it was started.
    pub is_caught_up: bool,
    /// Offsets between its positions and the ends of the topics, when last asked.
    pub lag: u64,
    /// Why it has ended, or what it waits for.
    pub trouble: Option<String>,
}

/// The next offset to read of each partition.
pub type Positions = Vec<(TopicPartition, u64)>;

/// Looks into a global table, from any thread.
#[derive(Default)]
pub struct GlobalView {
    /// There while the table runs.
    store: RwLock<Option<Arc<RocksStore>>>,
    status: Mutex<GlobalStatus>,
    positions: Mutex<Arc<Positions>>,
    /// What a look-up met first, for the table to end on.
    damaged: Mutex<Option<StoreError>>,
}

impl GlobalView {
    /// How far it is.
    pub fn status(&self) -> GlobalStatus {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Memory of its rows.
    pub fn memory(&self) -> MemoryUse {
        self.store().map_or_else(MemoryUse::default, |store| store.memory())
    }

    /// What the rows stand for: asked before a row is read, that row is at least as new.
    pub fn positions(&self) -> Arc<Positions> {
        self.positions.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A row; `None` also while the table is not open, which its status tells.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn get(&self, table: usize, key: &[u8]) -> store::Result<Option<Vec<u8>>> {
        let Some(store) = self.store() else {
            return Ok(None);
        };
        let mut row = Vec::new();
        let found = self.heard(store.get(table, GLOBAL, key, &mut row))?;
        Ok(found.then_some(row))
    }

    /// Visits rows in the order of their keys, from `from` on, until `visit` says `false`.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn scan(
        &self,
        table: usize,
        from: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> store::Result<()> {
        match self.store() {
            Some(store) => self.heard(store.scan(table, GLOBAL, from, visit)),
            None => Ok(()),
        }
    }

    /// Passes on what a look-up came to; the table hears of damage, and rebuilds its rows.
    fn heard<T>(&self, outcome: store::Result<T>) -> store::Result<T> {
        if let Err(error @ StoreError::Damaged { .. }) = &outcome {
            let mut damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
            damaged.get_or_insert_with(|| error.clone());
        }
        outcome
    }

    fn check(&self) -> store::Result<()> {
        let damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner).take();
        damaged.map_or(Ok(()), Err)
    }

    fn store(&self) -> Option<Arc<RocksStore>> {
        self.store.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_store(&self, store: Option<Arc<RocksStore>>) {
        *self.store.write().unwrap_or_else(PoisonError::into_inner) = store;
    }

    fn publish(&self, positions: &Positions) {
        let positions = Arc::new(positions.clone());
        *self.positions.lock().unwrap_or_else(PoisonError::into_inner) = positions;
    }

    /// It cannot go on for now; said once.
    fn trouble(&self, error: &BrokerError) {
        let text = error.to_string();
        self.tell(|status| {
            if status.trouble.as_ref() != Some(&text) {
                tracing::warn!("waits: {text}");
                status.trouble = Some(text);
            }
        });
    }

    fn tell(&self, change: impl FnOnce(&mut GlobalStatus)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// A running global table; ends when dropped.
pub struct GlobalTable {
    view: Arc<GlobalView>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl GlobalTable {
    /// Starts it, on a thread of its own. Returns as soon as the folder is taken; a broker that is
    /// away and topics that are not there yet are waited for.
    ///
    /// # Errors
    /// When the folder cannot be taken.
    pub fn start(
        broker: Arc<dyn Broker>,
        processor: Arc<dyn GlobalProcessor>,
        config: GlobalTableConfig,
    ) -> Result<GlobalTable> {
        let lock = FolderLock::take(&config.folder)?;
        let (view, stop) = (Arc::<GlobalView>::default(), Arc::<AtomicBool>::default());
        let run = {
            let (view, stop) = (view.clone(), stop.clone());
            move || {
                let stopped = || stop.load(Ordering::Relaxed);
                let run = Run {
                    broker: &*broker,
                    processor: &*processor,
                    config: &config,
                    view: &view,
                    stopped: &stopped,
                };
                let ended = run.run();
                if let Err(error) = &ended {
                    tracing::error!(table = %config.name, %error, "the global table ends");
                }
                view.tell(|status| {
                    status.is_caught_up = false;
                    status.trouble = ended.err().map(|error| error.to_string());
                });
                drop(lock);
            }
        };
        let thread = std::thread::Builder::new().name("global".to_owned()).spawn(run);
        let thread =
            thread.map_err(|source| FolderError::Io { folder: PathBuf::from("thread"), source })?;
        Ok(GlobalTable { view, stop, thread: Some(thread) })
    }

    /// Looks into it.
    pub fn view(&self) -> Arc<GlobalView> {
        self.view.clone()
    }

    /// Why it has ended by itself, which only an error makes it do.
    pub fn failure(&self) -> Option<String> {
        let ended = self.thread.as_ref().is_some_and(JoinHandle::is_finished);
        ended.then(|| self.view.status().trouble.unwrap_or_default())
    }
}

impl Drop for GlobalTable {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && let Err(panic) = thread.join()
        {
            std::panic::resume_unwind(panic);
        }
    }
}
