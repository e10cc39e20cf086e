//! Purchases that come one after the other while someone decides: open loop, so that a result that
//! is late does not keep the next purchase from coming.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bps_service::exit::AnyError;
use bps_streams::broker::{Broker, Isolation, OffsetSpec, TopicPartition};
use bps_streams::record::Batch;
use purchase_processor::Settings;
use system_tests::oracle::Event;

use crate::kafka_installation::{Entry, KafkaInstallation};
use crate::topics::Writer;

/// A purchase's result, seen by a reader of committed records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    /// Which purchase: they are counted from 0.
    pub(crate) number: u64,
    /// Where the result lies.
    pub(crate) partition: u32,
    /// When it came.
    pub(crate) at: Instant,
}

/// Purchases on their way, and their results. Both end when it is dropped.
pub(crate) struct OpenLoop {
    begun: Instant,
    every: Duration,
    arrivals: Receiver<Arrival>,
    ended: Ended,
    reads: JoinHandle<Result<(), AnyError>>,
    sends: JoinHandle<Result<Vec<Event>, AnyError>>,
}

impl OpenLoop {
    /// Begins to send `rate` purchases a second of the entry's items, in turn.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub(crate) fn begin(
        kafka: &KafkaInstallation,
        entry: &Entry,
        items: &[String],
        rate: u64,
    ) -> Result<OpenLoop, AnyError> {
        let topics = Settings::new(&entry.input, &entry.output).topics;
        let (sender, arrivals) = channel();
        let ended = Arc::new(AtomicBool::new(false));
        let partitions = entry.partitions;
        let at: Vec<_> =
            (0..partitions).map(|p| TopicPartition::new(&topics.purchase_finished, p)).collect();
        let ends = kafka.broker.offsets(&at, OffsetSpec::End(Isolation::ReadUncommitted))?;
        let from: Vec<_> = at.into_iter().zip(ends).collect();
        let (broker, stop) = (kafka.broker.clone(), ended.clone());
        let read = move || listen(&broker, &from, &sender, &stop);
        let mut writer = Writer::new(&kafka.broker)?;
        let (stop, items, prefix) = (ended.clone(), items.to_vec(), entry.output.clone());
        let (begun, every) = (Instant::now(), Duration::from_secs(1) / rate as u32);
        let send = move || {
            let mut sent = Vec::new();
            for number in 0.. {
                let due = begun + every * number as u32;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let event = Event {
                    is_purchase: true,
                    id: format!("{prefix}-{number}"),
                    item: items[number as usize % items.len()].clone(),
                    quantity: 1,
                    at: system_tests::now_ms(),
                };
                writer.write(&topics.purchase_created, partitions, &event)?;
                writer.hear_all()?;
                sent.push(event);
            }
            writer.finish()?;
            Ok(sent)
        };
        let (reads, sends) = (std::thread::spawn(read), std::thread::spawn(send));
        Ok(OpenLoop { begun, every, arrivals, ended: Ended(ended), reads, sends })
    }

    /// When a purchase was to be sent.
    pub(crate) fn due(&self, number: u64) -> Instant {
        self.begun + self.every * number as u32
    }

    /// The first purchase that is to be sent so long after the begin.
    pub(crate) fn after(&self, time: Duration) -> u64 {
        (time.as_secs_f64() / self.every.as_secs_f64()).ceil() as u64
    }

    /// The next result.
    ///
    /// # Errors
    /// When none comes in time.
    pub(crate) fn next(&self, patience: Duration) -> Result<Arrival, AnyError> {
        Ok(self.arrivals.recv_timeout(patience).map_err(|_| "no result comes")?)
    }

    /// Waits until every partition has brought the result of a purchase that was sent after
    /// `since`; when the first one came, and the last.
    ///
    /// # Errors
    /// When none comes in time.
    pub(crate) fn all_back(
        &self,
        since: Instant,
        partitions: u32,
        patience: Duration,
    ) -> Result<(Instant, Instant), AnyError> {
        let deadline = Instant::now() + patience;
        let mut back = BTreeMap::new();
        while back.len() < partitions as usize {
            let arrival = self.next(deadline.saturating_duration_since(Instant::now()))?;
            if self.due(arrival.number) > since {
                back.entry(arrival.partition).or_insert(arrival.at);
            }
        }
        let (first, last) = (back.values().min(), back.values().max());
        Ok((*first.ok_or("no partition")?, *last.ok_or("no partition")?))
    }

    /// Sends no more; all that was sent, in its order.
    ///
    /// # Errors
    /// What went wrong while it ran.
    pub(crate) fn end(self) -> Result<Vec<Event>, AnyError> {
        drop(self.ended);
        self.reads.join().map_err(|_| "the reader failed")??;
        self.sends.join().map_err(|_| "the writer failed")?
    }
}

/// Both threads end when it is dropped.
struct Ended(Arc<AtomicBool>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn listen(
    broker: &impl Broker,
    from: &[(TopicPartition, u64)],
    to: &Sender<Arrival>,
    ended: &AtomicBool,
) -> Result<(), AnyError> {
    let mut reader = broker.reader(from, Isolation::ReadCommitted)?;
    let mut batch = Batch::default();
    while !ended.load(Ordering::Relaxed) {
        reader.wait(Duration::from_millis(50))?;
        for (slot, (at, _)) in from.iter().enumerate() {
            batch.clear();
            reader.fetch(slot, 1 << 20, &mut batch)?;
            let now = Instant::now();
            for index in 0..batch.len() {
                let record = batch.get(index, &at.topic, at.partition);
                let id = std::str::from_utf8(record.key.unwrap_or_default())?;
                let number = id.rsplit_once('-').and_then(|(_, number)| number.parse().ok());
                // Results of the backlog before come here too.
                let Some(number) = number else { continue };
                // Nobody listens any more when the run ends.
                to.send(Arrival { number, partition: at.partition, at: now }).ok();
            }
        }
    }
    Ok(())
}
