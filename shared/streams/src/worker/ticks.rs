//! Writes the ticks that tasks want, in the worker's transaction: the only way in which its clock enters.

use super::{Assigned, Worker};
use crate::broker::{BrokerError, Now};
use crate::error::{Error, Result};
use crate::task::Task;

/// For so long no tick is written after one was refused (ms).
const REFUSED_PAUSE_MS: u64 = 10_000;

impl Worker {
    /// The tasks that may write a tick now.
    fn ticking(&mut self, now: Now) -> impl Iterator<Item = &mut Task> {
        let may = self.config.ticks && now.monotonic_ms >= self.ticks_from_ms;
        self.tasks.values_mut().filter_map(move |assigned| match assigned {
            Assigned::Running(task, _) if may => Some(&mut **task),
            _ => None,
        })
    }

    /// Looks which tasks want a tick, and when.
    pub(super) fn plan_ticks(&mut self, now: Now) -> Result<()> {
        self.ticking(now).try_for_each(|task| task.plan_tick(now))
    }

    /// Writes those that are wanted. Whether there are any.
    pub(super) fn write_ticks(&mut self, now: Now) -> Result<bool> {
        let wanting = |task: &&mut Task| task.wants_tick() == Some(true);
        if self.ticking(now).filter(wanting).count() == 0 {
            return Ok(false);
        }
        self.transaction_since.get_or_insert(now.monotonic_ms);
        let mut failed = None;
        for assigned in self.tasks.values_mut() {
            if let Assigned::Running(task, _) = assigned
                && task.wants_tick() == Some(true)
                && failed.is_none()
            {
                failed = task.write_tick(now, &mut self.producer).err();
            }
        }
        failed.map_or(Ok(()), |error| self.give_up(error, now))?;
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
