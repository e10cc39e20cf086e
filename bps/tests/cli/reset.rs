//! `bps reset`: what it moves aside, and when it refuses.

use bps_streams::FolderLock;

use super::replay::copy;
use super::verify::decide;
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

#[test]
fn reset_writes_the_rows_anew_that_their_topic_has_lost() {
    let [whole, lost, other] = [(); 3].map(|()| tempfile::tempdir().expect("a folder"));
    decide(whole.path());
    copy(whole.path(), lost.path(), "bps-stock", |_| None);
    let data = text(lost.path());
    let reset = ["reset", "--rebuild-rows", "--data", data, "--yes"];
    check(&[&reset[..], &["--skip-gap"]].concat(), 64, "", "cannot be used");
    check(&reset[..4], 64, "", "writes to bps-stock what it lacks");
    check(
        &reset,
        0,
        "the next start finds every row there",
        " records decided again, 5 rows written",
    );
    check(&["replay", "--data", data], 0, " 0 differences", "");
    check(&reset, 0, "the next start finds every row there", "0 rows written");

    // Where a result is another, the rows that come of the inputs are not those of then.
    let change = |record: &bps_streams::Record<'_>| {
        record.value.map(|v| String::from_utf8_lossy(v).replace("FAILED", "failed").into_bytes())
    };
    copy(lost.path(), other.path(), "bps-purchase-finished", change);
    let reset = ["reset", "--rebuild-rows", "--data", text(other.path()), "--yes"];
    check(&reset, 1, "", "do not come out as they are recorded");
}
