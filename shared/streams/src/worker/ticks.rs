//! Writes the ticks that tasks want, in the worker's transaction: the only way in which its clock enters.

use super::{Assigned, Worker};
use crate::broker::{BrokerError, Now};
use crate::error::{Error, Result};
use crate::task::Task;

/// For so long no tick is written after one was refused (ms).
const REFUSED_PAUSE_MS: u64 = 10_000;

impl Worker {
    /// Looks which tasks want a tick, and when.
    pub(super) fn plan_ticks(&mut self, now: Now) -> Result<()> {
        if !self.config.ticks || now.monotonic_ms < self.ticks_from_ms {
            return Ok(());
        }
        let mut running = self.tasks.values_mut().filter_map(Assigned::running_mut);
        running.try_for_each(|task| task.plan_tick(now))
    }

    /// Writes those that are wanted. Whether there are any.
    pub(super) fn write_ticks(&mut self, now: Now) -> Result<bool> {
        let is_wanted = |task: &Task| task.wants_tick() == Some(true);
        if !self.running().any(is_wanted) {
            return Ok(false);
        }
        self.transaction_since.get_or_insert(now.monotonic_ms);
        let running = self.tasks.values_mut().filter_map(Assigned::running_mut);
        let mut wanting = running.filter(|task| is_wanted(task));
        let written = wanting.try_for_each(|task| task.write_tick(now, &mut self.producer));
        written.or_else(|error| self.give_up(error, now))?;
        Ok(true)
    }

    /// Whether the broker has refused a tick: then this worker's clock is ahead, and the transaction is
    /// dropped without it.
    pub(super) fn is_refused_tick(&mut self, cause: &Error, now: Now) -> bool {
        let Error::Broker(BrokerError::Refused { partition, cause }) = cause else {
            return false;
        };
        if self.env.topology.ticks.as_ref() != Some(&partition.topic) {
            return false;
        }
        tracing::warn!(worker = %self.config.id, %partition, cause,
            "a tick was refused: this machine's clock is ahead; rows fall due by records alone for 10 s");
        self.ticks_from_ms = now.monotonic_ms + REFUSED_PAUSE_MS;
        true
    }
}
