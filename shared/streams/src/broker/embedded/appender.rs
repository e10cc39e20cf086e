//! What services write with on the embedded log: one thread takes what has come in meanwhile and
//! writes it as one synced batch.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::staged::{Staged, StagedPlace};
use super::{Shared, log};
use crate::broker::{Ack, Appender, BrokerError, Result};
use crate::record::Outgoing;

/// Bytes that may wait to be written; beyond it `append` answers `Unavailable`. Those that are being
/// written come on top: as many at most, and their copy in RocksDB's batch.
const WAITING_BYTES_MAX: usize = 8 << 20;

/// What came in while the last write was on its way.
#[derive(Default)]
struct Group {
    staged: Staged,
    acks: Vec<(StagedPlace, Ack)>,
}

#[derive(Default)]
struct Queue {
    group: Group,
    closed: bool,
}

#[derive(Default)]
struct Gate {
    queue: Mutex<Queue>,
    changed: Condvar,
}

pub(super) struct EmbeddedAppender {
    shared: Arc<Shared>,
    gate: Arc<Gate>,
    thread: Option<JoinHandle<()>>,
}

impl EmbeddedAppender {
    pub(super) fn start(shared: Arc<Shared>) -> Result<Self> {
        let gate = Arc::new(Gate::default());
        let run = {
            let (shared, gate) = (shared.clone(), gate.clone());
            move || {
                while let Some(group) = gate.next() {
                    write(&shared, group);
                }
            }
        };
        let thread = std::thread::Builder::new().name("appender".to_owned()).spawn(run);
        let thread =
            thread.map_err(|e| BrokerError::Fatal { what: "appender", cause: e.to_string() })?;
        Ok(Self { shared, gate, thread: Some(thread) })
    }
}

impl Gate {
    /// Waits for records; `None` when there are none and there will be none.
    fn next(&self) -> Option<Group> {
        let idle = |queue: &mut Queue| queue.group.acks.is_empty() && !queue.closed;
        let guard = self.changed.wait_while(log::lock(&self.queue), idle);
        let mut queue = guard.unwrap_or_else(PoisonError::into_inner);
        let group = std::mem::take(&mut queue.group);
        (!group.acks.is_empty()).then_some(group)
    }
}

fn write(shared: &Shared, mut group: Group) {
    let written = shared.log.append(&group.staged.take(), None, &[], |_| Ok(()));
    for (place, ack) in group.acks {
        ack(match &written {
            Ok((firsts, _)) => Ok(firsts[place.portion] + place.index),
            Err(error) => Err(error.clone()),
        });
    }
}

impl Appender for EmbeddedAppender {
    fn append(&self, record: Outgoing<'_>, ack: Ack) -> Result<()> {
        let Shared { log, clock, .. } = &*self.shared;
        let mut queue = log::lock(&self.gate.queue);
        let Group { staged, acks } = &mut queue.group;
        if staged.size() > WAITING_BYTES_MAX {
            let cause = "the buffer is full".to_owned();
            return Err(BrokerError::Unavailable { what: "append", cause });
        }
        let place = staged.push(log, clock, &record)?;
        acks.push((place, ack));
        self.gate.changed.notify_one();
        Ok(())
    }
}

impl Drop for EmbeddedAppender {
    fn drop(&mut self) {
        log::lock(&self.gate.queue).closed = true;
        self.gate.changed.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the appender's thread panicked");
        }
    }
}
