//! The store on disk: one RocksDB per process, a column family per table, keys prefixed by the
//! partition, so that memory and files do not grow with the number of partitions.
//!
//! The write-ahead log is on and not synced: a killed process loses nothing; a power loss falls
//! back to an earlier batch, whose checkpoint says from where the topics must be replayed. All
//! tables are flushed together, so that their files alone are such an earlier batch, too.
//!
//! What damage is, and what becomes of it, is in `damage.rs`.

mod checkpoint;
mod damage;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rocksdb::checkpoint::Checkpoint as Snapshot;
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB,
    DBRecoveryMode, IteratorMode, Options, ReadOptions, WriteBatch, WriteBufferManager,
    WriteOptions,
};

use self::checkpoint::{decode_checkpoint, encode_checkpoint};
use self::damage::{failure, free_name};
pub(crate) use self::damage::{mark, set_aside};
use super::{Checkpoint, Claim, Claims, MemoryUse, Result, Store, StoreBatch, StoreError};
use crate::manifest_length::ManifestLength;

const CHECKPOINTS: &str = "checkpoints";
/// A table that every RocksDB has.
const DEFAULT: &str = "default";

/// How much memory the store may take, whatever the number of partitions (bytes).
#[derive(Clone, Copy, Debug)]
pub struct MemoryBounds {
    /// Cache of blocks read from files, their indexes and filters included.
    pub block_cache_bytes: usize,
    /// Rows not yet written to files.
    pub write_buffer_bytes: usize,
}

impl Default for MemoryBounds {
    fn default() -> Self {
        Self { block_cache_bytes: 32 << 20, write_buffer_bytes: 48 << 20 }
    }
}

/// Rows in a RocksDB.
pub struct RocksStore {
    db: DB,
    /// Dropped after the database, whose last write it then has.
    manifest: ManifestLength,
    folder: PathBuf,
    tables: Vec<String>,
    /// Of stores that the topology has no more.
    former: Vec<String>,
    claims: Claims,
    /// Held by who takes a snapshot to be kept.
    snapshots: Mutex<()>,
}

impl RocksStore {
    /// Opens (or makes) the store in `folder` with these tables; others that it has keep their
    /// rows. A damaged one is moved aside to a folder beside it, and an empty one takes its place: it
    /// is rebuilt from its topics.
    ///
    /// # Errors
    /// When the folder cannot be read or written.
    pub fn open(
        folder: &Path,
        tables: &[impl AsRef<str>],
        bounds: MemoryBounds,
    ) -> Result<RocksStore> {
        let tables: Vec<&str> = tables.iter().map(AsRef::as_ref).collect();
        let opened = match damage::known(folder)? {
            Some(cause) => Err(StoreError::Damaged { folder: folder.display().to_string(), cause }),
            None => Self::try_open(folder, &tables, bounds),
        };
        match opened {
            Err(StoreError::Damaged { cause, .. }) => {
                set_aside(folder, &cause)?;
                Self::try_open(folder, &tables, bounds)
            }
            other => other,
        }
    }

    fn try_open(folder: &Path, tables: &[&str], bounds: MemoryBounds) -> Result<RocksStore> {
        let cache = Cache::new_lru_cache(bounds.block_cache_bytes);
        let options = options(bounds).map_err(|error| failure(folder, "open", error))?;
        // RocksDB opens all families or none.
        let former = former_tables(folder, &options, tables);
        let families = tables.iter().copied().chain([CHECKPOINTS]);
        let families = families.chain(former.iter().map(String::as_str));
        let families =
            families.map(|name| ColumnFamilyDescriptor::new(name, family_options(&cache, bounds)));
        let db = DB::open_cf_descriptors(&options, folder, families);
        let db = db.map_err(|error| damage::failure_to_open(folder, error))?;
        let tables = tables.iter().map(|&name| name.to_owned()).collect();
        let (manifest, folder) = (ManifestLength::of(folder), folder.to_owned());
        Ok(RocksStore {
            manifest,
            db,
            folder,
            tables,
            former,
            claims: Claims::default(),
            snapshots: Mutex::default(),
        })
    }

    fn failed(&self, what: &'static str) -> impl Fn(rocksdb::Error) -> StoreError {
        let folder = self.folder.clone();
        move |error| failure(&folder, what, error)
    }

