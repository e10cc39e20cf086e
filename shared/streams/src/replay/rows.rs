//! The rows that a replay has built, beside the changelogs and beside a store.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use super::partition_reader::PartitionReader;
use super::{Difference, ReplayReport};
use crate::broker::{Broker, TopicPartition};
use crate::error::Result;
use crate::record::Record;
use crate::stamp::{STAMP, Stamp};
use crate::store::{Row, Store};
use crate::task::TaskEnv;
use crate::topology::{Backing, ToChangelog};

/// Compares all tables of a partition.
pub(super) fn compare(
    broker: &dyn Broker,
    env: &TaskEnv,
    partition: u32,
    against: Option<&dyn Store>,
    report: &mut ReplayReport,
) -> Result<()> {
    for (table, spec) in env.topology.stores.iter().enumerate() {
        if let Backing::Changelog { .. } = &spec.backing {
            with_changelog(broker, env, (table, partition), report)?;
        }
        if let Some(store) = against {
            with_store(env, (table, partition), store, report)?;
        }
    }
    Ok(())
}

/// Every row must be the last of its key on the changelog.
fn with_changelog(
    broker: &dyn Broker,
    env: &TaskEnv,
    (table, partition): (usize, u32),
    report: &mut ReplayReport,
) -> Result<()> {
    let Backing::Changelog { to, topic, .. } = &env.topology.stores[table].backing else {
        return Ok(());
    };
    let at = TopicPartition::new(topic, partition);
    let (mut row, mut value) = (Vec::new(), Vec::new());
    let keys = last_of_each_key(broker, &at, &mut |key, record, stamp| {
        let there = env.store.get(table, partition, key, &mut row)?;
        let replayed = Row::decode(&row).ok().filter(|_| there);
        report.rows += 1;
        if !is_row(record, stamp, replayed.map(|row| (key, row)), *to, &mut value) {
            let (place, offset) = (topic.clone(), Some(record.offset));
            let recorded = shown(record, stamp.sequence);
            let sequence = replayed.map_or(0, |r| r.sequence);
            let replayed = format!("{} #{sequence}", String::from_utf8_lossy(&value));
            report.note(Difference { place, partition, offset, recorded, replayed });
        }
        Ok(())
    })?;
    let mut unseen = Vec::new();
    env.store.scan(table, partition, &[], &mut |key, _| {
        if !keys.contain(key) {
            unseen.push(String::from_utf8_lossy(key).into_owned());
        }
        true
    })?;
    for key in unseen {
        let (place, offset) = (topic.clone(), None);
        let (recorded, replayed) = ("nothing".to_owned(), format!("a row of {key}"));
        report.note(Difference { place, partition, offset, recorded, replayed });
    }
    Ok(())
}

/// Whether a changelog's record is the one of a row, or of none; `value` is what a record of the
/// row would hold.
pub(super) fn is_row(
    record: &Record<'_>,
    stamp: &Stamp,
    row: Option<(&[u8], Row<'_>)>,
    to: ToChangelog,
    value: &mut Vec<u8>,
) -> bool {
    value.clear();
    if let Some((key, row)) = row {
        to(key, row.value, value);
    }
    row.map(|(_, r)| (r.sequence, r.timestamp, value.as_slice()))
        == record.value.map(|v| (stamp.sequence, record.time(), v))
}

/// Which keys a changelog holds, by their hashes: 16 bytes a key.
pub(super) struct Keys {
    hasher: RandomState,
    /// The offset of each key's last record.
    last: HashMap<u64, u64>,
}

impl Keys {
    pub(super) fn contain(&self, key: &[u8]) -> bool {
        self.last.contains_key(&self.hasher.hash_one(key))
    }
}

/// Takes a key, and the last record of it.
type Visit<'a> = dyn FnMut(&[u8], &Record<'_>, &Stamp) -> Result<()> + 'a;

/// Visits the last record of each key that is stamped. Only the place on the topic says which that
/// is: the row of a key that was deleted and put again counts from 1 again.
pub(super) fn last_of_each_key(
    broker: &dyn Broker,
    at: &TopicPartition,
    visit: &mut Visit<'_>,
) -> Result<Keys> {
    let mut keys = Keys { hasher: RandomState::new(), last: HashMap::new() };
    let stamp_of = |record: &Record<'_>| record.headers.get(STAMP).and_then(Stamp::decode);
    let mut reader = PartitionReader::whole(broker, at.clone())?;
    while let Some(record) = reader.head()? {
        if let (Some(key), Some(_)) = (record.key, stamp_of(&record)) {
            keys.last.insert(keys.hasher.hash_one(key), record.offset);
        }
        reader.advance();
    }
    let mut reader = PartitionReader::whole(broker, at.clone())?;
    while let Some(record) = reader.head()? {
        if let (Some(key), Some(stamp)) = (record.key, stamp_of(&record))
            && keys.last.get(&keys.hasher.hash_one(key)).is_none_or(|o| record.offset >= *o)
        {
            visit(key, &record, &stamp)?;
        }
        reader.advance();
    }
    Ok(keys)
}

fn shown(record: &Record<'_>, sequence: u64) -> String {
    let text = record.value.map(String::from_utf8_lossy).unwrap_or_default();
    format!("{text} #{sequence} at {}", record.timestamp)
}

/// Every row must be the one of the store, and no other may be there.
fn with_store(
    env: &TaskEnv,
    (table, partition): (usize, u32),
    store: &dyn Store,
    report: &mut ReplayReport,
) -> Result<()> {
    let name = env.topology.stores[table].name.clone();
    let mut differ = Vec::new();
    let mut compare = |mine: &dyn Store, other: &dyn Store, only_missing: bool| -> Result<u64> {
        let (mut rows, mut failed, mut there) = (0, None, Vec::new());
        mine.scan(table, partition, &[], &mut |key, row| {
            rows += 1;
            match other.get(table, partition, key, &mut there) {
                Ok(found) if found && (only_missing || there == row) => true,
                Ok(found) => {
                    differ.push((key.to_vec(), found, only_missing));
                    differ.len() < super::DIFFERENCES_MAX
                }
                Err(error) => {
                    failed = Some(error);
                    false
                }
            }
        })?;
        failed.map_or(Ok(rows), |error| Err(error.into()))
    };
    report.rows += compare(&*env.store, store, false)?;
    compare(store, &*env.store, true)?;
    for (key, found, only_in_store) in differ {
        let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        let (recorded, replayed) = match (found, only_in_store) {
            (true, _) => (format!("another row of key {key}"), "a row of its own".to_owned()),
            (false, true) => (format!("a row of key {key}"), "nothing".to_owned()),
            (false, false) => (format!("no row of key {key}"), "a row".to_owned()),
        };
        let place = format!("store {name}");
        report.note(Difference { place, partition, offset: None, recorded, replayed });
    }
    Ok(())
}
