//! What a client has fetched ahead of its reader, made into batches, slot by slot: for clients that
//! queue what they fetch and go on by themselves, as librdkafka and the simulated one do.
//!
//! - A [`HandedOver`] moves only together with what [`Taking`] puts into a batch, or by an end that the
//!   client tells. So no position passes a record that was not handed over.
//! - What lies before an error is handed over; the error comes with the next call; what lies behind
//!   it does not count, since a client may pass over what it could not read. The slot is read
//!   again from its place.
//! - A slot that cannot be read holds up no other one.
//!
//! ```text
//!              an error, after what was before it
//!   Reading ────────────────────────────────────────▶ Halted
//!      ▲                                                │ told once; then, after a pause that
//!      └──────── assigned anew, from its place ─────────┘ grows, tried again
//! ```

use super::{BrokerError, Result, TopicPartition};
#[cfg(feature = "mutants")]
use crate::mutant::Mutant;
use crate::record::{Batch, Header};

/// A client that fetches ahead.
pub(crate) trait Fetcher {
    /// What it has fetched of one partition.
    type Queue: Fetched;
    /// How long the end of a log may be told lower than it is (ms).
    const SHORT_MS_MAX: u64;
    /// Fetches these partitions from these offsets, and no others; their queues, in this order. All
    /// former queues have been dropped.
    fn restart(&mut self, from: &[(TopicPartition, u64)]) -> Result<Vec<Self::Queue>>;
    /// First offset and end (high watermark) of each.
    fn bounds(&self, partitions: &[TopicPartition]) -> Result<Vec<(u64, u64)>>;
    /// Milliseconds that only grow.
    fn now_ms(&self) -> u64;
}

/// What has been fetched of one partition and is not handed over yet.
pub(crate) trait Fetched {
    /// Hands over what is there, until `taking` is full or has failed; whether more may be there.
    /// Never waits.
    fn hand_over(&mut self, taking: &mut Taking<'_>) -> bool;
}

/// How far a partition has been handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct HandedOver(u64);

/// Why a queue goes no further.
#[derive(Debug)]
pub(crate) enum Halt {
    /// The broker says that its log does not hold the position. The client has stopped fetching.
    OutOfRange,
    /// Anything else.
    Failed(BrokerError),
}

/// One call's way from a queue to a batch.
pub(crate) struct Taking<'a> {
    place: &'a mut HandedOver,
    batch: &'a mut Batch,
    bytes_max: usize,
    halt: Option<Halt>,
}

impl Taking<'_> {
    /// Takes a record. One behind an error, or one that was handed over before, does not count.
    pub(crate) fn record<'h>(
        &mut self,
        (offset, timestamp): (u64, i64),
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl IntoIterator<Item = Header<'h>>,
    ) {
        if self.halt.is_none() && offset >= self.place.0 {
            self.batch.push(offset, timestamp, key, value, headers);
            self.place.0 = offset + 1;
        }
    }

    /// All records below this offset have been there.
    pub(crate) fn end(&mut self, offset: u64) {
        if self.halt.is_none() {
            self.place.0 = self.place.0.max(offset);
        }
    }

    /// Nothing of what follows counts.
    pub(crate) fn halt(&mut self, why: Halt) {
        self.halt.get_or_insert(why);
    }

    /// Bytes that are still wanted; none after an error.
    pub(crate) fn room(&self) -> usize {
        match self.halt {
            None => self.bytes_max.saturating_sub(self.batch.size()),
            Some(_) => 0,
        }
    }

    /// Records in the batch, and their bytes.
    pub(crate) fn taken(&self) -> (usize, usize) {
        (self.batch.len(), self.batch.size())
    }
}

/// A partition that is read.
struct Slot<Q> {
    at: TopicPartition,
    place: HandedOver,
    /// None while it is halted, and where the client could not be restarted.
    queue: Option<Q>,
    halted: Option<Halted>,
    /// How often it was halted since its place has moved.
    halts: u32,
}