    fn family(&self, name: &str) -> Result<&ColumnFamily> {
        self.db.cf_handle(name).ok_or_else(|| self.damaged(format!("it has no table {name:?}")))
    }
}

impl RocksStore {
    /// The rows of the other partitions live in the same files, so what is moved aside is a
    /// snapshot of all (hard links), and only this partition is emptied.
    fn set_aside(&self, partition: u32, cause: &str) -> Result<()> {
        // Workers that open their partitions at once must not take the same name.
        let one_at_a_time = self.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
        let aside = free_name(&self.folder);
        let snapshot = Snapshot::new(&self.db).map_err(self.failed("quarantine"))?;
        snapshot.create_checkpoint(&aside).map_err(self.failed("quarantine"))?;
        drop(one_at_a_time);
        tracing::error!(partition, cause, aside = %aside.display(),
            "the store of this partition is quarantined and rebuilt from its topics");
        let mut writes = WriteBatch::default();
        for name in self.tables.iter().chain(&self.former) {
            self.delete_rows(name, partition, &mut writes)?;
        }
        writes.delete_cf(self.family(CHECKPOINTS)?, partition.to_be_bytes());
        self.db.write(writes).map_err(self.failed("quarantine"))
    }

    /// Adds the deletion of a table's rows of a partition.
    fn delete_rows(&self, table: &str, partition: u32, writes: &mut WriteBatch) -> Result<()> {
        let from = partition.to_be_bytes();
        let to = partition.saturating_add(1).to_be_bytes();
        writes.delete_range_cf(self.family(table)?, from, to);
        Ok(())
    }

    fn write(&self, batch: &StoreBatch, lost: &BTreeSet<u32>) -> Result<()> {
        let mut writes = WriteBatch::default();
        let families = self.tables.iter().map(|name| self.family(name));
        let families = families.collect::<Result<Vec<_>>>()?;
        let mut row = Vec::new();
        // In their order, each row is found a place for beside the one before.
        let mut sorted: Vec<_> = batch.writes(lost).collect();
        sorted.sort_by_key(|(table, partition, key, _)| (*table, *partition, *key));
        for (table, partition, key, value) in sorted {
            row_key(partition, key, &mut row);
            match value {
                Some(value) => writes.put_cf(families[table], &row, value),
                None => writes.delete_cf(families[table], &row),
            }
        }
        for (partition, checkpoint) in batch.checkpoints(lost) {
            let row = encode_checkpoint(checkpoint);
            writes.put_cf(self.family(CHECKPOINTS)?, partition.to_be_bytes(), row);
        }
        let mut options = WriteOptions::default();
        options.set_sync(false);
        options.set_memtable_insert_hint_per_batch(true);
        self.manifest.renew();
        self.db.write_opt(writes, &options).map_err(self.failed("write"))
    }
}

/// Tables that a folder has beside these: of stores that the topology has no more.
fn former_tables(folder: &Path, options: &Options, tables: &[&str]) -> Vec<String> {
    // A folder that cannot be listed is new, or the open will tell.
    let mut former = DB::list_cf(options, folder).unwrap_or_default();
    former
        .retain(|name| name != DEFAULT && name != CHECKPOINTS && !tables.contains(&name.as_str()));
    for name in &former {
        tracing::warn!(folder = %folder.display(), store = %name,
            "the topology has no such store any more: its rows stay and are not used");
    }
    former
}

fn options(bounds: MemoryBounds) -> std::result::Result<Options, rocksdb::Error> {
    // A write-ahead log that is missing, or lacks its end though a later one follows, is damage:
    // without this the batches in between would be left out silently.
    let mut options = Options::default().get_options_from_string("track_and_verify_wals=true")?;
    options.set_track_and_verify_wals_in_manifest(true);
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_paranoid_checks(true);
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    // Rows and the checkpoint that says what they stand for never reach files apart.
    options.set_atomic_flush(true);
    options.set_keep_log_file_num(2);
    let buffers = WriteBufferManager::new_write_buffer_manager(bounds.write_buffer_bytes, true);
    options.set_write_buffer_manager(&buffers);
    options.set_max_total_wal_size(4 * bounds.write_buffer_bytes as u64);
    Ok(options)
}

