//! Rows that fall due: timers that lie beside the rows they belong to, and cannot get lost.
//!
//! A store may say when a row falls due ([`crate::Store::due`]), by one of two clocks of its task. Once
//! that has come there, [`crate::Processor::due`] is called with the row, in the order of time, store and
//! key, in the open transaction, and before the record that has moved the clock.
//!
//! | Clock | What moves it | A row says |
//! |---|---|---|
//! | due clock | the latest time of the records processed, each less the head start of its source, and of ticks; it never goes back | [`Due::At`] |
//! | running clock | ticks alone; it stands still while no processor runs or one is behind | [`Due::Running`] |
//!
//! A tick is a record with the time of a worker's clock, in a topic of its own
//! ([`crate::TopologyBuilder::ticks`]): the only way in which a clock enters. A worker writes one where a
//! row waits for it, and it is decided behind all that was there before it. So rows fall due alike in a
//! replay, whenever that is; a hold that ends at noon has ended for whatever is stamped noon; and while a
//! backlog waits, only its records move the due clock.

use std::time::Duration;

/// A tick moves the running clock on by so much at most.
pub(crate) const TICK_SPAN_MAX: Duration = Duration::from_secs(2);

/// When a row falls due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    /// When the due clock has come to this (ms since 1970): what the log itself must decide, alike for
    /// ever.
    At(u64),
    /// When the running clock has come to this (ms), from [`crate::Context::after`] or
    /// [`crate::Context::backoff`]: what waits for the world.
    Running(u64),
}

/// Reads in a row's value when it falls due; nothing where it never does.
pub type DueOf = fn(value: &[u8]) -> Option<Due>;
