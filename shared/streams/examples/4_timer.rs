//! A reminder that fires on a quiet partition: a store says when its rows fall due, and the worker's clock
//! enters by ticks, which are records like others. The processor is stopped while the reminder waits.
#![allow(clippy::print_stdout)] // an example speaks

use std::error::Error;
use std::sync::{Arc, mpsc};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bps_streams::broker::embedded::EmbeddedBroker;
use bps_streams::broker::{Broker, Isolation, TopicPartition};
use bps_streams::record::Batch;
use bps_streams::topology::as_it_is;
use bps_streams::{
    Application, ApplicationConfig, Context, Due, DueRow, Ledger, Message, Node, Outgoing,
    ProcessResult, Processor, Record, Sink, SinkId, Source, Store, StoreId, Topology,
    prepare_topics,
};

/// Keeps what it is to remind of: the value is when (ms since 1970).
struct Remind {
    reminders: StoreId,
    fired: SinkId,
}

impl Processor for Remind {
    type Input<'a> = Record<'a>;

    fn process(&mut self, record: Record<'_>, context: &mut Context<'_>) -> ProcessResult {
        let (what, when) = (record.key.unwrap_or_default(), record.value.unwrap_or_default());
        context.put(self.reminders, what, when)?;
        Ok(())
    }

    fn due(&mut self, fallen: DueRow<'_>, context: &mut Context<'_>) -> ProcessResult {
        context.delete(self.reminders, fallen.key)?;
        context.send(self.fired, Message::new(fallen.key, fallen.row.value))?;
        Ok(())
    }
}

fn when(value: &[u8]) -> Option<Due> {
    std::str::from_utf8(value).ok()?.parse().ok().map(Due::At)
}

fn topology() -> Result<Topology, Box<dyn Error>> {
    let remind = Node::new("remind", |wiring| {
        // What changes when a row falls due is told in a topic that backs a ledger.
        wiring.ledger("fired");
        Remind { reminders: wiring.store("reminders"), fired: wiring.sink("fired") }
    });
    let topology = Topology::named("reminders")
        .store(Store::new("reminders", "reminders-changelog").due(1, when))
        .ledger(Ledger::new("fired", "fired", |_, _| None))
        .sink(Sink::new("fired", "fired"))
        .processor(remind.reads(Source::new("wanted", "wanted", as_it_is)))
        .ticks("ticks")
        .dead_letters("dead-letters")
        .build()?;
    Ok(topology)
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::temp_dir().join(format!("streams-timer-{}", std::process::id()));
    let broker: Arc<dyn Broker> = Arc::new(EmbeddedBroker::open(&folder)?);
    prepare_topics(&*broker, &topology()?, 1)?;
    let start = || {
        Application::start(
            broker.clone(),
            topology()?,
            ApplicationConfig::new(folder.join("state")),
        )
        .map_err(Box::<dyn Error>::from)
    };
    let application = start()?;
    let due = now_ms()? + 1_500;
    append(&*broker, "tea", &due.to_string())?;
    println!("tea: set for 1.5 s from now");
    std::thread::sleep(Duration::from_millis(300));
    application.stop()?;
    println!("(stopped, and started again)");
    let application = start()?;
    let what = wait_for_one(&*broker, "fired")?;
    // Never early.
    assert!(now_ms()? >= due);
    println!("{what}: fired");
    application.stop()?;
    drop(broker);
    Ok(std::fs::remove_dir_all(&folder)?)
}

fn now_ms() -> Result<u64, Box<dyn Error>> {
    Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?)
}

fn append(broker: &dyn Broker, key: &str, value: &str) -> Result<(), Box<dyn Error>> {
    let (sender, acked) = mpsc::channel();
    let record = Outgoing {
        topic: "wanted",
        partition: 0,
        timestamp: i64::try_from(now_ms()?)?,
        key: Some(key.as_bytes()),
        value: Some(value.as_bytes()),
        headers: &[],
    };
    let ack = move |acked| drop(sender.send(acked));
    broker.appender()?.append(record, Box::new(ack))?;
    acked.recv()??;
    Ok(())
}

/// The key of the first committed record of a topic.
fn wait_for_one(broker: &dyn Broker, topic: &str) -> Result<String, Box<dyn Error>> {
    let at = TopicPartition::new(topic, 0);
    let mut reader = broker.reader(&[(at.clone(), 0)], Isolation::ReadCommitted)?;
    let mut batch = Batch::default();
    while batch.is_empty() {
        reader.wait(Duration::from_millis(50))?;
        reader.fetch(0, 1 << 20, &mut batch)?;
    }
    let key = batch.get(0, topic, 0).key.unwrap_or_default();
    Ok(String::from_utf8_lossy(key).into_owned())
}
