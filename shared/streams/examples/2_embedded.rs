//! The same kind of application for real: on a durable log in this process, stopped and started
//! again. What was decided stays decided; nothing is counted twice.
#![allow(clippy::print_stdout)] // an example speaks

use std::error::Error;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bps_streams::broker::embedded::EmbeddedBroker;
use bps_streams::broker::{Broker, Isolation, TopicPartition};
use bps_streams::partitioner::partition_of;
use bps_streams::record::Batch;
use bps_streams::topology::record_key;
use bps_streams::{
    Application, ApplicationConfig, Context, Message, Outgoing, ProcessResult, Processor, Record,
    Topology, prepare_topics,
};

const PARTITIONS: u32 = 2;

/// Adds up the amounts of each account.
struct Add;

impl Processor for Add {
    fn process(&mut self, record: &Record<'_>, context: &mut Context<'_>) -> ProcessResult {
        let key = record.key.unwrap_or_default();
        let number = |bytes: &[u8]| std::str::from_utf8(bytes).ok()?.parse::<u64>().ok();
        let before = context.get("sums", key)?.and_then(|row| number(row.value)).unwrap_or(0);
        let sum = before.saturating_add(record.value.and_then(number).unwrap_or(0));
        let value = sum.to_string().into_bytes();
        let sequence = context.put("sums", key, &value)?;
        context.send("out", Message { key, value: &value, sequence, memo: &[] })?;
        Ok(())
    }
}

fn topology() -> Result<Topology, Box<dyn Error>> {
    let topology = Topology::named("ledger")
        .source("amounts", "amounts", record_key)
        .plain_store("sums", "account-sums")
        .processor("add", || Add, ["amounts"], ["sums"])
        .sink("out", "balances", "add")
        .dead_letters("amount-dead-letters")
        .build()?;
    Ok(topology)
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::temp_dir().join(format!("streams-example-{}", std::process::id()));
    let broker: Arc<dyn Broker> = Arc::new(EmbeddedBroker::open(&folder)?);
    prepare_topics(&*broker, &topology()?, PARTITIONS)?;
    for amounts in [[5, 7], [30, 0]] {
        let config = ApplicationConfig::new(folder.join("state"));
        let application = Application::start(broker.clone(), topology()?, config)?;
        for amount in amounts {
            append(&*broker, "alice", &amount.to_string())?;
        }
        wait_and_print(&*broker, amounts)?;
        application.stop()?;
        println!("(stopped)");
    }
    drop(broker);
    Ok(remove(&folder)?)
}

fn append(broker: &dyn Broker, key: &str, value: &str) -> Result<(), Box<dyn Error>> {
    let (sender, acked) = mpsc::channel();
    let record = Outgoing {
        topic: "amounts",
        partition: partition_of(key.as_bytes(), PARTITIONS),
        timestamp: 1_700_000_000_000,
        key: Some(key.as_bytes()),
        value: Some(value.as_bytes()),
        headers: &[],
    };
    let ack = move |acked| drop(sender.send(acked));
    broker.appender()?.append(record, Box::new(ack))?;
    acked.recv()??;
    Ok(())
}

/// Prints the balances after these amounts, as they are committed.
fn wait_and_print(broker: &dyn Broker, amounts: [u64; 2]) -> Result<(), Box<dyn Error>> {
    let at = TopicPartition::new("balances", partition_of(b"alice", PARTITIONS));
    let mut reader = broker.reader(&[(at.clone(), 0)], Isolation::ReadCommitted)?;
    let (mut batch, wanted) = (Batch::default(), if amounts[0] == 5 { 2 } else { 4 });
    while batch.len() < wanted {
        reader.wait(Duration::from_millis(50))?;
        reader.fetch(0, 1 << 20, &mut batch)?;
    }
    for index in wanted - 2..wanted {
        let value = batch.get(index, &at.topic, at.partition).value.unwrap_or_default();
        println!("alice has {}", String::from_utf8_lossy(value));
    }
    Ok(())
}

fn remove(folder: &Path) -> std::io::Result<()> {
    std::fs::remove_dir_all(folder)
}
