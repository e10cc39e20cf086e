//! A group member on Kafka: static, eager `range` assignment, a queue per partition.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::bindings::rd_kafka_resp_err_t as RespErr;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, Offset};

use super::context::Context;
use super::ffi::{Queue, Wake};
use super::{ANSWER, Shared, failed, lock};
use crate::broker::{
    BrokerError, Consumer, ConsumerOptions, GroupEvent, Isolation, Membership, Now, OffsetCommit,
    OffsetSpec, Result, TopicPartition,
};
use crate::record::Batch;

/// A partition that is read.
struct Slot {
    at: TopicPartition,
    queue: Queue,
    position: u64,
    /// Since when the broker says that the position is outside of its log.
    astray: Option<Instant>,
}

/// Messages that a member fetches ahead.
const AHEAD: usize = 80_000;
/// How long a broker that came back may know less of its log than it holds.
const REGAINED: Duration = Duration::from_secs(10);

/// The queues of assigned partitions: what a member and a reader have in common.
pub(super) struct Slots {
    slots: Vec<Slot>,
    /// A fetch left something behind: the next wait must not wait.
    more: bool,
    wake: Wake,
}

impl Slots {
    pub(super) fn new() -> Result<Slots> {
        let wake = Wake::new()
            .map_err(|e| BrokerError::Fatal { what: "consumer", cause: e.to_string() })?;
        Ok(Slots { slots: Vec::new(), more: false, wake })
    }

    pub(super) fn wake(&self) -> &Wake {
        &self.wake
    }

    pub(super) fn wait(&self, wait: Duration) {
        if !self.more && !wait.is_zero() {
            self.wake.wait(wait);
        }
    }

    /// Reads these partitions from these offsets, and no others.
    pub(super) fn assign(
        &mut self,
        consumer: &BaseConsumer<Context>,
        from: &[(TopicPartition, u64)],
    ) -> Result<()> {
        // The old queues first: an assignment that keeps a partition keeps its queue object.
        self.slots.clear();
        let mut list = TopicPartitionList::with_capacity(from.len());
        let client = consumer.client().native_ptr();
        for (at, position) in from {
            let queue = Queue::of_partition(client, &at.topic, at.partition, &self.wake)
                .ok_or_else(|| BrokerError::UnknownPartition(at.clone()))?;
            self.slots.push(Slot { at: at.clone(), queue, position: *position, astray: None });
            let offset = Offset::Offset(*position as i64);
            list.add_partition_offset(&at.topic, at.partition as i32, offset)
                .map_err(|e| failed("assign", &e))?;
        }
        self.more = true;
        consumer.assign(&list).map_err(|e| failed("assign", &e))?;
        settle(consumer)
    }

    pub(super) fn clear(&mut self) {
        self.slots.clear();
    }

    pub(super) fn begin_poll(&mut self) {
        self.more = false;
    }

    pub(super) fn fetch(
        &mut self,
        shared: &Shared,
        consumer: &BaseConsumer<Context>,
        slot: usize,
        bytes_max: usize,
        batch: &mut Batch,
    ) -> Result<u64> {
        let slot = &mut self.slots[slot];
        let consumed = slot.queue.consume(bytes_max, batch);
        self.more |= consumed.more;
        slot.position = consumed.position.unwrap_or(0).max(slot.position);
        match consumed.error {
            None => {}
            Some(
                RespErr::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE
                | RespErr::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET,
            ) => slot.astray = slot.astray.or_else(|| Some(Instant::now())),
            Some(code) => {
                let code = RDKafkaErrorCode::from(code);
                return Err(failed("fetch", &KafkaError::MessageConsumption(code)));
            }
        }
        if let Some(since) = slot.astray {
            slot.regain(since, shared, consumer)?;
        }
        Ok(slot.position)
    }
}

