//! Why a request is refused.

use serde::{Deserialize, Serialize};

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Reason {
    /// Not an integer from 1 to 2^53.
    InvalidQuantity,
    /// The item was never restocked.
    UnknownItem,
    /// More than remains.
    InsufficientStock,
    /// Stamped earlier than the memory of decided ids reaches.
    TooOld,
    /// The sum would exceed 2^64 - 1.
    Overflow,
}

impl Reason {
    /// The code as it stands in results.
    pub fn code(self) -> &'static str {
        match self {
            Self::InvalidQuantity => "INVALID_QUANTITY",
            Self::UnknownItem => "UNKNOWN_ITEM",
            Self::InsufficientStock => "INSUFFICIENT_STOCK",
            Self::TooOld => "TOO_OLD",
            Self::Overflow => "OVERFLOW",
        }
    }
}
