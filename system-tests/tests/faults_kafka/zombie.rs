//! A process that stands still for so long that it is taken for dead, and then goes on.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use system_tests::installation::PATIENCE;
use system_tests::kafka_installation::{PARTITIONS, READY};
use system_tests::load::{Pace, Progress, under_load};
use system_tests::processes::{Process, tell};

use super::shared_installation;

/// Longer than the session's time-out (6 s) and the transaction's (10 s).
const FROZEN: Duration = Duration::from_secs(13);

#[test]
fn a_zombie_is_fenced_and_comes_back() {
    let Some(kafka) = shared_installation("zombie") else { return };
    let progress = Progress::default();
    let address = kafka.address.clone();
    let (sent, processes) = under_load(&kafka, &[&address], Pace::brisk(21), &progress, || {
        let [mut a, mut b] = ["a", "b"].map(|member| kafka.processor(member, 0, &address));
        a.wait_line(READY);
        b.wait_line(READY);
        kafka.all_go_on();
        kafka.await_open(&a, Duration::from_secs(5));
        a.freeze();
        let frozen = Instant::now();
        let was_open = kafka.is_left_open();
        let before = a.tasks().len();
        // The peer takes over all of it, and results go on while the zombie still stands.
        let taken = || b.tasks().iter().map(|task| task.partition).collect::<BTreeSet<_>>();
        while taken().len() < PARTITIONS as usize {
            assert!(frozen.elapsed() < PATIENCE, "the peer has {:?} only", taken());
            std::thread::sleep(Duration::from_millis(50));
        }
        kafka.all_go_on();
        let went_on = frozen.elapsed();
        let ended = b.log().contains("left open is ended");
        assert!(ended || !was_open, "the peer waited for the transaction's time-out: {}", b.log());
        std::thread::sleep(FROZEN.saturating_sub(frozen.elapsed()));
        let log = a.log().len();
        a.thaw();
        // It learns that it is a zombie, and works again, with the same process.
        let deadline = Instant::now() + PATIENCE;
        while a.tasks().len() == before {
            a.must_run();
            assert!(Instant::now() < deadline, "the zombie does not come back: {}", a.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        let said = a.log()[log..].to_owned();
        let words = ["lost its partitions", "transaction dropped", "it does not hold"];
        let said: Vec<_> = words.into_iter().filter(|word| said.contains(word)).collect();
        tell(format_args!(
            "zombie: frozen with an open transaction: {was_open}; results everywhere after \
             {went_on:.1?}; then it said {said:?}"
        ));
        assert!(!said.is_empty(), "no word of having been fenced: {}", a.log());
        kafka.all_go_on();
        let mut processes = vec![a, b];
        processes.iter_mut().for_each(Process::must_run);
        processes
    });
    kafka.settle(&sent, processes);
}
