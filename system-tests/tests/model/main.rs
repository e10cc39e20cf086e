//! The processor against a model: any sequence of restocks, purchases, resends, records in wrong
//! partitions, poison, stamps out of order and a bounded memory leads to the results and the rows
//! that plain maps lead to, after each step.
//!
//! A failing sequence is made small by proptest.
#![allow(missing_docs, clippy::unwrap_used)]

mod reference;
mod steps;

use std::time::{Duration, Instant};

use bps_streams::partitioner::partition_of;
use bps_streams::{Read, TestDriver};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};
use purchase_processor::row::ItemRow;
use purchase_processor::{Settings, topology};
use system_tests::budget::{self, LongRun};
use system_tests::processes::tell;

use crate::reference::{FUTURE_MAX, Letter, PARTITIONS, Said, Stock, Workload};
use crate::steps::{Kind, Poison, Request, Step, steps};

const T0: i64 = 1_700_000_000_000;
/// Short, so that the stamps of a sequence reach beyond it.
const WINDOW: i64 = 30_000;

struct Unbounded;
struct Bounded;

fn workload(window: Option<i64>) -> BoxedStrategy<Workload> {
    Just(Workload::new(window, T0)).boxed()
}

macro_rules! reference {
    ($name:ident, $window:expr) => {
        impl ReferenceStateMachine for $name {
            type State = Workload;
            type Transition = Step;

            fn init_state() -> BoxedStrategy<Workload> {
                workload($window)
            }

            fn transitions(workload: &Workload) -> BoxedStrategy<Step> {
                steps(workload)
            }

            fn apply(mut workload: Workload, step: &Step) -> Workload {
                workload.take(step);
                workload
            }
        }

        impl StateMachineTest for $name {
            type SystemUnderTest = System;
            type Reference = $name;

            fn init_test(workload: &Workload) -> System {
                System::new(workload)
            }

            fn apply(mut system: System, workload: &Workload, step: Step) -> System {
                system.take(&step, workload);
                system.check(workload);
                system
            }
        }
    };
}

reference!(Unbounded, None);
reference!(Bounded, Some(WINDOW));

/// The shipped topology on the test driver.
struct System {
    driver: TestDriver,
    settings: Settings,
}

fn topic(settings: &Settings, kind: Kind) -> &str {
    match kind {
        Kind::Restock => &settings.topics.items_added,
        Kind::Purchase => &settings.topics.purchase_created,
    }
}

impl System {
    fn new(workload: &Workload) -> System {
        let window = workload.window.map(|ms| Duration::from_millis(ms as u64));
        let settings = Settings { memory_window: window, ..Settings::default() };
        let topology = topology(&settings).unwrap();
        let mut driver = TestDriver::with_partitions(topology, PARTITIONS);
        driver.set_clock(workload.clock);
        System { driver, settings }
    }

    fn take(&mut self, step: &Step, workload: &Workload) {
        let System { driver, settings } = self;
        let home = |request: &Request| partition_of(request.item().as_bytes(), PARTITIONS);
        match step {
            Step::Tick(_) => driver.set_clock(workload.clock),
            Step::Send(sent) => {
                let astray = u32::from(sent.astray);
                let partition = (home(&sent.request) + astray) % PARTITIONS;
                let key = if sent.foreign_key { "another key" } else { sent.request.item() };
                let (topic, value) = (topic(settings, sent.request.kind), sent.request.json());
                let (key, value) = (Some(key.as_bytes()), Some(value.as_bytes()));
                driver.send_to(topic, partition, key, value, sent.request.at).unwrap();
            }
            Step::Together(batch) => {
                for request in &batch.requests {
                    let (topic, value) = (topic(settings, request.kind), request.json());
                    let value = Some(value.as_bytes());
                    driver.append(topic, home(request), None, value, request.at).unwrap();
                }
                driver.run().unwrap();
            }
            Step::Poison { kind, partition, poison, ahead } => {
                let at = match poison {
                    Poison::Ahead => workload.clock + FUTURE_MAX + ahead,
                    _ => workload.clock,
                };
                let (topic, value) = (topic(settings, *kind), poison.value());
                driver.send_to(topic, *partition, None, value.as_deref(), at).unwrap();
            }
        }
    }

