//! The topics of a workload: filled, read back, compared.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use bps_service::exit::AnyError;
use bps_streams::broker::{Appender, Broker, BrokerError, Isolation, OffsetSpec, TopicPartition};
use bps_streams::partitioner::partition_of;
use bps_streams::record::{Batch, Record};
use bps_streams::{Outgoing, prepare_topics};
use purchase_processor::{Settings, topology};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use system_tests::oracle::Event;

use crate::expected::Expected;
use crate::workload::Workload;

/// Records on their way to the log while topics are filled.
const ON_THEIR_WAY: u64 = 50_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// Creates what is missing.
///
/// # Errors
/// When the log does not answer.
pub(crate) fn prepare(
    broker: &dyn Broker,
    settings: &Settings,
    partitions: u32,
) -> Result<(), AnyError> {
    prepare_topics(broker, &topology(settings)?, partitions)?;
    Ok(())
}

/// Writes a workload under a prefix; what must come of it.
///
/// # Errors
/// What kept a record from being written.
pub(crate) fn fill(
    broker: &dyn Broker,
    input: &str,
    workload: Workload,
    partitions: u32,
) -> Result<Expected, AnyError> {
    // They all have the same inputs, and nobody ever runs under this name on a cluster.
    let settings = Settings::new(input, input);
    prepare(broker, &settings, partitions)?;
    let mut expected = Expected::default();
    let mut writer = Writer::new(broker)?;
    for event in workload.events() {
        expected.decide(&event);
        let (purchases, restocks) =
            (&settings.topics.purchase_created, &settings.topics.items_added);
        let topic = if event.is_purchase { purchases } else { restocks };
        writer.write(topic, partitions, &event)?;
    }
    writer.finish()?;
    Ok(expected)
}

/// Compares all results with what they must be.
///
/// # Errors
/// The first result that is wrong, twice there or missing.
pub(crate) fn check(
    broker: &dyn Broker,
    settings: &Settings,
    partitions: u32,
    expected: &mut Expected,
) -> Result<(), AnyError> {
    expected.begin();
    read(broker, &settings.topics.purchase_finished, partitions, |record| {
        expected.take(record.value.unwrap_or_default())
    })?;
    expected.end()
}

/// Counts the results only.
///
/// # Errors
/// When there is not one for each purchase.
pub(crate) fn count(
    broker: &dyn Broker,
    settings: &Settings,
    partitions: u32,
    expected: &Expected,
) -> Result<(), AnyError> {
    let (mut results, purchases) = (0, expected.purchases());
    read(broker, &settings.topics.purchase_finished, partitions, |_| {
        results += 1;
        Ok(())
    })?;
    match results == purchases {
        true => Ok(()),
        false => Err(format!("{results} results for {purchases} purchases").into()),
    }
}

/// Shows all that is committed on a topic.
fn read(
    broker: &dyn Broker,
    topic: &str,
    partitions: u32,
    mut visit: impl FnMut(&Record<'_>) -> Result<(), AnyError>,
) -> Result<(), AnyError> {
    let at: Vec<_> = (0..partitions).map(|p| TopicPartition::new(topic, p)).collect();
    let ends = ends(broker, &at)?;
    let from: Vec<_> = at.iter().cloned().map(|at| (at, 0)).collect();
    let mut reader = broker.reader(&from, Isolation::ReadCommitted)?;
    let mut positions = vec![0; at.len()];
    let mut batch = Batch::default();
    while positions.iter().zip(&ends).any(|(position, end)| position < end) {
        reader.wait(Duration::from_millis(20))?;
        for (slot, at) in at.iter().enumerate() {
            batch.clear();
            positions[slot] = reader.fetch(slot, 1 << 20, &mut batch)?;
            for index in 0..batch.len() {
                visit(&batch.get(index, &at.topic, at.partition))?;
            }
        }
    }
    Ok(())
}

/// Deletes all topics of this prefix: a broker has as many files open as there were runs.
///
/// # Errors
/// When the cluster does not answer.
pub(crate) fn delete(kafka: &str, broker: &dyn Broker, prefix: &str) -> Result<(), AnyError> {
    let topics = broker.describe_topics(&[])?.into_iter().flatten().map(|topic| topic.name);
    let names: Vec<String> = topics.filter(|name| name.starts_with(prefix)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut config = ClientConfig::new();
    let admin: AdminClient<_> = config.set("bootstrap.servers", kafka).create()?;
    let deleted = pollster::block_on(admin.delete_topics(&names, &AdminOptions::new()))?;
    deleted.into_iter().try_for_each(|topic| match topic {
        Ok(_) => Ok(()),
        Err((name, code)) => Err(format!("{name} cannot be deleted: {code}").into()),
    })
}

/// The topic's ends, once no transaction is open: the group's offsets may be seen before the end of
/// their transaction has reached the results.
fn ends(broker: &dyn Broker, at: &[TopicPartition]) -> Result<Vec<u64>, AnyError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let [committed, all] = [Isolation::ReadCommitted, Isolation::ReadUncommitted]
            .map(|isolation| broker.offsets(at, OffsetSpec::End(isolation)));
        let (committed, all) = (committed?, all?);
        if committed == all {
            return Ok(all);
        }
        if Instant::now() > deadline {
            return Err(format!("a transaction is still open: {committed:?} of {all:?}").into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

type Acked = Result<u64, BrokerError>;

/// Writes events and waits only when too many are on their way.
pub(crate) struct Writer {
    appender: Box<dyn Appender>,
    acks: (Sender<Acked>, Receiver<Acked>),
    open: u64,
}

impl Writer {
    /// # Errors
    /// When the cluster gives no writer.
    pub(crate) fn new(broker: &dyn Broker) -> Result<Writer, AnyError> {
        Ok(Writer { appender: broker.appender()?, acks: channel(), open: 0 })
    }

    /// Writes an event to the partition of its item.
    ///
    /// # Errors
    /// What kept this or an earlier one from being written.
    pub(crate) fn write(
        &mut self,
        topic: &str,
        partitions: u32,
        e: &Event,
    ) -> Result<(), AnyError> {
        let value = e.value();
        let record = Outgoing {
            topic,
            partition: partition_of(e.item.as_bytes(), partitions),
            timestamp: e.at,
            key: Some(e.item.as_bytes()),
            value: Some(value.as_bytes()),
            headers: &[],
        };
        let sender = self.acks.0.clone();
        let ack = Box::new(move |acked| drop(sender.send(acked)));
        self.appender.append(record, ack)?;
        self.open += 1;
        while self.open > ON_THEIR_WAY {
            self.hear()?;
        }
        Ok(())
    }

    /// Takes note of what was written meanwhile.
    ///
    /// # Errors
    /// What kept a record from being written.
    pub(crate) fn hear_all(&mut self) -> Result<(), AnyError> {
        while let Ok(acked) = self.acks.1.try_recv() {
            acked?;
            self.open -= 1;
        }
        Ok(())
    }

    fn hear(&mut self) -> Result<(), AnyError> {
        self.acks.1.recv_timeout(PATIENCE)??;
        self.open -= 1;
        Ok(())
    }

    /// Waits until all is written.
    ///
    /// # Errors
    /// What kept a record from being written.
    pub(crate) fn finish(&mut self) -> Result<(), AnyError> {
        while self.open > 0 {
            self.hear()?;
        }
        Ok(())
    }
}
