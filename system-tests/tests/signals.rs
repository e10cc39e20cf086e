//! Every program ends well when it is told to: with SIGTERM and with Ctrl-C, in mid-work and while
//! it waits for a Kafka that is away; and none starts with settings that cannot be.
#![allow(missing_docs, clippy::unwrap_used)]

use std::time::Duration;

use rustix::process::Signal;
use system_tests::backends::kafka_address;
use system_tests::kafka_installation::{KafkaInstallation, READY};
use system_tests::processes::{Process, Work, free_address, tell};

/// More than the ten seconds that a program has, for a busy machine.
const END: Duration = Duration::from_secs(15);
const SIGNALS: [Signal; 2] = [Signal::TERM, Signal::INT];

#[track_caller]
fn ends_well(mut process: Process, signal: Signal) {
    process.must_run();
    process.signal(signal);
    let status = process.wait(END);
    assert_eq!(status.code(), Some(0), "{signal:?}: {}", process.log());
}

/// Name, and what it says on stdout when it works.
const ON_KAFKA: [(&str, &str); 3] = [
    ("items-service", "items-service http://"),
    ("purchase-service", "purchase-service http://"),
    ("purchase-processor", READY),
];

/// What a program needs besides, to be alone: a state folder, and a port.
fn own(program: &str, work: &Work) -> Vec<String> {
    let state = work.path(&format!("{program}-state")).display().to_string();
    let mut own = vec!["--state".to_owned(), state];
    if program != "purchase-processor" {
        own.extend(["--listen", "127.0.0.1:0"].map(str::to_owned));
    }
    own
}

#[test]
fn every_program_ends_well_in_mid_work() {
    let Some(address) = kafka_address() else {
        return tell("signals: did not run on Kafka (BPS_NO_KAFKA)");
    };
    let kafka = KafkaInstallation::new("signals", &address);
    for (program, ready) in ON_KAFKA {
        for signal in SIGNALS {
            let own = own(program, &kafka.work);
            let own: Vec<&str> = own.iter().map(String::as_str).collect();
            let mut process = kafka.program(program, program, &address, &own);
            process.wait_line(ready);
            ends_well(process, signal);
        }
    }
}

#[test]
fn every_program_ends_well_while_kafka_is_away() {
    let away = free_address().to_string();
    for (program, _) in ON_KAFKA {
        for signal in SIGNALS {
            let work = Work::new("away");
            let own = own(program, &work);
            let mut args = vec!["--kafka", &away];
            args.extend(own.iter().map(String::as_str));
            let mut process = Process::start(&work, program, program, &args);
            process.wait_log("waits: ");
            ends_well(process, signal);
        }
    }
}

#[test]
fn all_in_one_ends_well() {
    for signal in SIGNALS {
        let work = Work::new("up");
        let ports = ["127.0.0.1:0"; 2];
        let mut process = Process::start_up(&work, "up", &work.path("data"), &ports, &[]);
        process.wait_line("bps up: ready");
        ends_well(process, signal);
    }
}

#[test]
fn what_cannot_be_set_ends_with_one_line_and_64() {
    let work = Work::new("settings");
    let wrong = ["--kafka", "127.0.0.1:1", "--kafka-set", "isolation.level=read_uncommitted"];
    for (program, _) in ON_KAFKA {
        for args in [&wrong[..], &[][..], &["--nonsense"][..]] {
            let mut process = Process::start(&work, program, program, args);
            let status = process.wait(END);
            let log = process.log();
            assert_eq!((status.code(), log.lines().count()), (Some(64), 1), "{args:?}: {log}");
            assert!(log.starts_with(&format!("{program}: ")), "{log}");
        }
    }
}
