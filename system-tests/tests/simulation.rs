//! The simulator in every run of the tests: the real engine under thousands of seeds, and engines
//! that are wrong on purpose, each of which it must find.

use std::io::Write as _;
use std::ops::Range;
use std::time::Instant;

use bps_streams::worker::{Mutant, WorkerConfig};
use system_tests::budget::{self, LongRun};
use system_tests::simulator::campaign::{self, Failure, Tally};
use system_tests::simulator::{Scenario, register, relay, reminders, simulate};

/// What one run of the tests may spend on each engine.
const SEEDS: u64 = 2_000;
/// Between two looks at the clock of a long run.
const AT_ONCE: u64 = 200;

fn say(text: &str) {
    drop(writeln!(std::io::stderr(), "{text}"));
}

#[test]
fn no_seed_breaks_a_promise() {
    let begin = Instant::now();
    let mut tally = run(0..SEEDS, Scenario::new, "");
    let short = begin.elapsed();
    let more = budget::time(LongRun::Seeds).unwrap_or_default();
    while begin.elapsed() < short + more {
        let next = run(tally.seeds..tally.seeds + AT_ONCE, Scenario::new, "");
        tally.seeds += next.seeds;
        tally.faults += next.faults;
        tally.commits += next.commits;
    }
    say(&format!("{tally:?} in {:.0?}", begin.elapsed()));
}

/// Runs seeds; `flag` is what `scripts/simulate` has for them.
fn run(seeds: Range<u64>, scenario: fn(u64) -> Scenario, flag: &str) -> Tally {
    campaign::run(seeds, scenario, |_| ()).unwrap_or_else(|Failure { seed, violation }| {
        panic!("seed {seed}: {violation}\nscripts/simulate --seeds 1 --from {seed}{flag}")
    })
}

#[test]
fn no_seed_breaks_rows_that_come_and_go() {
    say(&format!("{:?}", run(0..SEEDS, register::scenario, " --register")));
}

#[test]
fn no_seed_breaks_a_loop() {
    say(&format!("{:?}", run(0..SEEDS, relay::scenario, " --relay")));
}

#[test]
fn no_seed_breaks_rows_that_fall_due() {
    say(&format!("{:?}", run(0..SEEDS, reminders::scenario, " --reminders")));
}

/// How many seeds of this play it took to find an engine that is set like this.
#[track_caller]
fn must_be_found(mutant: Mutant, play: fn(u64) -> Scenario, configure: fn(&mut WorkerConfig)) {
    let scenario = |seed| Scenario { configure, ..play(seed) };
    match campaign::run(0..SEEDS, scenario, |_| ()) {
        Ok(_) => panic!("{mutant:?} is not found within {SEEDS} seeds"),
        Err(Failure { seed, violation }) => {
            say(&format!("{mutant:?}: found by seed {seed}: {violation}"));
        }
    }
}

/// A test for each mutant, and none forgotten; each with the play that it is looked for in.
macro_rules! mutants {
    ($($name:ident: $mutant:ident in $play:expr,)*) => {
        $(
            #[test]
            fn $name() {
                let configure: fn(&mut WorkerConfig) = |c| c.mutant = Some(Mutant::$mutant);
                must_be_found(Mutant::$mutant, $play, configure);
            }
        )*

        #[test]
        fn every_mutant_has_its_test() {
            assert_eq!(Mutant::ALL, [$(Mutant::$mutant),*]);
        }
    };
}

mutants! {
    a_store_written_before_the_commit_is_found: StoreBeforeCommit in Scenario::new,
    offsets_outside_of_the_transaction_are_found: OffsetsOutside in Scenario::new,
    an_overlay_kept_after_an_abort_is_found: OverlayKept in Scenario::new,
    a_store_wiped_on_a_restart_is_found: WipeOnRestart in Scenario::new,
    a_time_out_taken_for_an_abort_is_found: TimeoutIsAbort in Scenario::new,
    a_late_end_ignored_is_found: LateEndIgnored in Scenario::new,
    a_restore_ended_by_an_empty_fetch_is_found: RestoreEndsEarly in Scenario::new,
    positions_before_the_last_record_are_found: PositionsBehind in Scenario::new,
    a_restore_ended_by_a_failure_is_found: RestoreFailureIsEnd in Scenario::new,
    records_dropped_with_a_fetch_that_failed_are_found: FetchErrorDropsRecords in Scenario::new,
    a_partition_that_is_never_read_again_is_found: AstrayForEver in Scenario::new,
    a_turn_taken_before_a_transaction_holds_is_found: TurnTakenEarly in Scenario::new,
    a_second_producer_that_is_not_retired_is_found: SecondNotRetired in Scenario::new,
    an_input_ranked_by_its_head_is_found: RanksByHead in Scenario::new,
    an_input_taken_for_whole_is_found: TrustsFetched in Scenario::new,
    a_higher_sequence_kept_in_a_restore_is_found: RestoreKeepsHigher in register::scenario,
    an_outage_taken_for_a_standstill_is_found: AwayIsStandstill in Scenario::new,
    an_offset_of_others_that_is_followed_is_found: ForeignOffsetTaken in Scenario::new,
    rows_that_fall_due_after_the_record_are_found: DueAfterRecord in reminders::scenario,
    a_due_that_the_row_no_longer_says_is_found: StaleDueBelieved in reminders::scenario,
    an_index_written_apart_from_the_rows_is_found: DueIndexApart in reminders::scenario,
    a_restore_that_makes_no_index_is_found: RestoreWithoutDue in reminders::scenario,
    clocks_that_begin_anew_are_found: ClocksForgotten in reminders::scenario,
    a_tick_decided_too_early_is_found: TickBeforeEnds in reminders::scenario,
    a_tick_written_too_early_is_found: TickBeforeEarlier in reminders::scenario,
    a_tick_without_offsets_is_found: TickWithoutOffsets in reminders::scenario,
    a_running_clock_that_does_not_stand_still_is_found: RunningFromWall in reminders::scenario,
    a_running_clock_that_records_move_is_found: RunningByRecords in reminders::scenario,
}

#[test]
fn a_shorter_run_begins_in_the_same_way() {
    let long = Scenario { keep_trace: true, steps: 3_000, ..Scenario::new(7) };
    let short = Scenario { steps: long.steps / 2, ..long };
    let (long, short) = (simulate(&long).trace, simulate(&short).trace);
    let same = long.iter().zip(&short).take_while(|(a, b)| a == b).count();
    // What heals the shorter one comes at its end.
    assert!(same * 3 > short.len(), "{same} of {} lines are the same", short.len());
}
