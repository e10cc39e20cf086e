//! The broker is not there: at the start, all of a sudden, for long. One Kafka for all of it.

use std::io::Write;
use std::time::Duration;

use system_tests::accounting::Sent;
use system_tests::budget::is_ample;
use system_tests::installation::PATIENCE;
use system_tests::kafka_installation::{KafkaInstallation, READY};
use system_tests::load::{Pace, Progress, under_load};
use system_tests::own_kafka::OwnKafka;
use system_tests::processes::{Process, Random, free_address, tell};

#[test]
fn a_broker_that_is_away_is_waited_for_and_loses_nothing() {
    let Some(mut kafka) = OwnKafka::start("broker") else { return };
    programs_started_before_the_broker_wait_for_it(&mut kafka);
    a_broker_killed_under_load_loses_nothing(&mut kafka);
}

fn programs_started_before_the_broker_wait_for_it(kafka: &mut OwnKafka) {
    kafka.kill();
    let installed = KafkaInstallation::bare("down-at-start", kafka.address());
    let mut processor = installed.processor("a", 0, kafka.address());
    let addresses = [free_address(), free_address()].map(|address| address.to_string());
    let intake = |program, address: &str| {
        let state = installed.work.path(program).display().to_string();
        let own = ["--listen", address, "--state", &state];
        installed.program(program, program, kafka.address(), &own)
    };
    let mut intakes =
        [intake("items-service", &addresses[0]), intake("purchase-service", &addresses[1])];
    // They say that they wait, and go on waiting.
    processor.wait_log("waits: ");
    intakes.iter_mut().for_each(|intake| intake.wait_log("waits: "));
    let (sent, mut import) = import(&installed, &addresses);
    std::thread::sleep(Duration::from_secs(3));
    processor.must_run();
    intakes.iter_mut().for_each(Process::must_run);
    kafka.up();
    let status = import.wait(PATIENCE);
    assert!(status.success(), "the import: {status}: {}", import.log());
    installed.settle(&sent, vec![processor]);
    intakes.into_iter().for_each(Process::stop);
}

/// Starts `bps import` with a few restocks and purchases.
fn import(installed: &KafkaInstallation, addresses: &[String; 2]) -> (Sent, Process) {
    let [restocks, purchases] =
        ["restocks.jsonl", "purchases.jsonl"].map(|name| installed.work.path(name));
    let mut file = std::fs::File::create(&restocks).unwrap();
    let mut sent = Sent::default();
    for n in 0..100 {
        let item = format!("item-{}", n % 10);
        sent.restock(&item, &format!("r{n}"), 7);
        writeln!(file, r#"{{"restockId":"r{n}","itemId":"{item}","quantity":7}}"#).unwrap();
    }
    let mut file = std::fs::File::create(&purchases).unwrap();
    for n in 0..1_000 {
        let item = format!("item-{}", n % 10);
        sent.purchase(&item, &format!("p{n}"), 1);
        let ids = format!(r#""purchaseId":"p{n}","itemId":"{item}""#);
        writeln!(file, r#"{{{ids},"quantity":1,"purchasedBy":"b"}}"#).unwrap();
    }
    (sent, Process::start_import(&installed.work, addresses))
}

/// SIGKILL for the broker under load, twice; in a long run once more, for longer than all time-outs.
fn a_broker_killed_under_load_loses_nothing(kafka: &mut OwnKafka) {
    let long = if is_ample() { vec![(70_000, 70_001)] } else { Vec::new() };
    let away = [vec![(500, 4_000); 2], long].concat();
    let name = "broker-killed";
    let installed = KafkaInstallation::new(name, kafka.address());
    let progress = Progress::default();
    let address = kafka.address().to_owned();
    let (sent, processes) = under_load(&installed, &[&address], Pace::brisk(11), &progress, || {
        let mut processes = ["a", "b"].map(|member| installed.processor(member, 0, &address));
        processes.iter_mut().for_each(|p| drop(p.wait_line(READY)));
        let mut random = Random::new(12);
        for (kill, (from_ms, to_ms)) in (1..).zip(away) {
            random.sleep(1_000, 3_000);
            kafka.kill();
            let before = std::time::Instant::now();
            random.sleep(from_ms, to_ms);
            kafka.up();
            let down = before.elapsed();
            let took = installed.all_go_on();
            tell(format_args!(
                "{name} {kill}: down {down:.1?}, results everywhere after {took:.1?}"
            ));
        }
        processes.into()
    });
    installed.settle(&sent, processes);
}
