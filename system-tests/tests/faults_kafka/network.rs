//! A network that is slow, breaks, and swallows.

use std::time::{Duration, Instant};

use system_tests::budget::is_ample;
use system_tests::installation::PATIENCE;
use system_tests::kafka_installation::READY;
use system_tests::load::{Pace, Progress, under_load};
use system_tests::processes::{Random, tell};
use system_tests::proxy::{EndFault, Proxy, Weather};

use super::shared_installation;

#[test]
fn a_bad_network_loses_and_doubles_nothing() {
    let Some(kafka) = shared_installation("network") else { return };
    let proxy = Proxy::start(&kafka.address, 41);
    let (through, direct) = (proxy.address(), kafka.address.clone());
    let progress = Progress::default();
    let (sent, processes) =
        under_load(&kafka, &[&direct, &through], Pace::brisk(42), &progress, || {
            let mut processes = ["a", "b"].map(|member| kafka.processor(member, 0, &through));
            processes.iter_mut().for_each(|p| drop(p.wait_line(READY)));
            let mut random = Random::new(43);
            for _ in 0..if is_ample() { 6 } else { 2 } {
                bad_weather(&proxy, &mut random);
                proxy.heal();
                let took = kafka.all_go_on();
                tell(format_args!("network: results everywhere {took:.1?} after the faults"));
                if took > Duration::from_secs(20) {
                    for process in &processes {
                        tell(format_args!("{}: {}", process.name(), process.log()));
                    }
                }
            }
            processes.into()
        });
    tell(format_args!("network: {:?}", proxy.counts()));
    kafka.settle(&sent, processes);
}

/// Each fault once, at random lengths, some of them together.
fn bad_weather(proxy: &Proxy, random: &mut Random) {
    proxy.set_weather(Weather { latency_ms: Some((2, 40)), drips: false });
    random.sleep(500, 1_500);
    for _ in 0..3 {
        proxy.cut(60);
        random.sleep(50, 500);
    }
    await_end(proxy, EndFault::AnswerLost);
    proxy.set_weather(Weather { latency_ms: None, drips: true });
    random.sleep(500, 1_500);
    await_end(proxy, EndFault::LateBy(Duration::from_millis(random.below(1_000))));
    proxy.set_weather(Weather::default());
    proxy.half_open(50);
    random.sleep(1_500, 3_000);
}

/// Plans a fault, and waits until a commit has met it.
fn await_end(proxy: &Proxy, fault: EndFault) {
    proxy.plan(fault);
    let deadline = Instant::now() + PATIENCE;
    while !proxy.is_over() {
        assert!(Instant::now() < deadline, "no commit comes by: {:?}", proxy.counts());
        std::thread::sleep(Duration::from_millis(10));
    }
}
