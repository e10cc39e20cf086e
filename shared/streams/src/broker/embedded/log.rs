//! The durable log under the embedded broker: one RocksDB with the records, the catalogue of
//! topics and the groups' offsets.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rocksdb::{BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, DBRecoveryMode, Options};

use super::catalogue::read_catalogue;
use super::codec;
use super::damage::{self, failed};
use super::reached::Reached;
use crate::broker::coordinator::Coordinator;
use crate::broker::{BrokerError, Result, TopicDescription, TopicPartition};
use crate::manifest_length::ManifestLength;

/// Records by topic id, partition, offset.
pub(super) const RECORDS: &str = "records";
/// Last offset of each key, compacted topics only.
pub(super) const LATEST: &str = "latest";
/// Catalogue, group offsets, log starts.
pub(super) const META: &str = "meta";

const CLUSTER: &str = "cluster";
/// How records lie in their rows: since 2 in chunks.
const FORMAT: &str = "format";
const FORMAT_NOW: &str = "2";
pub(super) const TOPIC: &str = "topic/";
pub(super) const OFFSET: &str = "offset/";
pub(super) const START: &str = "start/";

/// One partition's bounds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bounds {
    /// First offset that is still there.
    pub(super) start: u64,
    /// Next offset to give out.
    pub(super) next: u64,
    /// Next offset that readers wait for: everything below is durable.
    pub(super) end: u64,
}

#[derive(Debug)]
pub(super) struct Topic {
    pub(super) id: u32,
    pub(super) description: TopicDescription,
    pub(super) partitions: Vec<Bounds>,
}

/// What the lock guards.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) topics: BTreeMap<String, Topic>,
    pub(super) coordinator: Coordinator,
    /// Partitions that a batch is being written to.
    pub(super) turns: BTreeSet<TopicPartition>,
    /// Writes admitted so far.
    pub(super) admitted: u64,
    /// Numbers of those that are not visible yet.
    pub(super) unpublished: BTreeSet<u64>,
    /// Writes done so far; the sync that covers a write carries at least its number.
    pub(super) written: u64,
}

impl State {
    /// Whether all writes admitted up to this one are visible, or have failed.
    pub(super) fn is_settled(&self, number: u64) -> bool {
        self.unpublished.range(..=number).next().is_none()
    }
}

/// Longest wait for commits on their way to the disk.
const SETTLE: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
struct Syncs {
    synced: u64,
    running: bool,
    /// After a failed write or sync nobody knows what is on the disk: nothing more is taken.
    failed: Option<BrokerError>,
}

pub(super) struct Log {
    pub(super) db: DB,
    /// Of a log that is written here. Dropped after the database, whose last write it then has.
    manifest: Option<ManifestLength>,
    reached: Option<Reached>,
    cluster: String,
    state: Mutex<State>,
    /// Signalled when an end moves or a group has news.
    changed: Condvar,
    /// Signalled when a turn is over.
    pub(super) turn_over: Condvar,
    syncs: Mutex<Syncs>,
    sync_done: Condvar,
}

/// How much memory the log's own write buffers may take, in all (bytes).
const WRITE_BUFFER_BYTES: usize = 32 << 20;
/// And blocks that were read from its files: most is read at the end, out of the write buffers.
const BLOCK_CACHE_BYTES: usize = 16 << 20;

/// Of the blocks in its files. Their indexes stay in memory, some 40 bytes for each block of a log that
/// may be kept for ever: 13 MiB for 10 GiB, where RocksDB's 4 KiB would give a block to each row.
const BLOCK_BYTES: usize = 32 << 10;

pub(super) fn options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    // A torn tail is what a crash leaves. Damage before it would mean that acknowledged records
    // are gone: RocksDB's default would drop them silently, this one refuses to open.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_db_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_max_total_wal_size(256 << 20);
    options.set_keep_log_file_num(2);
    options
}

