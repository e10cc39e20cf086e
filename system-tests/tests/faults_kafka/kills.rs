//! kill -9 of any of three processors, as far as possible in the midst of a transaction.

use std::time::Duration;

use system_tests::budget::is_ample;
use system_tests::kafka_installation::READY;
use system_tests::load::{Pace, Progress, under_load};
use system_tests::processes::{Random, tell};
use system_tests::proxy::{Proxy, Weather};

use super::shared_installation;

#[test]
fn killed_in_open_transactions_nothing_is_lost_or_doubled() {
    let Some(kafka) = shared_installation("kills") else { return };
    let proxy = Proxy::start(&kafka.address, 51);
    // A commit takes a moment, so that kills meet it.
    proxy.set_weather(Weather { latency_ms: Some((1, 6)), drips: false });
    let (through, direct) = (proxy.address(), kafka.address.clone());
    let progress = Progress::default();
    let kills = if is_ample() { 30 } else { 8 };
    let (sent, processes) = under_load(&kafka, &[&direct], Pace::brisk(52), &progress, || {
        let names = ["a", "b", "c"];
        let mut processes: Vec<_> =
            names.iter().map(|member| kafka.processor(member, 0, &through)).collect();
        processes.iter_mut().for_each(|p| drop(p.wait_line(READY)));
        let (mut random, mut hits) = (Random::new(53), 0);
        for kill in 1..=kills {
            random.sleep(100, 800);
            let at = random.below(3) as usize;
            let victim = processes.remove(at);
            kafka.await_open(&victim, Duration::from_secs(3));
            victim.kill();
            hits += u32::from(kafka.is_left_open());
            let mut next = kafka.processor(names[at], kill, &through);
            if kill % 3 != 0 {
                next.wait_line(READY);
            }
            processes.insert(at, next);
        }
        tell(format_args!("kills: {hits} of {kills} in an open transaction"));
        assert!(2 * hits >= kills, "{hits} of {kills} kills met an open transaction");
        kafka.all_go_on();
        processes
    });
    proxy.heal();
    kafka.settle(&sent, processes);
}
