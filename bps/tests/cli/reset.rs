//! `bps reset`: what it moves aside, and when it refuses.

use bps_streams::FolderLock;

use super::*;

#[test]
fn reset_moves_aside_and_deletes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = text(folder.path());
    let reset = ["reset", "--data", data, "--yes"];
    check(&reset, 1, "", "no embedded log lies in");
    check(&["topics", "create", "--data", data], 0, "created", "");
    check(&reset, 1, "", "no processor has run there");
    let state = folder.path().join("state");
    std::fs::create_dir_all(state.join("store")).expect("made");
    std::fs::write(state.join("store/row"), "x").expect("written");
    check(&reset[..3], 64, "", "--yes does it unasked");
    assert!(state.join("store/row").exists());
    let running = FolderLock::take(&state).expect("free");
    check(&reset, 1, "", "is in use by process");
    drop(running);
    check(&reset, 0, "rebuilds the store from bps-stock (0 offsets), bps-purchase-finis", "moves");
    assert_eq!(std::fs::read_to_string(state.join("store.reset-1/row")).expect("kept"), "x");
    check(&reset, 0, "", "nothing to do");
    check(&["reset", "--skip-gap", "--data", data, "--yes"], 0, "goes on behind every gap", "");
    assert!(state.join("skip-gap").exists());
}

#[test]
fn reset_begins_anew_only_where_nothing_lies() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = text(folder.path());
    let broker = EmbeddedBroker::open(folder.path()).expect("free");
    create(&broker, "used-purchase-finished");
    append(&broker, "used-purchase-finished", &["x"]);
    drop(broker);
    let anew = |prefix| ["reset", "--anew", "--output-prefix", prefix, "--data", data, "--yes"];
    check(&anew("bps"), 64, "", "the live results lie there");
    check(&anew("used"), 1, "", "topic used-purchase-finished is not empty");
    let start = format!(
        "new-purchase-processor decides all inputs from their beginning: \
                         bps up --output-prefix new --data {data}\n"
    );
    check(&anew("new"), 0, &start, "");
}
