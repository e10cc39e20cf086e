//! The floor: what librdkafka alone needs to read every record, write a result-sized one for it,
//! and commit both in a transaction. It decides nothing, keeps nothing and writes no rows of stock.
//! Each thread has its partitions from the beginning: nothing is rebalanced, which it could not
//! survive.
//!
//! `floor KAFKA GROUP IN_PREFIX OUT_PREFIX THREADS PARTITIONS`, until it is ended by a signal or a
//! thread fails.

use std::time::{Duration, Instant};

use bps_service::exit::AnyError;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// As often as the others; sooner when nothing is left to read.
const COMMIT: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(30);
/// What a result says more than its purchase.
const REST: &[u8] =
    b",\"status\":\"SUCCESS\",\"reason\":null,\"itemQuantity\":120,\"alreadyBooked\":37,\
    \"remaining\":82,\"resultMessage\":\"31198570044-1095275-1 - 1095275 SUCCESS quantity: 120 \
    alreadyBooked: 37 purchaseQuantity: 1 remaining: 82\",\"decidedAt\":1483271606000}";

fn main() -> Result<(), AnyError> {
    let args: &[String] = std::env::args().skip(1).collect::<Vec<_>>().leak();
    let [kafka, group, input, output, threads, partitions] = args else {
        return Err("floor KAFKA GROUP IN_PREFIX OUT_PREFIX THREADS PARTITIONS".into());
    };
    let (threads, partitions): (usize, i32) = (threads.parse()?, partitions.parse()?);
    let (ended, ends) = std::sync::mpsc::channel();
    for n in 0..threads.min(partitions as usize) {
        let (ended, own) = (ended.clone(), (0..partitions).skip(n).step_by(threads));
        std::thread::spawn(move || {
            let run = Floor::new(kafka, group, input, output, n, own).and_then(Floor::run);
            drop(ended.send(run));
        });
    }
    ends.recv()?
}

struct Floor {
    consumer: BaseConsumer,
    writer: Writer,
}

struct Writer {
    producer: BaseProducer,
    purchases: String,
    results: String,
    answers: String,
    value: Vec<u8>,
    /// Behind the last record of each partition in the transaction.
    next: Vec<((String, i32), i64)>,
}

impl Floor {
    fn new(
        kafka: &str,
        group: &str,
        input: &str,
        output: &str,
        n: usize,
        partitions: impl Iterator<Item = i32>,
    ) -> Result<Self, AnyError> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", kafka)
            .set("group.id", group)
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            .set("fetch.queue.backoff.ms", "5")
            .set("fetch.wait.max.ms", "10")
            .create()?;
        let purchases = format!("{input}-purchase-created");
        let restocks = format!("{input}-items-added");
        let mut own = TopicPartitionList::new();
        for partition in partitions {
            for topic in [&restocks, &purchases] {
                own.add_partition_offset(topic, partition, Offset::Beginning)?;
            }
        }
        consumer.assign(&own)?;
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", kafka)
            .set("transactional.id", format!("{group}-{n}"))
            .set("compression.type", "lz4")
            .set("linger.ms", "50")
            .set("batch.num.messages", "10000")
            .set("queue.buffering.max.messages", "200000")
            .set("delivery.report.only.error", "true")
            .create()?;
        producer.init_transactions(PATIENCE)?;
        let writer = Writer {
            producer,
            purchases,
            results: format!("{output}-purchase-finished"),
            answers: format!("{output}-restock-finished"),
            value: Vec::new(),
            next: Vec::new(),
        };
        Ok(Self { consumer, writer })
    }

    fn run(self) -> Result<(), AnyError> {
        let Self { consumer, mut writer } = self;
        loop {
            let Some(first) = consumer.poll(COMMIT) else { continue };
            writer.producer.begin_transaction()?;
            let begun = Instant::now();
            writer.answer(&first?)?;
            while begun.elapsed() < COMMIT {
                match consumer.poll(Duration::ZERO) {
                    Some(message) => writer.answer(&message?)?,
                    None => break,
                }
            }
            let group = consumer.group_metadata().ok_or("no group")?;
            writer.commit(&group)?;
        }
    }
}

impl Writer {
    fn commit(&mut self, group: &ConsumerGroupMetadata) -> Result<(), AnyError> {
        let mut offsets = TopicPartitionList::new();
        for ((topic, partition), offset) in self.next.drain(..) {
            offsets.add_partition_offset(&topic, partition, Offset::Offset(offset))?;
        }
        // Not `flush`, which waits in slices of 100 ms.
        while self.producer.in_flight_count() > 0 {
            self.producer.poll(Duration::from_millis(1));
        }
        self.producer.send_offsets_to_transaction(&offsets, group, PATIENCE)?;
        Ok(self.producer.commit_transaction(PATIENCE)?)
    }

    /// Writes the record's answer and notes its place.
    fn answer(&mut self, message: &impl Message) -> Result<(), AnyError> {
        let (topic, partition) = (message.topic(), message.partition());
        let value = message.payload().unwrap_or_default();
        self.value.clear();
        self.value.extend_from_slice(value);
        let is_purchase = topic == self.purchases;
        if is_purchase {
            self.value.extend_from_slice(REST);
        }
        let to = if is_purchase { &self.results } else { &self.answers };
        let key = message.key().unwrap_or_default();
        let mut record = BaseRecord::to(to).partition(partition).key(key).payload(&self.value);
        while let Err((error, back)) = self.producer.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(error.into());
            }
            self.producer.poll(Duration::from_millis(1));
            record = back;
        }
        let behind = message.offset() + 1;
        match self.next.iter_mut().find(|((t, p), _)| *p == partition && t == topic) {
            Some((_, offset)) => *offset = behind,
            None => self.next.push(((topic.to_owned(), partition), behind)),
        }
        Ok(())
    }
}
