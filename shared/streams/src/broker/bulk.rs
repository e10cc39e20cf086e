//! Writes many records without transactions, a bounded number of them on their way at a time.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use super::{Appender, BrokerError, Result};
use crate::record::Outgoing;

/// Records on their way at once.
const WAITING_MAX: usize = 1_000;
/// An answer comes within this.
const ANSWER: Duration = Duration::from_secs(30);

/// See the module's documentation.
pub struct Bulk<'a> {
    appender: &'a dyn Appender,
    what: &'static str,
    outcomes: (Sender<Result<u64>>, Receiver<Result<u64>>),
    waiting: usize,
    written: u64,
}

impl<'a> Bulk<'a> {
    /// Writes by this appender; `what` names the work in errors.
    pub fn new(appender: &'a dyn Appender, what: &'static str) -> Bulk<'a> {
        Bulk { appender, what, outcomes: channel(), waiting: 0, written: 0 }
    }

    /// Queues a record. Waits for earlier ones where there is no room.
    ///
    /// # Errors
    /// When this or an earlier one is refused, or no answer comes for 30 s.
    pub fn append(&mut self, record: Outgoing<'_>) -> Result<()> {
        if self.waiting >= WAITING_MAX {
            self.wait()?;
        }
        loop {
            let sender = self.outcomes.0.clone();
            let ack = Box::new(move |outcome| drop(sender.send(outcome)));
            match self.appender.append(record, ack) {
                Ok(()) => break,
                // The buffer is full: what is answered makes room.
                Err(error) if error.is_unavailable() && self.waiting > 0 => self.wait()?,
                Err(error) => return Err(error),
            }
        }
        self.waiting += 1;
        self.written += 1;
        Ok(())
    }

    fn wait(&mut self) -> Result<()> {
        let outcome = self.outcomes.1.recv_timeout(ANSWER).unwrap_or_else(|_| {
            Err(BrokerError::Unavailable { what: self.what, cause: "no answer".to_owned() })
        });
        self.waiting -= 1;
        outcome.map(drop)
    }

    /// Waits until all are durable; how many that are.
    ///
    /// # Errors
    /// As [`Bulk::append`].
    pub fn finish(mut self) -> Result<u64> {
        while self.waiting > 0 {
            self.wait()?;
        }
        Ok(self.written)
    }
}