struct Halted {
    /// What the calls are told meanwhile; without it they are told that nothing is there.
    error: Option<BrokerError>,
    is_told: bool,
    is_astray: bool,
    /// Since when the broker has told an end below the position.
    short_ms: Option<u64>,
    resume_ms: u64,
}

/// Pause before the second try to go on, doubled with each one (ms). The first is made at once.
const PAUSE_MS: u64 = 50;
const PAUSE_MS_MAX: u64 = 2_000;

fn pause_ms(halts: u32) -> u64 {
    match halts {
        0 | 1 => 0,
        halts => PAUSE_MS_MAX.min(PAUSE_MS << (halts - 2).min(8)),
    }
}

impl<Q> Slot<Q> {
    fn halt(&mut self, why: Halt, now_ms: u64) {
        self.queue = None;
        self.halts = self.halts.saturating_add(1);
        let resume_ms = now_ms + pause_ms(self.halts);
        let (error, is_astray) = match why {
            Halt::OutOfRange => (None, true),
            Halt::Failed(error) => (Some(error), false),
        };
        let short_ms = None;
        self.halted = Some(Halted { error, is_told: false, is_astray, short_ms, resume_ms });
    }

    /// It stays halted, and is tried again after a pause.
    fn wait(&mut self, error: Option<BrokerError>, now_ms: u64) {
        self.halts = self.halts.saturating_add(1);
        let resume_ms = now_ms + pause_ms(self.halts);
        if let Some(halted) = &mut self.halted {
            (halted.error, halted.is_told, halted.resume_ms) = (error, false, resume_ms);
        }
    }

    /// How long the broker has told an end below the position. A broker that is away tells nothing.
    fn short_for_ms(&mut self, now_ms: u64) -> u64 {
        let since = self.halted.as_mut().map(|halted| *halted.short_ms.get_or_insert(now_ms));
        since.map_or(0, |since_ms| now_ms.saturating_sub(since_ms))
    }

    fn forget_short(&mut self) {
        if let Some(halted) = &mut self.halted {
            halted.short_ms = None;
        }
    }

    fn is_due(&self, now_ms: u64) -> bool {
        // What went wrong is told before it is mended.
        let due = |h: &Halted| h.resume_ms <= now_ms && (h.is_told || h.error.is_none());
        self.halted.as_ref().is_some_and(due)
    }

    /// What a call is told of a halted slot.
    fn told(&mut self) -> Result<u64> {
        let error = self.halted.as_mut().and_then(|halted| {
            halted.is_told = true;
            halted.error.clone()
        });
        error.map_or(Ok(self.place.0), Err)
    }
}

/// The partitions that a client reads.
pub(crate) struct Slots<F: Fetcher> {
    slots: Vec<Slot<F::Queue>>,
    /// A fetch left something behind: the next wait must not wait.
    more: bool,
    #[cfg(feature = "mutants")]
    mutant: Option<Mutant>,
}

impl<F: Fetcher> Default for Slots<F> {
    fn default() -> Self {
        Slots {
            slots: Vec::new(),
            more: false,
            #[cfg(feature = "mutants")]
            mutant: None,
        }
    }
}

impl<F: Fetcher> Slots<F> {
    #[cfg(feature = "mutants")]
    pub(crate) fn mutated(self, mutant: Option<Mutant>) -> Self {
        Slots { mutant, ..self }
    }

    /// Reads these partitions from these offsets, and no others.
    pub(crate) fn assign(&mut self, client: &mut F, from: &[(TopicPartition, u64)]) -> Result<()> {
        let slot = |(at, offset): &(TopicPartition, u64)| {
            let (at, place) = (at.clone(), HandedOver(*offset));
            Slot { at, place, queue: None, halted: None, halts: 0 }
        };
        self.slots.clear();
        self.slots.extend(from.iter().map(slot));
        self.restart(client)
    }

    pub(crate) fn clear(&mut self) {
        self.slots.clear();
    }

    /// Whether something may be there that no wait would tell of; asked once.
    pub(crate) fn take_more(&mut self) -> bool {
        std::mem::take(&mut self.more)
    }

