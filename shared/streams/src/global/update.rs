//! Keeps a global table up to date: opens it at its positions, and takes round after round of
//! records into it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{GLOBAL, GlobalProcessor, GlobalTableConfig, GlobalView, Positions, Rows};
use crate::broker::{
    Broker, BrokerError, Isolation, OffsetSpec, Reader, Result as BrokerResult, TopicPartition,
};
use crate::error::Result;
use crate::folder::FolderError;
use crate::record::Batch;
use crate::store::rocks::{RocksStore, mark};
use crate::store::{Checkpoint, Claim, Store, StoreError, TopicIds};

/// Longest wait for records, in which a stop is not seen.
const WAIT: Duration = Duration::from_millis(20);
/// Between two tries to reach a broker that is away, or a topic that is not there.
const PAUSE: Duration = Duration::from_millis(200);
/// Records of one partition in one round (bytes).
const ROUND_BYTES_MAX: usize = 64 << 10;
/// The ends of the topics are asked after so many rounds: about once a second where nothing comes.
const ROUNDS_PER_END: u32 = 50;

/// Damaged stores that one run moves aside before it gives up, as for an application's.
const REBUILDS_MAX: u32 = 2;

/// A table's run: what it reads from, what it makes of it, and who looks.
pub(super) struct Run<'a> {
    pub(super) broker: &'a dyn Broker,
    pub(super) processor: &'a dyn GlobalProcessor,
    pub(super) config: &'a GlobalTableConfig,
    pub(super) view: &'a GlobalView,
    pub(super) stopped: &'a dyn Fn() -> bool,
}

impl Run<'_> {
    /// Runs until it is stopped. A damaged store is moved aside and built anew.
    pub(super) fn run(&self) -> Result<()> {
        let mut rebuilds = 0;
        loop {
            let Some(cluster) = self.patiently(|| self.broker.cluster_id())? else {
                return Ok(());
            };
            let folder = self.config.folder.join(format!("{}-{cluster}", self.config.name));
            let outcome = self.run_in(&folder);
            self.view.tell(|status| status.is_caught_up = false);
            let Err(crate::Error::Store(StoreError::Damaged { cause, .. })) = &outcome else {
                return outcome;
            };
            // Else the next one would end where this one did.
            mark(&folder, cause).map_err(|source| FolderError::Io { folder, source })?;
            if rebuilds == REBUILDS_MAX || (self.stopped)() {
                return outcome;
            }
            rebuilds += 1;
        }
    }

    /// Opens the store, and runs on it; nothing holds it afterwards.
    fn run_in(&self, folder: &Path) -> Result<()> {
        let tables = self.processor.tables();
        let store = Arc::new(RocksStore::open(folder, tables, self.config.memory)?);
        let outcome = self.follow(&store);
        self.view.set_store(None);
        // Who is looking into it right now is done in a moment.
        while Arc::strong_count(&store) > 1 {
            std::thread::sleep(Duration::from_millis(1));
        }
        outcome
    }

    fn follow(&self, store: &Arc<RocksStore>) -> Result<()> {
        let (broker, view) = (self.broker, self.view);
        let opened = self.patiently(|| {
            let (at, ids) = partitions(broker, &self.config.topics)?;
            let starts = broker.offsets(&at, OffsetSpec::Start)?;
            let ends = broker.offsets(&at, OffsetSpec::End(Isolation::ReadCommitted))?;
            Ok((at, ids, starts, ends))
        })?;
        let Some((at, ids, starts, ends)) = opened else {
            return Ok(());
        };
        let positions = positions(store, at, &ids, (&starts, &ends))?;
        let reader = self.patiently(|| broker.reader(&positions, Isolation::ReadCommitted))?;
        let Some(reader) = reader else {
            return Ok(());
        };
        let processor = self.processor;
        let mut update = Update { processor, store, view, reader, positions, ids };
        update.publish();
        view.set_store(Some(store.clone()));
        let mut goal = Some(ends);
        let mut rounds: u32 = 0;
        while !(self.stopped)() {
            view.check()?;
            match update.round() {
                Err(crate::Error::Broker(error)) if error.is_unavailable() => wait(view, &error),
                other => other?,
            }
            if goal.as_ref().is_some_and(|goal| update.lag(goal) == 0) {
                goal = None;
                view.tell(|status| status.is_caught_up = true);
            }
            rounds = rounds.wrapping_add(1);
            if rounds.is_multiple_of(ROUNDS_PER_END) {
                update.ask_lag(broker)?;
            }
        }
        Ok(())
    }

    /// Repeats a call while the broker is away; `None` when stopped meanwhile.
    fn patiently<T>(&self, call: impl Fn() -> BrokerResult<T>) -> Result<Option<T>> {
        while !(self.stopped)() {
            match call() {
                Err(error) if error.is_unavailable() => wait(self.view, &error),
                other => {
                    self.view.tell(|status| status.trouble = None);
                    return Ok(Some(other?));
                }
            }
        }
        Ok(None)
    }
}

