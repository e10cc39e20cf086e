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
use bps_streams::topology::as_it_is;
use bps_streams::{
    Application, ApplicationConfig, Context, Message, Node, Outgoing, ProcessResult, Processor,
    Record, Sink, SinkId, Source, Store, StoreId, Topology, prepare_topics,
};

const PARTITIONS: u32 = 2;

/// Adds up the amounts of each account.
struct Add {
    sums: StoreId,
    balances: SinkId,
}

impl Processor for Add {
    type Input<'a> = Record<'a>;

    fn process(&mut self, amount: Record<'_>, context: &mut Context<'_>) -> ProcessResult {
        let account = amount.key.unwrap_or_default();
        let number = |bytes: &[u8]| std::str::from_utf8(bytes).ok()?.parse::<u64>().ok();
        let before = context.get(self.sums, account)?.and_then(|row| number(row.value));
        let sum = before.unwrap_or(0).saturating_add(amount.value.and_then(number).unwrap_or(0));
        let sum = sum.to_string();
        context.put(self.sums, account, sum.as_bytes())?;
        context.send(self.balances, Message::new(account, sum.as_bytes()))?;
        Ok(())
    }
}

fn topology() -> Result<Topology, Box<dyn Error>> {
    let add = Node::new("add", |wiring| Add {
        sums: wiring.store("sums"),
        balances: wiring.sink("balances"),
    });
    let topology = Topology::named("ledger")
        .store(Store::new("sums", "account-sums"))
        .sink(Sink::new("balances", "balances"))
        .processor(add.reads(Source::new("amounts", "amounts", as_it_is)))
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