/// Waits until what an assignment took away has been stopped. librdkafka's main thread does that
/// after it has answered, and a second change that finds it half done ends the process (its issue
/// 5573, mended after 2.15). It takes its work in turn: the first question is answered when all
/// has been told to stop, the second one when it has.
fn settle(consumer: &BaseConsumer<Context>) -> Result<()> {
    for _ in 0..2 {
        consumer.assignment().map_err(|e| failed("assign", &e))?;
    }
    Ok(())
}

impl Slot {
    /// A broker that was killed takes, when it comes back, its log for as long as it last wrote
    /// down, until it has led the partition for a moment; then it has all of it. So the error is
    /// believed only when the bounds of the log agree, and for long enough. librdkafka has stopped
    /// fetching, and is told to go on from the same place.
    fn regain(
        &mut self,
        since: Instant,
        shared: &Shared,
        consumer: &BaseConsumer<Context>,
    ) -> Result<()> {
        let error = out_of_range(shared, &self.at, self.position)?;
        let BrokerError::OffsetOutOfRange { offset, start, end, .. } = error else {
            return Err(error);
        };
        if offset < start || (offset > end && since.elapsed() > REGAINED) {
            return Err(error);
        }
        if offset <= end {
            tracing::debug!(partition = %self.at, offset, start, end, "reads on");
            let (partition, offset) = (self.at.partition as i32, Offset::Offset(offset as i64));
            let sought = consumer.seek(&self.at.topic, partition, offset, ANSWER);
            sought.map_err(|e| failed("seek", &e))?;
            self.astray = None;
        }
        Ok(())
    }
}

fn out_of_range(shared: &Shared, at: &TopicPartition, offset: u64) -> Result<BrokerError> {
    let ask = |spec| shared.offsets(std::slice::from_ref(at), spec).map(|o| o[0]);
    let start = ask(OffsetSpec::Start)?;
    let end = ask(OffsetSpec::End(Isolation::ReadUncommitted))?;
    Ok(BrokerError::OffsetOutOfRange { partition: at.clone(), offset, start, end })
}

pub(super) struct KafkaConsumer {
    // Queues are dropped before the client they belong to: fields drop in this order.
    slots: Slots,
    _common: Queue,
    consumer: BaseConsumer<Context>,
    shared: Arc<Shared>,
    options: ConsumerOptions,
    generation: i64,
}

impl KafkaConsumer {
    pub(super) fn new(shared: Arc<Shared>, options: ConsumerOptions) -> Result<Self> {
        let consumer: BaseConsumer<Context> = member_config(&shared, &options)
            .create_with_context(Context::default())
            .map_err(|e| failed("consumer", &e))?;
        let slots = Slots::new()?;
        let common = Queue::of_consumer(consumer.client().native_ptr(), slots.wake());
        let common = common.ok_or_else(|| BrokerError::Fatal {
            what: "consumer",
            cause: "librdkafka gives no queue".to_owned(),
        })?;
        let topics: Vec<&str> = options.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics).map_err(|e| failed("subscribe", &e))?;
        Ok(Self { slots, _common: common, consumer, shared, options, generation: 0 })
    }

    /// Serves the group once; errors of the connection are librdkafka's to mend.
    fn serve(&self) -> Result<()> {
        while let Some(polled) = self.consumer.poll(Duration::ZERO) {
            let Err(error) = polled else { continue };
            match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::FencedInstanceId) => {
                    return Err(failed("group", &error));
                }
                _ if matches!(error, KafkaError::MessageConsumptionFatal(_)) => {
                    let cause = error.to_string();
                    return Err(BrokerError::Fatal { what: "group", cause });
                }
                _ => tracing::debug!(%error, "group"),
            }
        }
        match lock(&self.consumer.context().fatal).take() {
            None => Ok(()),
            Some(error) => {
                let cause = self.fatal_cause(&error);
                match cause.contains("group.instance.id") || cause.contains("FENCED") {
                    true => Err(BrokerError::Fenced { what: "group", cause }),
                    false => Err(BrokerError::Fatal { what: "group", cause }),
                }
            }
        }
    }

    fn fatal_cause(&self, error: &KafkaError) -> String {
        match self.consumer.client().fatal_error() {
            Some((code, text)) => format!("{code}: {text}"),
            None => error.to_string(),
        }
    }

    fn next_event(&mut self) -> Option<GroupEvent> {
        let event = lock(&self.consumer.context().events).pop_front()?;
        if matches!(event, GroupEvent::Assigned(_)) {
            self.generation += 1;
        }
        Some(event)
    }
}

