//! A worker that runs by itself, until it is told to end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{Activity, Worker};
use crate::broker::{BrokerError, Now};
use crate::error::{Error, Result};

/// Time in which a stopping worker must settle its open transaction; else it is dropped.
const FINISH_MS_MAX: u64 = 8_000;
const WAIT: Duration = Duration::from_millis(10);

impl Worker {
    /// Repeats [`Worker::step`] until `shutdown` is set, then commits what is open. `clock` tells
    /// the time.
    ///
    /// # Errors
    /// As [`Worker::step`].
    pub fn run(
        &mut self,
        shutdown: &AtomicBool,
        clock: impl Fn() -> Now,
        mut watch: impl FnMut(&Worker),
    ) -> Result<()> {
        while !shutdown.load(Ordering::Relaxed) {
            self.step(clock(), Duration::from_millis(50))?;
            watch(self);
        }
        self.finish(clock)
    }

    /// Commits what is open, within a bounded time.
    fn finish(&mut self, clock: impl Fn() -> Now) -> Result<()> {
        let deadline_ms = clock().monotonic_ms + FINISH_MS_MAX;
        while self.transaction_since.is_some() && clock().monotonic_ms < deadline_ms {
            let now = clock();
            let step = match &self.commit {
                None => self.start_commit(now).map(|()| Activity::Busy),
                Some(_) => self.settle(now),
            };
            match step {
                Err(Error::Broker(BrokerError::Unavailable { .. })) => self.consumer_pause(WAIT),
                other => drop(other?),
            }
        }
        if self.transaction_since.is_some() {
            self.drop_transaction(clock())?;
        }
        self.close_tasks();
        Ok(())
    }

    /// Leaves the group for good: its partitions go to others at once.
    ///
    /// # Errors
    /// When the broker cannot be reached; the session's end does the same, later.
    pub fn leave(&mut self, now: Now) -> Result<()> {
        Ok(self.consumer.leave(now)?)
    }

    pub(super) fn consumer_pause(&self, wait: Duration) {
        // Only while a commit's outcome is being looked for and the broker is away.
        std::thread::sleep(wait.min(Duration::from_millis(10)));
    }
}
