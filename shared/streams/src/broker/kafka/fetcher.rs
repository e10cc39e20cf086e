//! A client of librdkafka that fetches, with a queue for each partition: what a member and a reader
//! have in common.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::bindings::rd_kafka_resp_err_t as RespErr;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::context::Context;
use super::ffi::{Queue, Wake};
use super::{Shared, failed};
use crate::broker::slots::{Fetcher, Halt};
use crate::broker::{BrokerError, Isolation, OffsetSpec, Result, TopicPartition};

pub(super) struct Client {
    pub(super) consumer: BaseConsumer<Context>,
    pub(super) shared: Arc<Shared>,
    wake: Wake,
    begun: Instant,
}

impl Client {
    pub(super) fn new(
        shared: Arc<Shared>,
        config: &ClientConfig,
        what: &'static str,
    ) -> Result<Client> {
        let consumer: BaseConsumer<Context> =
            config.create_with_context(Context::default()).map_err(|e| failed(what, &e))?;
        let wake = Wake::new().map_err(|e| BrokerError::Fatal { what, cause: e.to_string() })?;
        Ok(Client { consumer, shared, wake, begun: Instant::now() })
    }

    /// Waits until something was queued since the last call.
    pub(super) fn wait(&self, wait: Duration) {
        if !wait.is_zero() {
            self.wake.wait(wait);
        }
    }

    /// The client's common queue, for its wake-ups only; to be dropped before the client.
    pub(super) fn common_queue(&self) -> Result<Queue> {
        let queue = Queue::of_consumer(self.consumer.client().native_ptr(), &self.wake);
        let cause = "librdkafka gives no queue".to_owned();
        queue.ok_or(BrokerError::Fatal { what: "consumer", cause })
    }

    /// Waits until what an assignment took away has been stopped, and none of it can come out of a
    /// queue any more. librdkafka's main thread does that after it has answered, and a second change
    /// that finds it half done ends the process (its issue 5573, mended after 2.15). It takes its
    /// work in turn: the first question is answered when all has been told to stop, the second one
    /// when it has.
    fn settle(&self) -> Result<()> {
        for _ in 0..2 {
            self.consumer.assignment().map_err(|e| failed("assign", &e))?;
        }
        Ok(())
    }
}

impl Fetcher for Client {
    type Queue = Queue;

    /// A broker that was killed takes, when it comes back, its log for as long as it last wrote
    /// down, until it has led the partition for a moment; then it has all of it.
    const SHORT_MS_MAX: u64 = 10_000;

    fn restart(&mut self, from: &[(TopicPartition, u64)]) -> Result<Vec<Queue>> {
        let mut list = TopicPartitionList::with_capacity(from.len());
        let mut queues = Vec::with_capacity(from.len());
        let client = self.consumer.client().native_ptr();
        for (at, position) in from {
            let queue = Queue::of_partition(client, &at.topic, at.partition, &self.wake);
            queues.push(queue.ok_or_else(|| BrokerError::UnknownPartition(at.clone()))?);
            let offset = Offset::Offset(*position as i64);
            list.add_partition_offset(&at.topic, at.partition as i32, offset)
                .map_err(|e| failed("assign", &e))?;
        }
        self.consumer.assign(&list).map_err(|e| failed("assign", &e))?;
        self.settle()?;
        Ok(queues)
    }

    fn bounds(&self, partitions: &[TopicPartition]) -> Result<Vec<(u64, u64)>> {
        let starts = self.shared.offsets(partitions, OffsetSpec::Start)?;
        let end = OffsetSpec::End(Isolation::ReadUncommitted);
        Ok(starts.into_iter().zip(self.shared.offsets(partitions, end)?).collect())
    }

    fn now_ms(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }
}

