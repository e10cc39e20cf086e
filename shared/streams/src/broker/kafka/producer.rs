//! Transactions on Kafka, with the detours that librdkafka 2.12 needs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header as KafkaHeader, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use super::context::Context;
use super::{Shared, consumer, failed, ffi, lock, undelivered};
use crate::broker::{
    BrokerError, CommitStatus, Isolation, Membership, OffsetCommit, OffsetSpec, Producer, Result,
    TopicPartition, check_time,
};
use crate::record::Outgoing;

/// The coordinator aborts a transaction older than this.
const TRANSACTION_TIMEOUT_MS: u64 = 10_000;
/// A record that is not delivered by then fails, and the transaction with it.
const MESSAGE_TIMEOUT_MS: u64 = 8_000;
/// A call that takes longer may have left a request behind that a later transaction could meet
/// (librdkafka has no KIP-890): the producer is retired after it.
const SUSPICIOUS: Duration = Duration::from_secs(5);
/// How often the thread that serves an abort looks whether it is over.
const ABORT_SLICE: Duration = Duration::from_millis(1);
const INIT: Duration = Duration::from_secs(30);
/// How long an initialisation runs before it is resumed, if its producer is still wanted: else it
/// would fence whoever has opened the id since.
const INIT_SLICE: Duration = Duration::from_millis(100);

pub(super) struct KafkaProducer {
    producer: Arc<BaseProducer<Context>>,
    shared: Arc<Shared>,
    transactional: bool,
    /// The outcome of `init_transactions`, which runs beside the join of the group.
    initialising: Option<Receiver<Result<(), KafkaError>>>,
    begun: bool,
    ends: Vec<u64>,
    tainted: bool,
}

impl KafkaProducer {
    /// One without an id writes without transactions.
    pub(super) fn new(shared: Arc<Shared>, transactional_id: Option<&str>) -> Result<Self> {
        let mut config = shared.config.writer();
        config
            .set("delivery.report.only.error", "true")
            // Full batches while a transaction is open; the drain before its commit waits for
            // nothing, since a flush ignores the lingering.
            .set("linger.ms", "50")
            .set("message.timeout.ms", MESSAGE_TIMEOUT_MS.to_string());
        if let Some(id) = transactional_id {
            config.set("transactional.id", id);
            config.set("transaction.timeout.ms", TRANSACTION_TIMEOUT_MS.to_string());
            // Of its logs only these name every lost connection: as an error it tells few of them,
            // and of equal ones within 30 s not even a warning.
            let own = config.get("debug").map(|own| format!("{own},broker"));
            config.set("debug", own.unwrap_or_else(|| "broker".to_owned()));
            config.set_log_level(RDKafkaLogLevel::Debug);
        }
        let producer: BaseProducer<Context> =
            config.create_with_context(Context::default()).map_err(|e| failed("producer", &e))?;
        let producer = Arc::new(producer);
        let transactional = transactional_id.is_some();
        let initialising = transactional.then(|| initialise(producer.clone())).transpose()?;
        Ok(Self {
            producer,
            shared,
            transactional,
            initialising,
            begun: false,
            ends: Vec::new(),
            tainted: false,
        })
    }

    /// Hears all that librdkafka has to tell by now; one poll would hear one event.
    fn hear(&self) {
        let client = self.producer.client().native_ptr();
        for _ in 0..ffi::events(client).max(1) {
            self.producer.poll(Duration::ZERO);
        }
    }

    fn begin(&mut self) -> Result<()> {
        if self.begun || !self.transactional {
            return Ok(());
        }
        self.producer.begin_transaction().map_err(|e| failed("begin", &e))?;
        self.begun = true;
        Ok(())
    }

    /// Waits until all that was sent is delivered; the first failure ends the wait.
    fn drain(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_millis(MESSAGE_TIMEOUT_MS + 2_000);
        loop {
            let client = self.producer.client();
            let drained = ffi::flush(client.native_ptr(), Duration::from_millis(50));
            self.hear();
            if let Some((error, at)) = lock(&client.context().delivery_failed).take() {
                return Err(undelivered("deliver", &error, at));
            }
            if let Some(error) = lock(&client.context().fatal).take() {
                return Err(BrokerError::Fenced { what: "deliver", cause: error.to_string() });
            }
            if drained {
                return Ok(());
            }
            if Instant::now() > deadline {
                let cause = "records are not delivered in time".to_owned();
                return Err(BrokerError::Unavailable { what: "deliver", cause });
            }
        }
    }