fn member_config(shared: &Shared, options: &ConsumerOptions) -> ClientConfig {
    let partitions = options.topics.len() * options.partitions as usize;
    let mut config = shared.config.fetcher(partitions, AHEAD);
    config
        .set("group.id", &options.group)
        .set("group.instance.id", &options.instance)
        .set("session.timeout.ms", options.session_timeout_ms.to_string())
        // A rebalance is over as soon as every member has heard of it.
        .set("heartbeat.interval.ms", "500")
        .set("partition.assignment.strategy", "range")
        .set("isolation.level", "read_committed");
    config
}

impl Consumer for KafkaConsumer {
    fn poll(&mut self, _now: Now, wait: Duration) -> Result<GroupEvent> {
        self.serve()?;
        if let Some(event) = self.next_event() {
            return Ok(event);
        }
        self.slots.wait(wait);
        self.slots.begin_poll();
        self.serve()?;
        Ok(self.next_event().unwrap_or(GroupEvent::None))
    }

    fn assign(&mut self, from: &[(TopicPartition, u64)]) -> Result<()> {
        self.slots.assign(&self.consumer, from)
    }

    fn fetch(&mut self, slot: usize, bytes_max: usize, batch: &mut Batch) -> Result<u64> {
        self.slots.fetch(&self.shared, &self.consumer, slot, bytes_max, batch)
    }

    fn release(&mut self) -> Result<()> {
        self.slots.clear();
        self.consumer.unassign().map_err(|e| failed("release", &e))
    }

    fn membership(&self) -> Membership {
        // Asked anew for every commit: a cached one goes stale.
        let native = self.consumer.group_metadata();
        let native = native.map(|m| Arc::new(m) as Arc<dyn std::any::Any + Send + Sync>);
        Membership {
            // librdkafka does not tell the generation; this member's assignments are counted.
            generation: (self.generation > 0).then_some(self.generation),
            member: self.options.instance.clone(),
            group: self.options.group.clone(),
            native,
        }
    }

    fn commit(&mut self, offsets: &[OffsetCommit]) -> Result<()> {
        let list = offset_list(offsets)?;
        self.consumer.commit(&list, CommitMode::Sync).map_err(|e| failed("commit offsets", &e))
    }

    fn leave(&mut self, now: Now) -> Result<()> {
        // A static member does not leave by closing: it must unsubscribe, and be heard.
        self.consumer.unsubscribe();
        for _ in 0..100 {
            if self.poll(now, Duration::from_millis(20))? == GroupEvent::Revoking {
                break;
            }
        }
        self.release()
    }
}

impl Drop for KafkaConsumer {
    fn drop(&mut self) {
        self.consumer.context().closing.store(true, Ordering::Relaxed);
    }
}

/// The group's own view of this member, as the transaction needs it.
pub(super) fn native(membership: &Membership) -> Option<&ConsumerGroupMetadata> {
    membership.generation?;
    membership.native.as_ref()?.downcast_ref()
}

pub(super) fn offset_list(offsets: &[OffsetCommit]) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::with_capacity(offsets.len());
    for OffsetCommit { partition: at, committed } in offsets {
        let mut element = list.add_partition(&at.topic, at.partition as i32);
        element.set_metadata(committed.metadata.as_str());
        let set = element.set_offset(Offset::Offset(committed.offset as i64));
        set.map_err(|e| failed("commit offsets", &e))?;
    }
    Ok(list)
}
