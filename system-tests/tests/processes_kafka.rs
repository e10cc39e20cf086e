//! `purchase-processor` as processes of their own on a real Kafka, under load: killed with -9 and
//! started again; three of them joining and leaving. Every purchase is answered once, with the
//! restocks seen that were acknowledged before it was sent, and nothing is oversold.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::Duration;

use system_tests::backends::kafka_address;
use system_tests::budget::is_ample;
use system_tests::kafka_installation::{KafkaInstallation, READY};
use system_tests::load::{Pace, Progress, under_load};
use system_tests::processes::{Process, Random, tell};

const SEED: u64 = 1_469_307;

/// Runs `story` while purchases come in; then all of them must be answered by the processes that
/// it leaves, which end well; the account must balance, and the checker find nothing.
fn told_under_load(name: &str, story: impl FnOnce(&KafkaInstallation) -> Vec<Process>) {
    let Some(address) = kafka_address() else {
        return tell(format_args!("{name}: did not run on Kafka (BPS_NO_KAFKA)"));
    };
    let kafka = KafkaInstallation::new(name, &address);
    let pace = Pace {
        seed: SEED,
        items: 200,
        restocks: 10,
        purchases: 200,
        pause: Duration::from_millis(25),
    };
    let progress = Progress::default();
    let (sent, processes) = under_load(&kafka, &[&address], pace, &progress, || story(&kafka));
    kafka.settle(&sent, processes);
}

#[test]
fn purchase_processor_killed_under_load() {
    told_under_load("kill-kafka", |kafka| {
        let kills = if is_ample() { 10 } else { 2 };
        let mut random = Random::new(SEED);
        let mut running = kafka.processor("a", 0, &kafka.address);
        for kill in 1..=kills {
            running.wait_line(READY);
            random.sleep(300, 2_000);
            let before = kafka.decided();
            running.kill();
            running = kafka.processor("a", kill, &kafka.address);
            running.wait_line(READY);
            let (restored, took) = (running.restored(), running.age());
            tell(format_args!(
                "kill {kill}, {before} decided: ready after {took:.1?}, {restored} restored"
            ));
            // Far less than there is: the store was not wiped.
            assert!(restored <= 5_000 + before / 10, "{restored} restored of {before} decided");
        }
        vec![running]
    });
}

#[test]
fn three_processors_join_and_leave_under_load() {
    told_under_load("three", |kafka| {
        let start = |member, run| kafka.processor(member, run, &kafka.address);
        let mut a = start("a", 0);
        a.wait_line(READY);
        let (mut b, mut c) = (start("b", 0), start("c", 0));
        b.wait_line(READY);
        c.wait_line(READY);
        kafka.all_go_on();
        b.stop();
        let mut b = start("b", 1);
        b.wait_line(READY);
        kafka.all_go_on();

        let (had, before) = (partitions(&c), [a.tasks().len(), b.tasks().len()]);
        c.kill();
        let took = kafka.all_go_on();
        tell(format_args!("takeover after kill -9: {:.1} s ({had:?})", took.as_secs_f64()));
        let survivors = [(&a, before[0]), (&b, before[1])];
        let taken: BTreeSet<u32> = survivors
            .into_iter()
            .flat_map(|(p, before)| p.tasks().into_iter().skip(before).map(|t| t.partition))
            .collect();
        assert!(!had.is_empty() && had.is_subset(&taken), "{had:?} of the dead one, {taken:?}");
        vec![a, b]
    });
}

#[test]
fn one_that_leaves_is_replaced_at_once() {
    told_under_load("leave", |kafka| {
        let mut a = kafka.processor("a", 0, &kafka.address);
        a.wait_line(READY);
        let state = kafka.work.path("state-b");
        let more = ["--leave", "--state", state.to_str().unwrap()];
        let mut b = kafka.program("b-0", "purchase-processor", &kafka.address, &more);
        b.wait_line(READY);
        kafka.all_go_on();
        let (had, before) = (partitions(&b), a.tasks().len());
        b.stop();
        let took = kafka.all_go_on();
        tell(format_args!("takeover after a leave: {:.1} s ({had:?})", took.as_secs_f64()));
        let taken: BTreeSet<u32> = a.tasks().iter().skip(before).map(|t| t.partition).collect();
        assert!(!had.is_empty() && had.is_subset(&taken), "{had:?} of the one gone, {taken:?}");
        vec![a]
    });
}

/// The partitions that a process has had so far.
fn partitions(process: &Process) -> BTreeSet<u32> {
    process.tasks().iter().map(|task| task.partition).collect()
}
