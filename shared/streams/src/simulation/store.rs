//! A disk that outlives its process, and may lose its last batches with the power.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::machine::Machine;
use super::plan::Fault;
use crate::store::memory::Tables;
use crate::store::{Checkpoint, Claim, Claims, Result, Store, StoreBatch, StoreError};

/// Batches that a power loss can take back.
const UNSYNCED_MAX: usize = 6;

/// What lies on a process's disk.
#[derive(Default)]
pub(super) struct Disk {
    tables: Tables,
    /// How it was before each of the last batches.
    earlier: VecDeque<Tables>,
    /// The process's own: they do not outlive it.
    claims: Arc<Claims>,
    /// Why partitions were moved aside.
    pub(super) quarantined: Vec<String>,
    pub(super) full: bool,
}

impl Disk {
    /// A process begins: nobody has claimed anything.
    pub(super) fn begin(&mut self) {
        self.claims = Arc::default();
    }

    fn keep(&mut self) {
        self.earlier.push_back(self.tables.clone());
        if self.earlier.len() > UNSYNCED_MAX {
            self.earlier.pop_front();
        }
    }

    /// Falls back by so many batches, as far as they were not synced.
    pub(super) fn fall_back(&mut self, batches: usize) {
        for _ in 0..batches {
            if let Some(earlier) = self.earlier.pop_back() {
                self.tables = earlier;
            }
        }
    }

    /// Every row of a partition: table, key, row.
    pub(super) fn rows(&self, tables: usize, partition: u32) -> Vec<(usize, Vec<u8>, Vec<u8>)> {
        let rows = |t: usize| {
            let rows = self.tables.rows(t, partition, &[]);
            rows.map(move |(key, row)| (t, key.to_vec(), row.to_vec()))
        };
        (0..tables).flat_map(rows).collect()
    }

    pub(super) fn checkpoint(&self, partition: u32) -> Option<&Checkpoint> {
        self.tables.checkpoint(partition)
    }
}

/// A process's store on its disk.
pub(super) struct SimulatedStore {
    pub(super) machine: Machine,
}

impl SimulatedStore {
    fn failed(&self, what: &'static str, cause: &str) -> StoreError {
        let folder = format!("disk of process {}", self.machine.process);
        StoreError::Io { folder, what, cause: cause.to_owned() }
    }

    fn claims(&self) -> Arc<Claims> {
        self.machine.world().disks.entry(self.machine.process).or_default().claims.clone()
    }

    fn read<T>(&self, read: impl FnOnce(&Tables) -> T) -> Result<T> {
        let world = self.machine.world();
        let alive = world.check_alive(self.machine.process, self.machine.life);
        alive.map_err(|error| self.failed("read", &error.to_string()))?;
        let disk = world.disks.get(&self.machine.process);
        disk.map(|d| read(&d.tables)).ok_or_else(|| self.failed("read", "there is no disk"))
    }

    /// Changes the disk, as a whole or not at all.
    fn write(&self, what: &'static str, change: impl FnOnce(&mut Disk)) -> Result<()> {
        let Machine { process, life, .. } = self.machine;
        let mut world = self.machine.world();
        let alive = world.check_alive(process, life);
        alive.map_err(|error| self.failed(what, &error.to_string()))?;
        let fault = world.decide(process, what);
        let Some(disk) = world.disks.get_mut(&process) else {
            return Err(self.failed(what, "there is no disk"));
        };
        if disk.full {
            return Err(self.failed(what, "no space left on the device"));
        }
        match fault {
            Fault::None | Fault::Repeated(_) => {
                change(disk);
                Ok(())
            }
            Fault::CrashAfter | Fault::Unacknowledged => {
                change(disk);
                Err(self.failed(what, "it failed in the end"))
            }
            Fault::CrashBefore | Fault::Lost | Fault::Delayed(_) => {
                Err(self.failed(what, "it failed"))
            }
        }
    }
}

impl Store for SimulatedStore {
    fn claim(&self, partition: u32) -> Claim {
        self.claims().claim(partition)
    }

    fn checkpoint(&self, partition: u32) -> Result<Option<Checkpoint>> {
        self.read(|tables| tables.checkpoint(partition).cloned())
    }

    fn get(&self, table: usize, partition: u32, key: &[u8], into: &mut Vec<u8>) -> Result<bool> {
        into.clear();
        self.read(|tables| {
            let row = tables.get(table, partition, key);
            into.extend_from_slice(row.map_or(&[], Vec::as_slice));
            row.is_some()
        })
    }

    fn scan(
        &self,
        table: usize,
        partition: u32,
        from: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<()> {
        // A copy, so that the visitor may read other rows.
        let tables = self.read(Tables::clone)?;
        tables.rows(table, partition, from).all(|(key, row)| visit(key, row));
        Ok(())
    }

    fn holds(&self, partition: u32, claim: Claim) -> bool {
        self.claims().holds(partition, claim)
    }

    fn apply(&self, batch: &StoreBatch) -> Result<BTreeSet<u32>> {
        self.claims().write(batch, |lost| {
            self.write("store batch", |disk| {
                disk.keep();
                disk.tables.apply(batch, lost);
            })
        })
    }

    fn clear(&self, table: usize, partition: u32, claim: Claim) -> Result<()> {
        self.claims().empty(partition, claim, || {
            self.write("clear", |disk| {
                disk.keep();
                disk.tables.clear(table, partition);
            })
        })
    }

    fn quarantine(&self, partition: u32, claim: Claim, cause: &str) -> Result<()> {
        self.claims().empty(partition, claim, || {
            self.write("quarantine", |disk| {
                disk.keep();
                disk.tables.forget(partition);
                disk.quarantined.push(cause.to_owned());
            })
        })
    }
}