    /// As [`Consumer::fetch`](super::Consumer::fetch).
    pub(crate) fn fetch(
        &mut self,
        client: &mut F,
        slot: usize,
        bytes_max: usize,
        batch: &mut Batch,
    ) -> Result<u64> {
        if self.slots[slot].queue.is_none() {
            self.go_on(client)?;
        }
        let one = &mut self.slots[slot];
        let Some(queue) = &mut one.queue else {
            return one.told();
        };
        let before = one.place;
        let mut taking = Taking { place: &mut one.place, batch, bytes_max, halt: None };
        self.more |= queue.hand_over(&mut taking);
        let halt = taking.halt;
        let moved = one.place != before;
        if moved {
            one.halts = 0;
        }
        if let Some(why) = halt {
            one.halt(why, client.now_ms());
            self.more = true;
            #[cfg(feature = "mutants")]
            let moved = moved && self.mutant != Some(Mutant::FetchErrorDropsRecords);
            if !moved {
                return one.told();
            }
        }
        Ok(one.place.0)
    }

    /// Reads on what was halted and may be tried again by now: all of it at once.
    fn go_on(&mut self, client: &mut F) -> Result<()> {
        let now_ms = client.now_ms();
        let (mut due, mut astray) = (Vec::new(), Vec::new());
        for (index, slot) in self.slots.iter().enumerate().filter(|(_, s)| s.is_due(now_ms)) {
            match slot.halted.as_ref().is_some_and(|halted| halted.is_astray) {
                true => astray.push(index),
                false => due.push(index),
            }
        }
        self.find(client, &astray, &mut due, now_ms);
        for index in &due {
            self.slots[*index].halted = None;
        }
        let stale = |slot: &Slot<F::Queue>| slot.queue.is_none() && slot.halted.is_none();
        match self.slots.iter().any(stale) {
            true => self.restart(client),
            false => Ok(()),
        }
    }

    /// A broker that comes back may know less of its log than it holds, until it has led the
    /// partition for a moment. So it is believed only when the bounds of the log agree, and for long
    /// enough.
    fn find(&mut self, client: &F, astray: &[usize], due: &mut Vec<usize>, now_ms: u64) {
        if astray.is_empty() {
            return;
        }
        #[cfg(feature = "mutants")]
        if self.mutant == Some(Mutant::AstrayForEver) {
            return;
        }
        let at: Vec<_> = astray.iter().map(|index| self.slots[*index].at.clone()).collect();
        let bounds = match client.bounds(&at) {
            Ok(bounds) => bounds,
            Err(error) => {
                for index in astray {
                    self.slots[*index].forget_short();
                    self.slots[*index].wait(Some(error.clone()), now_ms);
                }
                return;
            }
        };
        for (index, (start, end)) in astray.iter().zip(bounds) {
            let slot = &mut self.slots[*index];
            let offset = slot.place.0;
            let is_short = offset > end && slot.short_for_ms(now_ms) < F::SHORT_MS_MAX;
            if (start..=end).contains(&offset) {
                tracing::debug!(partition = %slot.at, offset, start, end, "reads on");
                due.push(*index);
            } else if is_short {
                slot.wait(None, now_ms);
            } else {
                let partition = slot.at.clone();
                let error = BrokerError::OffsetOutOfRange { partition, offset, start, end };
                slot.wait(Some(error), now_ms);
            }
        }
    }

    /// Reads all that is not halted anew, from its place. librdkafka takes no other word on a
    /// partition that it has stopped fetching: it refuses to seek there.
    fn restart(&mut self, client: &mut F) -> Result<()> {
        self.more = true;
        // The old queues first: a client that keeps a partition keeps its queue.
        self.slots.iter_mut().for_each(|slot| slot.queue = None);
        let mut running: Vec<_> = self.slots.iter_mut().filter(|s| s.halted.is_none()).collect();
        let from: Vec<_> = running.iter().map(|slot| (slot.at.clone(), slot.place.0)).collect();
        for (slot, queue) in running.iter_mut().zip(client.restart(&from)?) {
            slot.queue = Some(queue);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