    fn add_offsets(&self, offsets: &[OffsetCommit], membership: &Membership) -> Result<()> {
        let list = consumer::offset_list(offsets)?;
        // Before the first assignment the generation is -1, which Kafka would take unfenced.
        let native = consumer::native(membership).ok_or_else(|| BrokerError::Fenced {
            what: "offsets",
            cause: "the member has no assignment".to_owned(),
        })?;
        let deadline = Instant::now() + SUSPICIOUS;
        loop {
            match self.producer.send_offsets_to_transaction(&list, native, SUSPICIOUS) {
                Ok(()) => return Ok(()),
                Err(KafkaError::Transaction(e))
                    if e.is_retriable() && Instant::now() < deadline => {}
                Err(error) => return Err(failed("offsets", &error)),
            }
        }
    }

    /// Runs a transactional call and notes what makes the producer suspicious.
    fn watched<T>(
        &mut self,
        call: impl FnOnce(&Self) -> Result<T, KafkaError>,
    ) -> Result<T, KafkaError> {
        let context = self.producer.client().context().clone();
        context.disconnected.store(false, Ordering::Relaxed);
        let started = Instant::now();
        let outcome = call(self);
        self.hear();
        let suspicious = started.elapsed() >= SUSPICIOUS
            || context.disconnected.load(Ordering::Relaxed)
            || matches!(&outcome, Err(KafkaError::Transaction(e)) if !e.txn_requires_abort());
        self.tainted |= suspicious;
        outcome
    }
}

/// Fences the predecessor, in a thread of its own: it may take long and needs nobody's help.
fn initialise(producer: Arc<BaseProducer<Context>>) -> Result<Receiver<Result<(), KafkaError>>> {
    let (sender, receiver) = channel();
    let run = move || {
        let deadline = Instant::now() + INIT;
        let outcome = loop {
            let wanted = Arc::strong_count(&producer) > 1 && Instant::now() < deadline;
            match producer.init_transactions(INIT_SLICE) {
                Err(KafkaError::Transaction(e)) if e.is_retriable() && wanted => {}
                outcome => break outcome,
            }
        };
        // A call that was resumed may have left an answer behind, which the next call would take
        // for its own. Once librdkafka's main thread has answered this, it is gone.
        let outcome = outcome.and_then(|()| {
            ffi::round_trip(producer.client().native_ptr(), SUSPICIOUS)
                .map_err(|code| KafkaError::MetadataFetch(code.into()))
        });
        // A closed channel means that the producer was dropped meanwhile.
        drop(sender.send(outcome));
    };
    let spawned = std::thread::Builder::new().name("init-transactions".to_owned()).spawn(run);
    spawned.map_err(|e| BrokerError::Fatal { what: "producer", cause: e.to_string() })?;
    Ok(receiver)
}

impl Producer for KafkaProducer {
    fn attend(&mut self) {
        self.hear();
    }

    fn poll_ready(&mut self) -> Result<bool> {
        self.hear();
        let Some(receiver) = &self.initialising else {
            return Ok(true);
        };
        match receiver.try_recv() {
            Err(TryRecvError::Empty) => Ok(false),
            Ok(Ok(())) => {
                self.initialising = None;
                Ok(true)
            }
            Ok(Err(error)) => Err(failed("initialise the producer", &error)),
            Err(TryRecvError::Disconnected) => Err(BrokerError::Unavailable {
                what: "initialise the producer",
                cause: "it ended without an answer".to_owned(),
            }),
        }
    }

