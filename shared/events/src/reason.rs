//! Why a request is refused.

use serde::{Deserialize, Serialize};

/// The reasons: their names and codes. (`$d` is a dollar, for the macro within.)
macro_rules! reasons {
    ($d:tt $($(#[$doc:meta])* $name:ident $code:literal;)*) => {
        /// Why a request was refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Reason {
            $($(#[$doc])* #[serde(rename = $code)] $name,)*
        }

        impl Reason {
            /// All of them.
            pub const ALL: &[Reason] = &[$(Reason::$name),*];

            /// The code as it stands in results.
            pub fn code(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)*
                }
            }
        }

        /// The code of a [`Reason`] behind texts that are known when this is compiled.
        #[macro_export]
        macro_rules! reason_behind {
            ($d reason:expr, $d($d before:literal),+) => {
                match $d reason {
                    $($crate::Reason::$name => concat!($d($d before,)+ $code),)*
                }
            };
        }
    };
}

reasons! { $
    /// Not an integer from 1 to 2^53.
    InvalidQuantity "INVALID_QUANTITY";
    /// The item was never restocked.
    UnknownItem "UNKNOWN_ITEM";
    /// More than remains.
    InsufficientStock "INSUFFICIENT_STOCK";
    /// Stamped earlier than the memory of decided ids reaches.
    TooOld "TOO_OLD";
    /// The sum would exceed 2^64 - 1.
    Overflow "OVERFLOW";
}
