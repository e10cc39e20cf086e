//! The last of a run: one of the topics is deleted and made anew, while a processor runs or while it is
//! stopped. What there was is gone, and nobody may go on as if it were the former one.

use crate::installation::PATIENCE;
use crate::now_ms;
use crate::operator::Operator;
use crate::processes::Process;
use crate::site::{PARTITIONS, READY, Site};

/// Starts of a processor are told apart by their numbers: those of the crew are below.
const START: u32 = 100_000;
/// Purchases in each partition of an input that was made anew.
const PURCHASES: u64 = 20;

/// Fails unless every processor ends by itself and names the topic; says what was done.
pub(super) fn play(site: &Site, seed: u64) -> String {
    let topics = &site.installation.settings.topics;
    let [added, created, rekeyed] = site.inputs();
    let all = [created, &topics.stock, added, &topics.purchase_finished, rekeyed];
    let topic = all[(seed / 2) as usize % all.len()];
    let runs = (seed / 2).is_multiple_of(2);
    let start = |n| site.processor("a", START + n, &site.address);
    let operator = Operator::at(&site.address);

    let mut running = Some(start(0));
    running.iter_mut().for_each(|processor| drop(processor.wait_line(READY)));
    if !runs {
        running.take().into_iter().for_each(Process::stop);
    }
    operator.recreate(&*site.installation.broker, topic);
    if topic == created {
        purchase(site, topic);
    }
    running.iter_mut().for_each(|processor| ends_by_name(processor, topic));
    // Nor does it begin, each time.
    (1..=2).for_each(|n| ends_by_name(&mut start(n), topic));
    let when = if runs { "in mid-run" } else { "while stopped" };
    format!("{topic} made anew {when} and refused by name")
}

fn purchase(site: &Site, topic: &str) {
    for n in 0..PURCHASES {
        let value = format!(r#"{{"purchaseId":"anew-{n}","itemId":"item-0","quantity":1}}"#);
        let record = |partition| (topic, partition, "item-0", value.as_bytes(), now_ms());
        site.installation.append(&(0..PARTITIONS).map(record).collect::<Vec<_>>());
    }
}

fn ends_by_name(processor: &mut Process, topic: &str) {
    let status = processor.wait(PATIENCE);
    let word = processor.last_word();
    assert!(!status.success() && word.contains(topic), "{topic} was made anew: {status}: {word}");
}
