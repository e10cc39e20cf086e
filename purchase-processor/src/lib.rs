//! Decides every purchase against what is left of its item, and answers each once.
//!
//! Reading order: [`stock`] and [`command`] (a folder for each kind of command, its rule among it, and
//! what is done with all of them), [`row`] and [`memory`] (what is kept), `topology` (how it is wired),
//! [`TOPOLOGIES`] (all that there are) and [`flags`] (what they are set to). What runs them is
//! [`bps_service::applications`].

pub mod command;
pub mod flags;
pub mod memory;
pub mod row;
pub mod stock;
mod topology;

use std::time::Duration;

use bps_events::Topics;
use bps_service::applications::{About, NamedTopology, Topologies};

pub use topology::topology;

/// What the program `purchase-processor` is.
pub const ABOUT: About = About {
    name: "purchase-processor",
    about: "Decides every purchase against what is left of its item",
};

/// All topologies that there are.
pub static TOPOLOGIES: Topologies<Settings> =
    Topologies(&[NamedTopology { name: "stock", workers: 2, topology }]);

/// Settings that decisions depend on. All processors of an application must have the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where everything lies.
    pub topics: Topics,
    /// Name of the application: its consumer group.
    pub application: String,
    /// A restock goes before a purchase unless it is stamped later than this.
    pub clock_skew_max: Duration,
    /// Records stamped further ahead of the clock are dead letters.
    pub future_max: Duration,
    /// How long decided ids are remembered, in stream time; `None`: for ever.
    pub memory_window: Option<Duration>,
}

impl Settings {
    /// The defaults, under these topic prefixes. A trial or replay under an output prefix of its
    /// own is an application of its own.
    pub fn new(input_prefix: &str, output_prefix: &str) -> Settings {
        Settings {
            topics: Topics::new(input_prefix, output_prefix),
            application: format!("{output_prefix}-purchase-processor"),
            clock_skew_max: Duration::from_secs(5),
            future_max: Duration::from_secs(10),
            memory_window: None,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings::new(bps_events::topics::PREFIX, bps_events::topics::PREFIX)
    }
}
