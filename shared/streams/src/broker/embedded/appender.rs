//! What services write with on the embedded log: one thread gathers what has come in meanwhile
//! and writes it as one synced batch.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::{Shared, log};
use crate::broker::{Ack, Appender, BrokerError, Result, TopicPartition};
use crate::record::{Batch, Header, Outgoing};

/// Bytes that may wait to be written; beyond it `append` answers `Unavailable`.
const WAITING_BYTES_MAX: usize = 16 << 20;
/// Records of one write.
const WRITE_RECORDS_MAX: usize = 5_000;

struct Waiting {
    at: TopicPartition,
    record: Batch,
    ack: Ack,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    bytes: usize,
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
    fn next(&self) -> Option<Vec<Waiting>> {
        let idle = |queue: &mut Queue| queue.waiting.is_empty() && !queue.closed;
        let guard = self.changed.wait_while(log::lock(&self.queue), idle);
        let mut queue = guard.unwrap_or_else(PoisonError::into_inner);
        let count = queue.waiting.len().min(WRITE_RECORDS_MAX);
        let group: Vec<_> = queue.waiting.drain(..count).collect();
        queue.bytes -= group.iter().map(|w| w.record.size()).sum::<usize>();
        (!group.is_empty()).then_some(group)
    }
}

fn write(shared: &Shared, group: Vec<Waiting>) {
    let headers: Vec<Vec<Header<'_>>> =
        group.iter().map(|w| w.record.get(0, "", 0).headers.iter().collect()).collect();
    let records = group.iter().zip(&headers).map(|(waiting, headers)| {
        let record = waiting.record.get(0, &waiting.at.topic, waiting.at.partition);
        Outgoing {
            topic: record.topic,
            partition: record.partition,
            timestamp: record.timestamp,
            key: record.key,
            value: record.value,
            headers,
        }
    });
    let written = shared.log.append(records, None, &[], |_| Ok(()));
    drop(headers);
    match written {
        Ok((offsets, _)) => {
            for (waiting, offset) in group.into_iter().zip(offsets) {
                (waiting.ack)(Ok(offset));
            }
        }
        Err(error) => {
            for waiting in group {
                (waiting.ack)(Err(error.clone()));
            }
        }
    }
}

impl Appender for EmbeddedAppender {
    fn append(&self, record: Outgoing<'_>, ack: Ack) -> Result<()> {
        self.shared.admit(&record)?;
        let at = TopicPartition::new(record.topic, record.partition);
        // What cannot be written is refused here, so that it spoils nobody else's batch.
        log::bounds(&self.shared.log.state(), &at)?;
        let mut queue = log::lock(&self.gate.queue);
        if queue.bytes > WAITING_BYTES_MAX {
            let cause = "the buffer is full".to_owned();
            return Err(BrokerError::Unavailable { what: "append", cause });
        }
        let mut single = Batch::default();
        let headers = record.headers.iter().copied();
        single.push(0, record.timestamp, record.key, record.value, headers);
        queue.bytes += single.size();
        queue.waiting.push_back(Waiting { at, record: single, ack });
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
