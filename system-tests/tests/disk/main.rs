//! What a bad disk does to decisions: nothing. Each case makes a state with real purchases,
//! damages it, starts, and compares every result and row with the same run undamaged.
//!
//! `store`: the processor's own state, which is rebuilt. `log`: the embedded log, which is the
//! truth, and refused. `full`: no room, or no right to write. (Two processes on one folder:
//! `recovery.rs`, `a_state_folder_has_one_owner`, and the contract suite for the log.)
#![allow(missing_docs, clippy::unwrap_used)]

mod files;
mod full;
mod log;
mod space;
mod store;
mod workload;

use std::sync::Mutex;

/// Runs cases side by side, more than there are cores, since most of the time they wait. All are run; those that failed are told by name.
fn side_by_side<C: Sync>(cases: &[C], name: impl Fn(&C) -> String + Sync, run: impl Fn(&C) + Sync) {
    let next = Mutex::new(cases.iter());
    let failed = Mutex::new(Vec::new());
    let take = || next.lock().unwrap().next();
    let work = || {
        while let Some(case) = take() {
            let run = std::panic::AssertUnwindSafe(|| run(case));
            if std::panic::catch_unwind(run).is_err() {
                failed.lock().unwrap().push(name(case));
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(2, usize::from) + 4;
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {} cases failed: {failed:?}", failed.len(), cases.len());
}
