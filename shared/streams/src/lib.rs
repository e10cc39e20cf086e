//! Kafka Streams for Rust: exactly-once stream processing with local state.
//!
//! A [`Topology`] says which topics are read, by which [`Processor`], with which stores, and where
//! the results go. An [`Application`] runs it against a [`broker::Broker`]: a Kafka cluster
//! ([`broker::kafka`]) or a durable log in this very process ([`broker::embedded`]). Each record
//! takes effect once, through crashes, rebalances and lost connections; state lies in RocksDB and
//! is restored from topics. A [`TestDriver`] runs the same topology with no broker at all:
//!
//! ```
//! use bps_streams::topology::record_key;
//! use bps_streams::{Context, Message, ProcessResult, Processor, Record, TestDriver, Topology};
//!
//! /// Counts the records of each key.
//! struct Count;
//!
//! impl Processor for Count {
//!     fn process(&mut self, record: &Record<'_>, context: &mut Context<'_>) -> ProcessResult {
//!         let key = record.key.unwrap_or_default();
//!         let count = match context.get("counts", key)? {
//!             Some(row) => row.sequence + 1,
//!             None => 1,
//!         };
//!         let text = count.to_string();
//!         let sequence = context.put("counts", key, text.as_bytes())?;
//!         context.send("out", Message { key, value: text.as_bytes(), sequence, memo: &[] })?;
//!         Ok(())
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let topology = Topology::named("counter")
//!     .source("clicks", "clicks", record_key)
//!     .plain_store("counts", "click-counts")
//!     .processor("count", || Count, ["clicks"], ["counts"])
//!     .sink("out", "clicks-so-far", "count")
//!     .dead_letters("click-dead-letters")
//!     .build()?;
//! let mut driver = TestDriver::new(topology);
//! driver.send("clicks", b"home", b"", 1)?;
//! driver.send("clicks", b"home", b"", 2)?;
//! let counts = driver.read("clicks-so-far");
//! assert_eq!((counts[0].text(), counts[1].text()), ("1", "2"));
//! # Ok(())
//! # }
//! ```
//!
//! It never: starts a thread that decides anything, reads a clock or draws a number while it
//! processes, retries a record on its own, wipes state because of a crash, or lets anyone read
//! what is not committed.
//!
//! Reading order: [`topology`] and [`processor`] (what a user writes), [`record`] and [`stamp`]
//! (what lies on topics), `task` (one record at a time), [`worker`] (the loop and the commit),
//! [`broker`] (the port), [`store`] (the other port). The examples are numbered.

mod application;
pub mod broker;
pub mod error;
mod folder;
pub mod global;
#[cfg(feature = "mutants")]
mod mutant;
pub mod partitioner;
mod policy;
mod prepare;
pub mod processor;
pub mod record;
pub mod replay;
mod seal;
pub mod simulation;
mod skip_gap;
pub mod stamp;
mod state_folder;
mod status;
pub mod store;
mod task;
mod test_driver;
mod topic_watch;
pub mod topology;
pub mod worker;

pub use application::{Application, ApplicationConfig};
pub use error::{Error, Result};
pub use folder::{FolderError, FolderLock};
pub use prepare::{Prepared, prepare_topics};
pub use processor::{Context, DeadLetter, Message, Origin, ProcessError, ProcessResult, Processor};
pub use record::{Headers, Outgoing, Record};
pub use skip_gap::SKIP_GAP;
pub use stamp::{STAMP, Stamp, TRACE};
pub use status::{ApplicationStatus, Histogram, Observer};
pub use test_driver::{Read, TestDriver};
pub use topology::{Topology, TopologyBuilder, TopologyError};

/// An id that no other process has: for folders, clusters and processes, never for decisions.
pub(crate) fn fresh_id(prefix: &str) -> String {
    use std::hash::{BuildHasher, Hasher};
    // The standard library's per-process random keys are randomness enough for a name.
    let mut hasher = std::collections::hash_map::RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    format!("{prefix}-{:016x}", hasher.finish())
}
