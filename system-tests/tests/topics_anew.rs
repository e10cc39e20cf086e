//! Topics on a real Kafka that somebody deletes, makes anew or makes wider, while the processor is
//! stopped and while it runs: it never goes on as if they were the former ones.
#![allow(missing_docs, clippy::unwrap_used)]

use std::time::Instant;

use bps_events::Topics;
use bps_service::applications::{Watched, trouble};
use system_tests::installation::{Installation, PATIENCE};
use system_tests::operator::Operator;
use system_tests::{Backend, now_ms};

const PARTITIONS: u32 = 2;
/// Purchases before and after.
const FEW: usize = 20;
const MORE: usize = 60;

/// A processor that has decided a few purchases, and runs.
struct Case {
    installation: Installation,
    operator: Operator,
}

impl Case {
    fn new(name: &str) -> Option<Case> {
        let (operator, broker) = Operator::on_kafka(name)?;
        let mut installation = Installation::new(broker, name, PARTITIONS);
        installation.start();
        let mut case = Case { installation, operator };
        (0..4).for_each(|item| case.installation.restock("r", &format!("{item}"), "99", now_ms()));
        case.purchase(0, FEW);
        case.installation.results(FEW);
        Some(case)
    }

    fn topics(&self) -> Topics {
        self.installation.settings.topics.clone()
    }

    fn purchase(&mut self, from: usize, count: usize) {
        for number in from..from + count {
            let (id, item) = (format!("p{number}"), format!("{}", number % 4));
            self.installation.purchase(&id, &item, "1", now_ms());
        }
    }

    /// Deletes a topic and makes it anew, with more records than the former one had.
    fn recreate(&mut self, topic: &str) {
        self.operator.recreate(&*self.installation.broker, topic);
        self.installation.append_anew();
        self.purchase(FEW, MORE);
    }

    /// Starts a processor that must end by itself, and name this topic.
    fn is_refused(&mut self, topic: &str, word: &str) {
        self.installation.start();
        self.ends(topic, word);
    }

    fn ends(&mut self, topic: &str, word: &str) {
        let why = self.installation.failure();
        assert!(why.contains(&format!("topic {topic}: ")) && why.contains(word), "{why}");
    }

    fn forget_state(&self) {
        std::fs::remove_dir_all(&self.installation.config.state_folder).unwrap();
    }
}

#[test]
fn an_input_made_anew_while_it_was_stopped_is_refused_by_name() {
    let Some(mut case) = Case::new("anew") else {
        return;
    };
    case.installation.stop();
    let topic = case.topics().purchase_created;
    case.recreate(&topic);
    // Each time, and on a machine that has no state of it.
    case.is_refused(&topic, "made anew");
    case.is_refused(&topic, "made anew");
    case.forget_state();
    case.is_refused(&topic, "made anew");
    case.is_refused(&topic, "made anew");
    assert_eq!(case.installation.read(&case.topics().purchase_finished).len(), FEW);
}

#[test]
fn a_table_or_ledger_made_anew_while_it_was_stopped_is_refused_by_name() {
    for topic in [|t: &Topics| t.stock.clone(), |t: &Topics| t.purchase_finished.clone()] {
        let Some(mut case) = Case::new("backing") else {
            return;
        };
        case.installation.stop();
        let topic = topic(&case.topics());
        let is_table = topic == case.topics().stock;
        case.operator.delete(&topic);
        let policy = if is_table { "compact" } else { "delete" };
        let settings = [("cleanup.policy", policy), ("retention.ms", "-1")];
        case.operator.create(&topic, PARTITIONS, &settings);
        case.is_refused(&topic, "made anew");
    }
}

#[test]
fn an_input_deleted_or_made_anew_while_it_runs_ends_it_by_name() {
    let Some(mut case) = Case::new("runs") else {
        return;
    };
    let topic = case.topics().purchase_created;
    case.recreate(&topic);
    case.ends(&topic, "made anew");
    case.is_refused(&topic, "made anew");

    let Some(mut case) = Case::new("gone") else {
        return;
    };
    let topic = case.topics().items_added;
    case.operator.delete(&topic);
    case.ends(&topic, "is not there any more");
}

#[test]
fn partitions_added_while_it_runs_are_named() {
    let Some(mut case) = Case::new("wider") else {
        return;
    };
    let topic = case.topics().purchase_created;
    let observer = case.installation.application().observer();
    let trouble = trouble(&[Watched { name: "stock", observer }], u64::MAX);
    case.installation.wait_running();
    case.operator.widen(&topic, PARTITIONS + 2);
    let deadline = Instant::now() + PATIENCE;
    let word = format!("topic {topic}: it has 4 partitions");
    while !trouble().is_some_and(|why| why.contains(&word)) {
        assert!(Instant::now() < deadline, "it is taken for ready: {:?}", trouble());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    // What lies in the others is decided meanwhile.
    case.purchase(FEW, MORE);
    case.installation.results(FEW + MORE);
    case.installation.end().unwrap();
    case.is_refused(&topic, "it has 4 partitions");
}
