//! What is known of an item, and what may become of it.

use bps_events::Reason;

/// What is known of an item that was restocked at least once. `booked <= supplied`, always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stock {
    /// Units supplied so far.
    pub supplied: u64,
    /// Units booked so far.
    pub booked: u64,
}

impl Stock {
    /// What is left.
    pub fn remaining(self) -> u64 {
        self.supplied.saturating_sub(self.booked)
    }
}

/// What becomes of a command: the reason of a refusal, or the new stock.
pub type Decision = Result<Stock, Reason>;
