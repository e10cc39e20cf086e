//! Waits for many records at once: one wake-up for a group, not one a record.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bps_streams::broker::{Ack, BrokerError};
use tokio::sync::Notify;

/// The records of one group that the broker still has to acknowledge.
#[derive(Default)]
pub(super) struct Acks {
    left: AtomicUsize,
    done: Notify,
    /// By number in the group. Nearly always empty: what went well leaves no trace.
    failures: Mutex<Vec<(usize, BrokerError)>>,
}

impl Acks {
    /// The ack of one more record, the group's number `number`.
    pub(super) fn ack(self: &Arc<Self>, number: usize) -> Ack {
        self.left.fetch_add(1, Ordering::Relaxed);
        let mut ticket = Ticket { acks: self.clone(), number, told: false };
        Box::new(move |outcome| {
            ticket.told = true;
            if let Err(error) = outcome {
                ticket.acks.fail(number, error);
            }
        })
    }

    fn fail(&self, number: usize, error: BrokerError) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).push((number, error));
    }

    /// A record was not taken, and its ack dropped unused: forgets that, so that another ack can
    /// be made for it.
    pub(super) fn forget(&self, number: usize) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.retain(|(failed, _)| *failed != number);
    }

    /// A record was not taken, for this reason.
    pub(super) fn refuse(&self, number: usize, error: BrokerError) {
        self.forget(number);
        self.fail(number, error);
    }

    /// Waits until all are settled; those that failed, by number. To be called once, when no
    /// further ack is made.
    pub(super) async fn settled(&self) -> Vec<(usize, BrokerError)> {
        while self.left.load(Ordering::Acquire) > 0 {
            self.done.notified().await;
        }
        let failures = &mut *self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.sort_by_key(|(number, _)| *number);
        std::mem::take(failures)
    }
}

/// Counts a record as settled when it goes, however that comes about.
struct Ticket {
    acks: Arc<Acks>,
    number: usize,
    told: bool,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.told {
            let cause = "the writer was closed before it answered".to_owned();
            self.acks.fail(self.number, BrokerError::Unavailable { what: "append", cause });
        }
        if self.acks.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.acks.done.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_failed_or_was_never_answered_is_told_by_number() {
        let acks = Arc::<Acks>::default();
        let [first, second, third] = [0, 1, 2].map(|number| acks.ack(number));
        drop(third);
        std::thread::spawn(move || {
            first(Ok(7));
            let cause = "away".to_owned();
            second(Err(BrokerError::Unavailable { what: "append", cause }));
        });
        let failed: Vec<usize> = acks.settled().await.into_iter().map(|(n, _)| n).collect();
        assert_eq!(failed, [1, 2]);
    }
}