pub(super) fn families() -> Vec<ColumnFamilyDescriptor> {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(&Cache::new_lru_cache(BLOCK_CACHE_BYTES));
    blocks.set_block_size(BLOCK_BYTES);
    [RECORDS, LATEST, META]
        .map(|name| {
            let mut options = Options::default();
            options.set_block_based_table_factory(&blocks);
            options.set_write_buffer_size(WRITE_BUFFER_BYTES / 2);
            // A log is written once and read mostly at its end: few rewrites count for more than
            // few files.
            options.set_compaction_style(rocksdb::DBCompactionStyle::Universal);
            options.set_level_zero_file_num_compaction_trigger(8);
            // Rows of many records come compressed; the others are where they lie for long.
            options.set_compression_type(rocksdb::DBCompressionType::None);
            options.set_bottommost_compression_type(rocksdb::DBCompressionType::Lz4);
            ColumnFamilyDescriptor::new(name, options)
        })
        .into()
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere leaves the state consistent: it changes in single steps under the lock.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Log {
    pub(super) fn open(folder: &Path) -> Result<Log> {
        damage::check(folder)?;
        let failed = |error| damage::failure(folder, "open", &error);
        // A write-ahead log that is missing, or lacks its end though a later one follows, would
        // otherwise be left out silently.
        let checked = "track_and_verify_wals=true";
        let mut options = options().get_options_from_string(checked).map_err(failed)?;
        options.set_track_and_verify_wals_in_manifest(true);
        let db = DB::open_cf_descriptors(&options, folder, families()).map_err(failed)?;
        let reached = damage::check_reached(&db)?;
        let log = Self::load(db, true)?;
        Ok(Log { manifest: Some(ManifestLength::of(folder)), reached: Some(reached), ..log })
    }

    /// Opens a log that another process writes. `scratch` is a folder of this process's own.
    pub(super) fn follow(folder: &Path, scratch: &Path) -> Result<Log> {
        let mut options = options();
        options.create_if_missing(false);
        // A secondary must keep every file open: the owner may delete one at any time.
        options.set_max_open_files(-1);
        let db = DB::open_cf_descriptors_as_secondary(&options, folder, scratch, families())
            .map_err(|error| damage::failure(folder, "follow", &error))?;
        Self::load(db, false)
    }

    /// Takes in what the owner has written since (followers only).
    pub(super) fn catch_up(&self) -> Result<()> {
        self.db.try_catch_up_with_primary().map_err(failed(&self.db, "follow"))?;
        let (topics, _) = read_catalogue(&self.db)?;
        self.state().topics = topics;
        Ok(())
    }

    fn load(db: DB, writable: bool) -> Result<Log> {
        let meta = family(&db, META)?;
        let cluster = match db.get_cf(meta, CLUSTER).map_err(failed(&db, "open"))? {
            Some(id) => String::from_utf8_lossy(&id).into_owned(),
            None if !writable => {
                let cause = "no embedded log lies in this folder".to_owned();
                return Err(BrokerError::Fatal { what: "follow", cause });
            }
            None => {
                let id = crate::folder::fresh_id("embedded");
                db.put_cf(meta, FORMAT, FORMAT_NOW).map_err(failed(&db, "open"))?;
                db.put_cf(meta, CLUSTER, &id).map_err(failed(&db, "open"))?;
                id
            }
        };
        let format = db.get_cf(meta, FORMAT).map_err(failed(&db, "open"))?;
        if format.as_deref() != Some(FORMAT_NOW.as_bytes()) {
            let found = format.map_or("1".into(), |f| String::from_utf8_lossy(&f).into_owned());
            let folder = db.path().display();
            let cause = format!(
                "the embedded log in {folder} is of format {found}, and this program reads \
                 {FORMAT_NOW}: open it with the program that wrote it"
            );
            return Err(BrokerError::Fatal { what: "open", cause });
        }
        let (topics, coordinator) = read_catalogue(&db)?;
        Ok(Log {
            db,
            manifest: None,
            reached: None,
            cluster,
            state: Mutex::new(State { topics, coordinator, ..State::default() }),
            changed: Condvar::new(),
            turn_over: Condvar::new(),
            syncs: Mutex::default(),
            sync_done: Condvar::new(),
        })
    }

    pub(super) fn cluster(&self) -> &str {
        &self.cluster
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Wakes all that wait for records or news.
    pub(super) fn notify(&self) {
        self.changed.notify_all();
    }

    /// Waits until `ready` or until `wait` is over.
    pub(super) fn wait_until(&self, wait: Duration, ready: impl Fn(&State) -> bool) {
        if wait.is_zero() {
            return;
        }
        let waiting = |state: &mut State| !ready(state);
        let guard = self.changed.wait_timeout_while(self.state(), wait, waiting);
        drop(guard.unwrap_or_else(PoisonError::into_inner));
    }

    /// Creates a topic; one that is there stays as it is.
    pub(super) fn create_topic(&self, topic: &TopicDescription) -> Result<()> {
        let mut state = self.state();
        if state.topics.contains_key(&topic.name) {
            return Ok(());
        }
        let id = state.topics.values().map(|t| t.id + 1).max().unwrap_or(0);
        let meta = family(&self.db, META)?;
        let row = codec::encode_topic(id, topic);
        let key = format!("{TOPIC}{}", topic.name);
        self.db.put_cf(meta, key, row).map_err(failed(&self.db, "create"))?;
        let partitions = vec![Bounds::default(); topic.partitions as usize];
        let entry = Topic { id, description: topic.clone(), partitions };
        state.topics.insert(topic.name.clone(), entry);
        state.written += 1;
        let written = state.written;
        drop(state);
        self.sync(written)
    }

    /// Waits until all that has been admitted by now is visible: a commit that is on its way to
    /// the disk decides what the group's offsets are, so nobody may read them before it is there.
    pub(super) fn settle(&self) -> Result<()> {
        let admitted = self.state().admitted;
        self.wait_until(SETTLE, |state| state.is_settled(admitted));
        match self.state().is_settled(admitted) {
            true => Ok(()),
            false => Err(BrokerError::Unavailable {
                what: "committed offsets",
                cause: "an earlier commit is still being written".to_owned(),
            }),
        }
    }

    /// After a failed write the log is at its end, in this process.
    pub(super) fn end(&self, error: &BrokerError) {
        lock(&self.syncs).failed.get_or_insert_with(|| error.clone());
        self.changed.notify_all();
    }

    /// Whether the log can still be written; else why it cannot.
    pub(super) fn check_alive(&self) -> Result<()> {
        lock(&self.syncs).failed.clone().map_or(Ok(()), Err)
    }

    /// Waits until everything up to write `written` is on the disk. The first that comes syncs
    /// for all that have written by then.
    pub(super) fn sync(&self, written: u64) -> Result<()> {
        let mut syncs = lock(&self.syncs);
        loop {
            if let Some(error) = &syncs.failed {
                return Err(error.clone());
            }
            if syncs.synced >= written {
                return Ok(());
            }
            if syncs.running {
                syncs = self.sync_done.wait(syncs).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            syncs.running = true;
            drop(syncs);
            let covers = self.state().written;
            let sequence = self.db.latest_sequence_number();
            let outcome = self.db.flush_wal(true);
            if outcome.is_ok() {
                self.manifest.iter().for_each(ManifestLength::renew);
                self.reached.iter().for_each(|reached| reached.note(sequence));
            }
            syncs = lock(&self.syncs);
            syncs.running = false;
            match outcome {
                Ok(()) => syncs.synced = syncs.synced.max(covers),
                Err(error) => syncs.failed = Some(failed(&self.db, "sync")(error)),
            }
            self.sync_done.notify_all();
        }
    }
}

pub(super) fn bounds(state: &State, at: &TopicPartition) -> Result<Bounds> {
    let topic = state.topics.get(&at.topic);
    let found = topic.and_then(|t| t.partitions.get(at.partition as usize));
    found.copied().ok_or_else(|| BrokerError::UnknownPartition(at.clone()))
}

pub(super) fn bounds_mut<'s>(state: &'s mut State, at: &TopicPartition) -> Result<&'s mut Bounds> {
    let topic = state.topics.get_mut(&at.topic);
    let found = topic.and_then(|t| t.partitions.get_mut(at.partition as usize));
    found.ok_or_else(|| BrokerError::UnknownPartition(at.clone()))
}

pub(super) fn family<'d>(db: &'d DB, name: &'static str) -> Result<&'d rocksdb::ColumnFamily> {
    db.cf_handle(name).ok_or_else(|| BrokerError::Fatal {
        what: "open",
        cause: format!("the embedded log has no column family {name:?}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_of_another_format_is_not_read() {
        let folder = tempfile::tempdir().expect("a folder");
        drop(Log::open(folder.path()).expect("a new log"));
        for (row, told) in [(None, "format 1"), (Some("3"), "format 3")] {
            let db = DB::open_cf_descriptors(&options(), folder.path(), families()).expect("a log");
            let meta = family(&db, META).expect("a family");
            match row {
                None => db.delete_cf(meta, FORMAT),
                Some(row) => db.put_cf(meta, FORMAT, row),
            }
            .expect("written");
            drop(db);
            let Err(refused) = Log::open(folder.path()) else { panic!("{told} was read") };
            let refused = refused.to_string();
            assert!(refused.contains(told) && refused.contains("reads 2"), "{refused}");
        }
    }
}
