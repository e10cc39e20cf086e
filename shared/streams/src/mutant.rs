//! Engines that are wrong on purpose, for the simulator to find: one that has never failed proves
//! nothing. Compiled with the feature `mutants` only, which no program asks for.

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Step 5 before step 4: rows are kept although the transaction may not hold.
    StoreBeforeCommit,
    /// Offsets are committed beside the transaction, not in it.
    OffsetsOutside,
    /// Rows of a dropped transaction are kept.
    OverlayKept,
    /// The store is moved aside whenever a partition is opened.
    WipeOnRestart,
    /// A commit without an answer is taken for one that does not hold, and the producer goes on.
    TimeoutIsAbort,
    /// A producer whose old requests may still arrive goes on.
    LateEndIgnored,
    /// A restore is done at the first fetch that brings nothing.
    RestoreEndsEarly,
    /// The positions committed are those before the last record.
    PositionsBehind,
    /// A restore is done at the first fetch that fails.
    RestoreFailureIsEnd,
    /// What was fetched before an error is dropped with it, and reading goes on behind it.
    FetchErrorDropsRecords,
    /// A partition whose position was refused for a moment is never read again.
    AstrayForEver,
    /// The second of two producers begins although the transaction of the first one is not known
    /// to hold.
    TurnTakenEarly,
    /// After a call that went badly the first of two producers is retired, the second one is not.
    SecondNotRetired,
    /// An input goes by its head alone, whatever waits behind it.
    RanksByHead,
    /// An input in which records wait is taken to be here as a whole.
    TrustsFetched,
    /// A restore keeps a row whose sequence is higher than the record's.
    RestoreKeepsHigher,
    /// Time in which the broker was away counts as a standstill of a restore.
    AwayIsStandstill,
    /// An offset of the group is believed whoever committed it.
    ForeignOffsetTaken,
    /// Rows fall due after the record that has moved the clock.
    DueAfterRecord,
    /// An entry of the index of due rows counts whatever its row says.
    StaleDueBelieved,
    /// The index of due rows is written after the rows, not with them.
    DueIndexApart,
    /// A restore makes no index of due rows.
    RestoreWithoutDue,
    /// The clocks begin anew with each takeover.
    ClocksForgotten,
    /// A tick is decided as soon as it is there, before what was there before it.
    TickBeforeEnds,
    /// A tick is written although an earlier one may not have been decided.
    TickBeforeEarlier,
    /// A transaction that holds nothing but a tick commits no offsets.
    TickWithoutOffsets,
    /// The running clock goes with the time, also while no processor runs.
    RunningFromWall,
    /// Records move the running clock.
    RunningByRecords,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Mutant; 28] = [
        Mutant::StoreBeforeCommit,
        Mutant::OffsetsOutside,
        Mutant::OverlayKept,
        Mutant::WipeOnRestart,
        Mutant::TimeoutIsAbort,
        Mutant::LateEndIgnored,
        Mutant::RestoreEndsEarly,
        Mutant::PositionsBehind,
        Mutant::RestoreFailureIsEnd,
        Mutant::FetchErrorDropsRecords,
        Mutant::AstrayForEver,
        Mutant::TurnTakenEarly,
        Mutant::SecondNotRetired,
        Mutant::RanksByHead,
        Mutant::TrustsFetched,
        Mutant::RestoreKeepsHigher,
        Mutant::AwayIsStandstill,
        Mutant::ForeignOffsetTaken,
        Mutant::DueAfterRecord,
        Mutant::StaleDueBelieved,
        Mutant::DueIndexApart,
        Mutant::RestoreWithoutDue,
        Mutant::ClocksForgotten,
        Mutant::TickBeforeEnds,
        Mutant::TickBeforeEarlier,
        Mutant::TickWithoutOffsets,
        Mutant::RunningFromWall,
        Mutant::RunningByRecords,
    ];
}