fn family_options(cache: &Cache, bounds: MemoryBounds) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    // Most look-ups of remembered ids miss: a filter answers them without a read.
    blocks.set_bloom_filter(10.0, false);
    blocks.set_cache_index_and_filter_blocks(true);
    // In small parts: a whole filter would be larger than a shard of the cache, and would be read
    // from its file at every look-up.
    blocks.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    blocks.set_partition_filters(true);
    blocks.set_metadata_block_size(8 << 10);
    blocks.set_pin_top_level_index_and_filter(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    // Fingerprints do not get smaller by it, and they are most of what is there.
    options.set_compression_type(rocksdb::DBCompressionType::None);
    options.set_write_buffer_size(bounds.write_buffer_bytes / 2);
    // Remembered ids are written once and mostly looked up in vain, which the filters answer: few
    // rewrites count for more than few files.
    options.set_compaction_style(rocksdb::DBCompactionStyle::Universal);
    options.set_level_zero_file_num_compaction_trigger(10);
    options
}

fn row_key(partition: u32, key: &[u8], into: &mut Vec<u8>) {
    into.clear();
    into.extend_from_slice(&partition.to_be_bytes());
    into.extend_from_slice(key);
}

impl Store for RocksStore {
    fn claim(&self, partition: u32) -> Claim {
        self.claims.claim(partition)
    }

    fn checkpoint(&self, partition: u32) -> Result<Option<Checkpoint>> {
        let row = self.db.get_cf(self.family(CHECKPOINTS)?, partition.to_be_bytes());
        let Some(row) = row.map_err(self.failed("read"))? else {
            return Ok(None);
        };
        let damaged = || self.damaged(format!("the checkpoint of partition {partition} is none"));
        decode_checkpoint(&row).map(Some).ok_or_else(damaged)
    }

    fn place(&self) -> String {
        self.folder.display().to_string()
    }

    fn get(&self, table: usize, partition: u32, key: &[u8], into: &mut Vec<u8>) -> Result<bool> {
        row_key(partition, key, into);
        let row = self.db.get_pinned_cf(self.family(&self.tables[table])?, &*into);
        let row = row.map_err(self.failed("read"))?;
        into.clear();
        into.extend_from_slice(row.as_deref().unwrap_or_default());
        Ok(row.is_some())
    }

    fn scan(
        &self,
        table: usize,
        partition: u32,
        from: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<()> {
        let mut start = Vec::new();
        row_key(partition, from, &mut start);
        let mut bounds = ReadOptions::default();
        if let Some(next) = partition.checked_add(1) {
            bounds.set_iterate_upper_bound(next.to_be_bytes().to_vec());
        }
        let mode = IteratorMode::From(&start, rocksdb::Direction::Forward);
        for row in self.db.iterator_cf_opt(self.family(&self.tables[table])?, bounds, mode) {
            let (key, value) = row.map_err(self.failed("scan"))?;
            if !visit(&key[4..], &value) {
                break;
            }
        }
        Ok(())
    }

    fn holds(&self, partition: u32, claim: Claim) -> bool {
        self.claims.holds(partition, claim)
    }

    fn apply(&self, batch: &StoreBatch) -> Result<BTreeSet<u32>> {
        self.claims.write(batch, |lost| self.write(batch, lost))
    }

    fn clear(&self, table: usize, partition: u32, claim: Claim) -> Result<()> {
        self.claims.empty(partition, claim, || {
            let mut writes = WriteBatch::default();
            self.delete_rows(&self.tables[table], partition, &mut writes)?;
            self.db.write(writes).map_err(self.failed("clear"))
        })
    }

    fn memory(&self) -> MemoryUse {
        let families = || self.tables.iter().map(String::as_str).chain([CHECKPOINTS]);
        let of = |name: &str, property: &str| {
            let family = self.db.cf_handle(name)?;
            self.db.property_int_value_cf(family, property).ok().flatten()
        };
        let sum = |property: &str| families().filter_map(|name| of(name, property)).sum();
        MemoryUse {
            memtables: sum("rocksdb.cur-size-all-mem-tables"),
            // One cache for all families.
            block_cache: of(CHECKPOINTS, "rocksdb.block-cache-usage").unwrap_or(0),
            table_readers: sum("rocksdb.estimate-table-readers-mem"),
        }
    }

    fn quarantine(&self, partition: u32, claim: Claim, cause: &str) -> Result<()> {
        self.claims.empty(partition, claim, || self.set_aside(partition, cause))
    }
}
