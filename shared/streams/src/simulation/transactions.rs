//! The transaction coordinator, with what a real one is known for: an end that is applied before
//! its markers are written, ends that arrive late or twice, time-outs, and no number that would
//! tell an old request from a new one of the same epoch (a broker before KIP-890, as librdkafka
//! sees it).

use std::collections::BTreeSet;

use super::world::{Message, World};
use crate::broker::member::check_member;
use crate::broker::{BrokerError, Membership, OffsetCommit, Result, TopicPartition};
use crate::record::Outgoing;

/// The coordinator aborts a transaction older than this (ms).
pub(super) const TIMEOUT_MS: u64 = 10_000;
/// Markers that are not written at once are written this much later (ms).
const MARKERS_MS: u64 = 8;

/// A transactional id.
#[derive(Default)]
pub(super) struct Writer {
    epoch: u64,
    current: Option<Transaction>,
    /// How the last transaction ended (`true`: committed).
    last: Option<bool>,
}

struct Transaction {
    number: u64,
    begun_ms: u64,
    partitions: BTreeSet<TopicPartition>,
    /// Where each lies on the log of its group, and what it is.
    offsets: Vec<(u64, String, OffsetCommit)>,
    /// Decided, and its markers are on their way.
    decided: Option<bool>,
}

fn fenced(what: &'static str) -> BrokerError {
    BrokerError::Fenced { what, cause: "producer fenced".to_owned() }
}

impl World {
    /// A new producer of this id: settles what an earlier one left, and fences it.
    pub(super) fn init_producer(&mut self, id: &str) -> u64 {
        let writer = self.writers.entry(id.to_owned()).or_default();
        writer.epoch += 1;
        let epoch = writer.epoch;
        if let Some(current) = &mut writer.current {
            current.decided.get_or_insert(false);
        }
        writer.last = None;
        self.write_markers(id, None);
        epoch
    }

    fn check_epoch(&self, id: &str, epoch: u64, what: &'static str) -> Result<()> {
        match self.writers.get(id) {
            Some(writer) if writer.epoch == epoch => Ok(()),
            _ => Err(fenced(what)),
        }
    }

    /// The transaction that the living producer of this id writes to.
    fn open(&mut self, id: &str, epoch: u64, what: &'static str) -> Result<&mut Transaction> {
        self.check_epoch(id, epoch, what)?;
        // One that is decided must be marked before the next begins; its client waits so long.
        if self.writers[id].current.as_ref().is_some_and(|t| t.decided.is_some()) {
            self.write_markers(id, None);
        }
        let Self { writers, transactions, now, .. } = self;
        let writer = writers.get_mut(id).ok_or_else(|| fenced(what))?;
        Ok(writer.current.get_or_insert_with(|| {
            *transactions += 1;
            Transaction {
                number: *transactions,
                begun_ms: now.monotonic_ms,
                partitions: BTreeSet::new(),
                offsets: Vec::new(),
                decided: None,
            }
        }))
    }

    /// Appends a record to the open transaction.
    pub(super) fn produce(&mut self, id: &str, epoch: u64, record: &Outgoing<'_>) -> Result<u64> {
        self.admit(record)?;
        let transaction = self.open(id, epoch, "deliver")?;
        let at = TopicPartition::new(record.topic, record.partition);
        transaction.partitions.insert(at.clone());
        let number = transaction.number;
        Ok(self.partition(&at)?.append(record, Some(number)))
    }

    /// Adds offsets to the open transaction, if the member may commit them.
    pub(super) fn add_offsets(
        &mut self,
        id: &str,
        epoch: u64,
        membership: &Membership,
        offsets: &[OffsetCommit],
    ) -> Result<()> {
        // The transaction begins even if the group then refuses.
        self.open(id, epoch, "offsets")?;
        check_member(&self.groups, membership)?;
        let placed: Vec<_> = { offsets.iter() }
            .map(|offset| (self.place_of_offset(), membership.group.clone(), offset.clone()))
            .collect();
        let transaction = self.open(id, epoch, "offsets")?;
        transaction.offsets.extend(placed);
        Ok(())
    }

    /// A request to end the transaction of this id arrives.
    pub(super) fn end_transaction(&mut self, id: &str, epoch: u64, commit: bool) -> Result<()> {
        self.check_epoch(id, epoch, "end")?;
        let late = self.plan.choose("markers late", 3) == 1;
        let due_ms = self.now.monotonic_ms + MARKERS_MS;
        let writer = self.writers.get_mut(id).ok_or_else(|| fenced("end"))?;
        let open = writer.current.as_mut().filter(|t| t.decided.is_none());
        let Some(transaction) = open else {
            // Asked again, as after an answer that was lost.
            return match writer.last == Some(commit) {
                true => Ok(()),
                false => Err(BrokerError::Unavailable {
                    what: "end",
                    cause: "the transaction is not in a state to be ended".to_owned(),
                }),
            };
        };
        transaction.decided = Some(commit);
        let number = transaction.number;
        writer.last = Some(commit);
        match late {
            true => self.network.push((due_ms, Message::Markers { id: id.to_owned(), number })),
            false => self.write_markers(id, None),
        }
        Ok(())
    }

    /// Writes the markers of a decided transaction (this one, if a number is given).
    pub(super) fn write_markers(&mut self, id: &str, number: Option<u64>) {
        let Some(writer) = self.writers.get_mut(id) else { return };
        let decided = |t: &mut Transaction| {
            t.decided.is_some() && number.is_none_or(|number| t.number == number)
        };
        let Some(transaction) = writer.current.take_if(decided) else { return };
        let commit = transaction.decided == Some(true);
        for at in &transaction.partitions {
            if let Ok(partition) = self.partition(at) {
                partition.mark(transaction.number, commit);
            }
        }
        if commit {
            for (place, group, offset) in transaction.offsets {
                self.commit_offset(place, &group, offset);
            }
        }
    }

    /// The next place on the log of offsets.
    pub(super) fn place_of_offset(&mut self) -> u64 {
        self.offsets_written += 1;
        self.offsets_written
    }

    /// Of two offsets of a partition a group keeps the one that lies later on its log, whichever
    /// transaction's marker comes first.
    pub(super) fn commit_offset(&mut self, place: u64, group: &str, offset: OffsetCommit) {
        let OffsetCommit { partition, committed } = offset;
        let known = self.offset_places.entry((group.to_owned(), partition.clone())).or_default();
        if place > *known {
            *known = place;
            self.groups.set_offset(group, partition, committed);
        }
    }

    /// Aborts what is open for too long; its producer is fenced by that.
    pub(super) fn time_out_transactions(&mut self) {
        let now_ms = self.now.monotonic_ms;
        let late = |writer: &Writer| {
            let open = writer.current.as_ref().filter(|t| t.decided.is_none());
            open.is_some_and(|t| now_ms.saturating_sub(t.begun_ms) > TIMEOUT_MS)
        };
        let ids: Vec<String> =
            self.writers.iter().filter(|(_, w)| late(w)).map(|(id, _)| id.clone()).collect();
        for id in ids {
            self.init_producer(&id);
        }
    }

    /// Whether an undecided transaction holds an offset of this group and partition.
    pub(super) fn is_pending(&self, group: &str, at: &TopicPartition) -> bool {
        let holds =
            |(_, g, offset): &(u64, String, OffsetCommit)| g == group && offset.partition == *at;
        let current = self.writers.values().filter_map(|w| w.current.as_ref());
        current.into_iter().any(|t| t.offsets.iter().any(holds))
    }
}