    fn send(&mut self, record: Outgoing<'_>) -> Result<()> {
        check_time(&record)?;
        self.begin()?;
        let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
        for (key, value) in record.headers {
            headers = headers.insert(KafkaHeader { key, value: *value });
        }
        let mut message = BaseRecord::<[u8], [u8]>::to(record.topic)
            .partition(record.partition as i32)
            .timestamp(record.timestamp)
            .headers(headers);
        message.key = record.key;
        message.payload = record.value;
        let mut deadline = None;
        loop {
            match self.producer.send(message) {
                Ok(()) => return Ok(()),
                Err((error, back)) => {
                    let full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
                    let now = Instant::now();
                    let patience = Duration::from_millis(MESSAGE_TIMEOUT_MS);
                    if !full || now > *deadline.get_or_insert(now + patience) {
                        let at = TopicPartition::new(record.topic, record.partition);
                        return Err(undelivered("send", &error, at));
                    }
                    message = back;
                    self.producer.poll(Duration::from_millis(1));
                }
            }
        }
    }

    fn start_commit(
        &mut self,
        offsets: &[OffsetCommit],
        membership: &Membership,
        backing: &[TopicPartition],
    ) -> Result<(), CommitStatus> {
        let aborted = |cause| match cause {
            cause @ BrokerError::Fenced { what: "begin" | "deliver", .. } => {
                CommitStatus::Fenced { cause }
            }
            cause => CommitStatus::Aborted { cause },
        };
        self.begin().map_err(aborted)?;
        // Draining strictly precedes the offsets.
        self.drain().map_err(|cause| {
            // What failed has left a gap in librdkafka's sequence numbers, at which the broker
            // would refuse the next transaction.
            self.tainted = true;
            aborted(cause)
        })?;
        // The ends are asked between the drain and the offsets: all of ours is below them by
        // then; and if a later owner had already written there, the group would have a new
        // generation, and the offsets would be refused.
        let end = OffsetSpec::End(Isolation::ReadUncommitted);
        self.ends = self.shared.offsets(backing, end).map_err(aborted)?;
        if !self.transactional {
            return Ok(());
        }
        let mut refusal = None;
        // Only the time and the connection matter to `watched` here.
        let _ = self.watched(|this| {
            refusal = this.add_offsets(offsets, membership).err();
            Ok(())
        });
        refusal.map_or(Ok(()), |cause| Err(aborted(cause)))
    }

    fn poll_commit(&mut self) -> CommitStatus {
        let ends = std::mem::take(&mut self.ends);
        if !self.transactional {
            return CommitStatus::Committed { ends };
        }
        let outcome = self.watched(|this| this.producer.commit_transaction(SUSPICIOUS));
        match outcome {
            Ok(()) => {
                self.begun = false;
                CommitStatus::Committed { ends }
            }
            Err(KafkaError::Transaction(error)) if error.txn_requires_abort() => {
                let cause = failed("commit", &KafkaError::Transaction(error));
                CommitStatus::Aborted { cause }
            }
            // Timed out, disconnected, fenced while a first request may have been taken: only
            // the committed offsets can tell.
            Err(error) => CommitStatus::Unknown { cause: failed("commit", &error) },
        }
    }

    fn abort(&mut self) -> Result<()> {
        if !self.transactional {
            return self.drain();
        }
        if !self.begun {
            return Ok(());
        }
        // librdkafka drops what is queued, and only its own way of doing so keeps the sequence
        // numbers of the next transaction gapless (after a `purge` of ours the broker refuses
        // it). It waits for its reports to be served meanwhile. It is one call: a call that is
        // resumed may leave an answer behind, which the next call takes for its own.
        let outcome = self.watched(|this| {
            let (producer, over) = (&this.producer, AtomicBool::new(false));
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        producer.poll(ABORT_SLICE);
                    }
                });
                let outcome = producer.abort_transaction(SUSPICIOUS);
                over.store(true, Ordering::Relaxed);
                outcome
            })
        });
        // What was purged is no failure of the next transaction.
        lock(&self.producer.client().context().delivery_failed).take();
        self.begun = false;
        match outcome {
            // The coordinator has no open transaction of ours: the first partition was not added
            // yet, since the markers of the last transaction were still being written. The
            // request on its way is fenced by the successor of this producer, tainted by now.
            Err(e)
                if e.rdkafka_error_code() == Some(RDKafkaErrorCode::InvalidTransactionalState) =>
            {
                Ok(())
            }
            outcome => outcome.map_err(|e| failed("abort", &e)),
        }
    }

    fn is_tainted(&self) -> bool {
        self.tainted
    }
}
