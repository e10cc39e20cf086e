//! The last of a run: one of the topics is deleted and made anew, while a processor runs or while it is
//! stopped. What there was is gone, and nobody may go on as if it were the former one.

use crate::installation::PATIENCE;
use crate::kafka_installation::{KafkaInstallation, PARTITIONS, READY};
use crate::now_ms;
use crate::operator::Operator;
use crate::processes::Process;

/// Starts of a processor are told apart by their numbers: those of the processes are below.
const START: u32 = 100_000;
/// Purchases in each partition of an input that was made anew.
const PURCHASES: u64 = 20;

/// Fails unless every processor ends by itself and names the topic; says what was done.
pub(super) fn play(kafka: &KafkaInstallation, seed: u64) -> String {
    let topics = &kafka.installation.settings.topics;
    let [added, created, rekeyed] = kafka.inputs();
    let all = [created, &topics.stock, added, &topics.purchase_finished, rekeyed];
    let topic = all[(seed / 2) as usize % all.len()];
    let runs = (seed / 2).is_multiple_of(2);
    let start = |n| kafka.processor("a", START + n, &kafka.address);
    let operator = Operator::at(&kafka.address);

    let mut running = Some(start(0));
    running.iter_mut().for_each(|processor| drop(processor.wait_line(READY)));
    if !runs {
        running.take().into_iter().for_each(Process::stop);
    }
    operator.recreate(&*kafka.installation.broker, topic);
    if topic == created {
        purchase(kafka, topic);
    }
    running.iter_mut().for_each(|processor| ends_by_name(processor, topic));
    // Nor does it begin, each time.
    (1..=2).for_each(|n| ends_by_name(&mut start(n), topic));
    let when = if runs { "in mid-run" } else { "while stopped" };
    format!("{topic} made anew {when} and refused by name")
}

fn purchase(kafka: &KafkaInstallation, topic: &str) {
    for n in 0..PURCHASES {
        let value = format!(r#"{{"purchaseId":"anew-{n}","itemId":"item-0","quantity":1}}"#);
        let record = |partition| (topic, partition, "item-0", value.as_bytes(), now_ms());
        kafka.installation.append(&(0..PARTITIONS).map(record).collect::<Vec<_>>());
    }
}

fn ends_by_name(processor: &mut Process, topic: &str) {
    let status = processor.wait(PATIENCE);
    let word = processor.last_word();
    assert!(!status.success() && word.contains(topic), "{topic} was made anew: {status}: {word}");
}