    /// What was written, record by record; what is stored, row by row.
    fn check(&mut self, workload: &Workload) {
        let topics = self.settings.topics.clone();
        let results = self.driver.read(&topics.purchase_finished);
        assert_eq!(said(&results), by_partition(&workload.results));
        let answers = self.driver.read(&topics.restock_finished);
        assert_eq!(said(&answers), by_partition(&workload.answers));
        let letters = self.driver.read(&topics.dead_letters);
        let letters: Vec<_> = letters.iter().map(letter).collect();
        let expected: Vec<_> = workload.letters.iter().map(|l| shown(&self.settings, l)).collect();
        assert_eq!(letters, expected);
        assert_eq!(self.driver.read(&topics.rekeyed).len(), workload.moved);
        let counted = |outcome: &str| {
            let of = |kind: &str| self.driver.counted(&format!("{kind} {outcome}"));
            of("purchase") + of("restock")
        };
        let counted = ["RESEND", "CONFLICTING_RESEND"].map(counted);
        assert_eq!(counted, [workload.resends, workload.conflicts]);
        for (item, stock) in &workload.items {
            assert_eq!(self.row(item).as_ref(), Some(stock), "{item}");
        }
        // The changelog's new rows are those of the store.
        for row in self.driver.read(&topics.stock) {
            let json: serde_json::Value = serde_json::from_str(row.text()).unwrap();
            let item = json["itemId"].as_str().unwrap();
            let stock = &workload.items[item];
            assert_eq!(json["supplied"], stock.supplied);
            assert_eq!(json["booked"], stock.booked);
            assert_eq!(json["remaining"], stock.supplied - stock.booked);
            assert_eq!(json["updatedAt"], stock.updated_at);
        }
    }

    fn row(&self, item: &str) -> Option<Stock> {
        let (sequence, bytes) = self.driver.row("stock", item.as_bytes()).unwrap()?;
        let row = ItemRow::decode(&bytes).unwrap();
        Some(Stock {
            supplied: row.stock.supplied,
            booked: row.stock.booked,
            description: row.description.to_owned(),
            updated_at: row.updated_at,
            sequence,
        })
    }
}

fn said(records: &[Read]) -> Vec<Said> {
    let said = |record: &Read| {
        let key = String::from_utf8(record.key.clone().unwrap()).unwrap();
        let value = serde_json::from_str(record.text()).unwrap();
        (record.partition, record.timestamp, key, value)
    };
    by_partition(&records.iter().map(said).collect::<Vec<_>>())
}

/// Order counts within a partition only.
fn by_partition(said: &[Said]) -> Vec<Said> {
    let mut sorted = said.to_vec();
    sorted.sort_by_key(|(partition, ..)| *partition);
    sorted
}

fn letter(record: &Read) -> [String; 4] {
    ["topic", "partition", "offset", "code"]
        .map(|name| String::from_utf8(record.header(name).unwrap().to_vec()).unwrap())
}

fn shown(settings: &Settings, (kind, partition, offset, code): &Letter) -> [String; 4] {
    let topic = topic(settings, *kind).to_owned();
    [topic, partition.to_string(), offset.to_string(), (*code).to_owned()]
}

/// Cases of a round; the short form is one.
const CASES: u32 = 10_000;

/// Rounds for as long as there is time.
fn run<T>()
where
    T: StateMachineTest,
    T::Reference: ReferenceStateMachine,
{
    let config = ProptestConfig {
        cases: CASES,
        max_shrink_iters: 20_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let until = Instant::now() + budget::time(LongRun::Model).unwrap_or_default();
    let mut cases = 0;
    loop {
        let sequences = T::Reference::sequential_strategy(1..16);
        let ran = TestRunner::new(config.clone()).run(&sequences, |(begin, steps, seen)| {
            T::test_sequential(config.clone(), begin, steps, seen);
            Ok(())
        });
        if let Err(failure) = ran {
            panic!("{failure}");
        }
        cases += CASES;
        if Instant::now() >= until {
            return tell(format_args!("model: {cases} sequences"));
        }
    }
}

#[test]
fn the_processor_is_as_plain_maps() {
    run::<Unbounded>();
}

#[test]
fn with_a_memory_window_too() {
    run::<Bounded>();
}
