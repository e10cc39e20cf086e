//! The rows that a replay has built, beside the changelogs and beside a store.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use super::lane::Lane;
use super::{Difference, ReplayReport};
use crate::broker::{Broker, TopicPartition};
use crate::error::Result;
use crate::record::Record;
use crate::stamp::{STAMP, Stamp};
use crate::store::{Row, Store};
use crate::task::TaskEnv;
use crate::topology::Backing;

/// Compares all tables of a partition.
pub(super) fn compare(
    broker: &dyn Broker,
    env: &TaskEnv,
    partition: u32,
    against: Option<&dyn Store>,
    report: &mut ReplayReport,
) -> Result<()> {
    for (table, spec) in env.topology.stores.iter().enumerate() {
        if let Backing::Changelog { topic, .. } = &spec.backing {
            let lane = Lane::whole(broker, TopicPartition::new(topic, partition))?;
            with_changelog(env, table, lane, report)?;
        }
        if let Some(store) = against {
            with_store(env, (table, partition), store, report)?;
        }
    }
    Ok(())
}

/// Every row must be the last of its key on the changelog.
fn with_changelog(
    env: &TaskEnv,
    table: usize,
    mut lane: Lane,
    report: &mut ReplayReport,
) -> Result<()> {
    let partition = lane.at.partition;
    let Backing::Changelog { to, topic, .. } = &env.topology.stores[table].backing else {
        return Ok(());
    };
    // Hashes of keys whose last row was seen: 8 bytes a row.
    let (hasher, mut seen) = (RandomState::new(), HashSet::new());
    let (mut row, mut value) = (Vec::new(), Vec::new());
    while let Some(record) = lane.head()? {
        let stamp = record.headers.get(STAMP).and_then(Stamp::decode);
        if let (Some(key), Some(stamp)) = (record.key, stamp) {
            let there = env.store.get(table, partition, key, &mut row)?;
            let replayed = Row::decode(&row).filter(|_| there);
            let sequence = replayed.map_or(0, |r| r.sequence);
            if stamp.sequence >= sequence {
                seen.insert(hasher.hash_one(key));
                report.rows += 1;
                value.clear();
                if let Some(replayed) = replayed {
                    to(key, replayed.value, &mut value);
                }
                let same = replayed.map(|r| (r.sequence, r.timestamp, value.as_slice()))
                    == record.value.map(|v| (stamp.sequence, record.time(), v));
                if !same {
                    let offset = Some(record.offset);
                    let recorded = shown(&record, stamp.sequence);
                    let replayed = format!("{} #{sequence}", String::from_utf8_lossy(&value));
                    let place = topic.clone();
                    report.note(Difference { place, partition, offset, recorded, replayed });
                }
            }
        }
        lane.advance();
    }
    let mut unseen = Vec::new();
    env.store.scan(table, partition, &[], &mut |key, _| {
        if !seen.contains(&hasher.hash_one(key)) {
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
