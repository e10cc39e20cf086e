//! What a worker waits for, told once.

use super::{Activity, Worker};
use crate::broker::Now;

impl Worker {
    /// It cannot go on for now, or not with all of its partitions.
    pub(super) fn wait_for(&mut self, what: String) {
        if self.status.waiting_for.as_ref() != Some(&what) {
            tracing::warn!(worker = %self.config.id, "waits: {what}");
            self.status.waiting_for = Some(what);
        }
    }

    /// A step went well.
    pub(super) fn tell_progress(&mut self, activity: Activity, now: Now) {
        if let Some(error) = self.unread.clone() {
            return self.wait_for(error);
        }
        // One that could act and finds nothing to do has nothing to wait for either.
        let could = now.monotonic_ms >= self.resume_at_ms && self.producer_ready;
        let idle = could && self.commit.is_none() && self.opening.is_none();
        let goes_on = activity == Activity::Busy || idle;
        if goes_on && self.status.waiting_for.take().is_some() {
            tracing::info!(worker = %self.config.id, "goes on");
        }
    }
}
