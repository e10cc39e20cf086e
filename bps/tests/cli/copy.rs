//! `bps topics copy`: what was decided in two partitions is decided in five.

use std::sync::Arc;

use bps_streams::{Application, ApplicationConfig};
use purchase_processor::{Settings, topology};

use super::verify::{decide, finish};
use super::*;

/// Decides what lies in the inputs of a prefix.
fn decide_there(folder: &Path, prefix: &str, records: u64) {
    let broker: Arc<dyn Broker> = Arc::new(EmbeddedBroker::open(folder).expect("free"));
    let config = ApplicationConfig::new(folder.join(prefix));
    let topology = topology(&Settings::new(prefix, prefix)).expect("well wired");
    let application = Application::start(broker, topology, config).expect("started");
    finish(application, records);
}

#[test]
fn what_the_inputs_hold_is_copied_to_more_partitions() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = text(folder.path());
    let copy = ["topics", "copy", "--to", "wide", "--partitions", "5", "--data", data];
    check(&copy, 1, "", "no embedded log lies in");
    decide(folder.path());
    let none = [&copy[..], &["--input-prefix", "none"]].concat();
    check(&none, 1, "", "topic none-items-added does not exist: nothing to copy");
    check(&["topics", "copy", "--to", "bps", "--data", data], 64, "", "lie there, take another");
    check(&copy, 0, "bps-items-added: 21 records copied to wide-items-added\n", "");
    check(&copy, 1, "", "topic wide-items-added is not empty: take another prefix");
    let there = ["--data", data, "--input-prefix", "wide", "--output-prefix", "wide"];
    check(&["topics", "describe", "wide-stock", "--data", data], 0, "  partitions      5\n", "");
    // None was moved: each lies at home.
    decide_there(folder.path(), "wide", 21 + 25);
    check(&[&["verify", "--at-rest"], &there[..]].concat(), 0, "clean: ", "");
    let counts = |prefixes: &[&str]| {
        let (_, out, _) = bps(&[&["verify", "--at-rest", "--json"], prefixes].concat());
        let report: serde_json::Value = serde_json::from_str(&out).expect("JSON");
        let counts = &report["counts"];
        ["purchases", "restocks", "items", "dead_letters"].map(|name| counts[name].clone())
    };
    assert_eq!(counts(&["--data", data]), counts(&there));
}