/// What an entry with an error in a partition's queue means. With `auto.offset.reset=error` an
/// offset that the broker does not hold is told by its second name; librdkafka has stopped fetching
/// that partition then. After any other error it goes on, mostly behind what it could not read.
pub(super) fn halt(code: RespErr) -> Halt {
    match code {
        RespErr::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE
        | RespErr::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET => Halt::OutOfRange,
        code => {
            let code = RDKafkaErrorCode::from(code);
            Halt::Failed(failed("fetch", &KafkaError::MessageConsumption(code)))
        }
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::bindings::rd_kafka_resp_err_t::{
        RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE, RD_KAFKA_RESP_ERR_UNKNOWN,
    };
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::DefaultProducerContext;
    use rdkafka::types::RDKafkaApiKey;

    use super::*;
    use crate::broker::Broker as _;
    use crate::broker::kafka::{KafkaBroker, KafkaConfig};
    use crate::broker::slots::Slots;
    use crate::record::{Batch, Outgoing};

    #[track_caller]
    fn until(what: &str, mut step: impl FnMut() -> bool) {
        for _ in 0..20_000 {
            if step() {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("it never came to this: {what}");
    }

    fn write(broker: &KafkaBroker, partition: u32, count: u64) {
        let appender = broker.appender().expect("an appender");
        for _ in 0..count {
            let (topic, value) = ("t", Some(&b"text"[..]));
            let record =
                Outgoing { topic, partition, timestamp: 1_000, key: None, value, headers: &[] };
            let (sender, receiver) = std::sync::mpsc::channel();
            let ack = Box::new(move |outcome| sender.send(outcome).expect("a listener"));
            appender.append(record, ack).expect("taken");
            receiver.recv().expect("an ack").expect("acknowledged");
        }
    }

    type Cluster = MockCluster<'static, DefaultProducerContext>;

    /// A client whose first partition holds five fetched records, and behind them this error. The
    /// second one is empty.
    fn halted(code: RespErr) -> (Cluster, KafkaBroker, Slots<Client>, Client) {
        let cluster = MockCluster::new(1).expect("cluster");
        cluster.create_topic("t", 2, 1).expect("topic");
        let broker = KafkaBroker::new(KafkaConfig::new(cluster.bootstrap_servers()));
        write(&broker, 0, 5);
        let mut config = broker.shared.config.fetcher(2, 1_000);
        config.set("group.id", "g");
        let mut client = Client::new(broker.shared.clone(), &config, "test").expect("a client");
        let from = [0, 1].map(|partition| (TopicPartition::new("t", partition), 0));
        let mut slots = Slots::default();
        slots.assign(&mut client, &from).expect("assigned");
        let native = client.consumer.client().native_ptr();
        let queues = [0, 1].map(|n| Queue::of_partition(native, "t", n, &client.wake));
        let waiting = queues.map(|queue| queue.expect("a queue"));
        // Besides the records each queue holds a mark of librdkafka's own, and the end.
        let lens = || [waiting[0].len(), waiting[1].len()];
        until("all is fetched", || lens() == [7, 2]);
        cluster.request_errors(RDKafkaApiKey::Fetch, &[code]);
        until("the error is there", || lens() == [8, 3]);
        (cluster, broker, slots, client)
    }

    /// What was fetched before the error is handed over, it is told, and reading goes on in all
    /// partitions: each record once.
    #[track_caller]
    fn check(code: RespErr, told: &[&str]) {
        let (_cluster, broker, mut slots, mut client) = halted(code);
        let (mut seen, mut errors) = ([Vec::new(), Vec::new()], Vec::new());
        let mut fetch = |seen: &mut [Vec<u64>; 2], errors: &mut Vec<String>| {
            for slot in [0, 1] {
                let mut batch = Batch::default();
                let fetched = slots.fetch(&mut client, slot, 1 << 20, &mut batch);
                let offsets = (0..batch.len()).map(|n| batch.get(n, "t", 0).offset);
                match fetched {
                    Ok(position) => {
                        seen[slot].extend(offsets);
                        assert_eq!(position, seen[slot].len() as u64, "{seen:?}");
                    }
                    Err(error) => errors.push(error.to_string()),
                }
            }
        };
        fetch(&mut seen, &mut errors);
        assert_eq!(seen[0], [0, 1, 2, 3, 4], "{errors:?}");
        write(&broker, 0, 2);
        write(&broker, 1, 3);
        until("the rest", || {
            fetch(&mut seen, &mut errors);
            seen[0].len() >= 7 && seen[1].len() >= 3
        });
        assert_eq!(seen, [Vec::from_iter(0..7), Vec::from_iter(0..3)]);
        errors.dedup();
        assert_eq!(errors, told);
    }

    #[test]
    fn what_was_fetched_before_an_error_is_handed_over_and_the_error_told() {
        let told = "fetch: the broker is not available (Message consumption error: Unknown \
                    (Unknown broker error))";
        check(RD_KAFKA_RESP_ERR_UNKNOWN, &[told]);
    }

    #[test]
    fn a_position_that_is_refused_for_a_moment_is_read_on() {
        check(RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE, &[]);
    }
}