fn wait(view: &GlobalView, error: &BrokerError) {
    view.trouble(error);
    std::thread::sleep(PAUSE);
}

/// All partitions of the topics, and which topics they are; one that is not there yet is waited for.
fn partitions(
    broker: &dyn Broker,
    topics: &[String],
) -> BrokerResult<(Vec<TopicPartition>, TopicIds)> {
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let (mut all, mut ids) = (Vec::new(), BTreeMap::new());
    for (topic, found) in topics.iter().zip(broker.identify_topics(&names)?) {
        let Some(found) = found.filter(|found| found.partitions > 0) else {
            let cause = format!("topic {topic} is not there yet");
            return Err(BrokerError::Unavailable { what: "global table", cause });
        };
        all.extend((0..found.partitions).map(|p| TopicPartition::new(topic, p)));
        if !found.id.is_empty() {
            ids.insert(topic.clone(), found.id);
        }
    }
    Ok((all, ids.into()))
}

/// Where to go on. Rows of records that are gone, or that the topics never held, are set aside; so
/// are those of a topic that was made anew.
fn positions(
    store: &RocksStore,
    at: Vec<TopicPartition>,
    ids: &TopicIds,
    (starts, ends): (&[u64], &[u64]),
) -> Result<Positions> {
    let checkpoint = store.checkpoint(GLOBAL)?.unwrap_or_default();
    let known: Vec<_> = at.iter().map(|at| checkpoint.input(&at.to_string())).collect();
    let places = at.iter().zip(&known).zip(starts.iter().zip(ends));
    let gone = places.filter_map(|((at, known), (start, end))| {
        let known = known.filter(|known| known < start || known > end)?;
        Some(format!("{at}: it stands at offset {known}, the topic holds {start}..{end}"))
    });
    let anew = checkpoint.ids.iter().filter_map(|(topic, former)| {
        let id = ids.get(topic).filter(|id| *id != former)?;
        Some(format!("topic {topic} was made anew: its id was {former}, now it is {id}"))
    });
    let causes: Vec<String> = gone.chain(anew).collect();
    let is_kept = causes.is_empty();
    if !is_kept {
        store.quarantine(GLOBAL, Claim::default(), &causes.join("; "))?;
    }
    let from = |(known, start): (Option<u64>, &u64)| known.filter(|_| is_kept).unwrap_or(*start);
    Ok(at.into_iter().zip(known.into_iter().zip(starts).map(from)).collect())
}

struct Update<'a> {
    processor: &'a dyn GlobalProcessor,
    store: &'a RocksStore,
    view: &'a GlobalView,
    reader: Box<dyn Reader>,
    positions: Positions,
    /// Which topics they are of.
    ids: TopicIds,
}

impl Update<'_> {
    /// Takes what can be fetched into the rows, in one batch.
    fn round(&mut self) -> Result<()> {
        self.reader.wait(WAIT)?;
        let mut rows = Rows::new(self.store);
        let mut batches = Vec::new();
        let mut moved = false;
        for (slot, (at, position)) in self.positions.iter_mut().enumerate() {
            let mut batch = Batch::default();
            let behind = match self.reader.fetch(slot, ROUND_BYTES_MAX, &mut batch) {
                // What the others have brought is not lost for it.
                Err(error) if error.is_unavailable() => {
                    self.view.trouble(&error);
                    *position
                }
                other => other?,
            };
            moved |= behind > *position;
            *position = behind.max(*position);
            for index in 0..batch.len() {
                self.processor.process(&batch.get(index, &at.topic, at.partition), &mut rows)?;
            }
            batches.push(batch);
        }
        if !moved {
            return Ok(());
        }
        let inputs = self.positions.iter().map(|(at, offset)| (at.to_string(), *offset)).collect();
        let mut changes = rows.into_batch();
        let ids = self.ids.clone();
        changes.checkpoint(GLOBAL, Checkpoint { inputs, ids, ..Checkpoint::default() });
        self.store.apply(&changes)?;
        self.publish();
        for ((at, _), batch) in self.positions.iter().zip(&batches) {
            for index in 0..batch.len() {
                self.processor.applied(&batch.get(index, &at.topic, at.partition));
            }
        }
        self.processor.advanced();
        Ok(())
    }

    fn publish(&self) {
        self.view.publish(&self.positions);
    }

    /// Offsets between here and these ends.
    fn lag(&self, ends: &[u64]) -> u64 {
        let left = |(&end, (_, position)): (&u64, &(_, u64))| end.saturating_sub(*position);
        ends.iter().zip(&self.positions).map(left).sum()
    }

    fn ask_lag(&self, broker: &dyn Broker) -> Result<()> {
        let at: Vec<_> = self.positions.iter().map(|(at, _)| at.clone()).collect();
        match broker.offsets(&at, OffsetSpec::End(Isolation::ReadCommitted)) {
            Ok(ends) => {
                let lag = self.lag(&ends);
                self.view.tell(|status| (status.lag, status.trouble) = (lag, None));
            }
            Err(error) if error.is_unavailable() => {
                self.view.trouble(&error);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}
