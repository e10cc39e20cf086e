//! Kafka Streams for Rust: exactly-once stream processing with local state.
mod application;
pub mod broker;
pub mod error;
mod folder;
pub mod partitioner;
mod prepare;
pub mod processor;
pub mod record;
mod skip_gap;
pub mod stamp;
mod state_folder;
pub mod store;
mod task;
mod test_driver;
pub mod topology;
pub mod worker;

pub use application::{Application, ApplicationConfig};
pub use error::{Error, Result};
pub use folder::{FolderError, FolderLock};
pub use prepare::{Prepared, prepare_topics};
pub use processor::{Context, DeadLetter, Message, Origin, ProcessError, ProcessResult, Processor};
pub use record::{Headers, Outgoing, Record};
pub use skip_gap::SKIP_GAP;
pub use stamp::{STAMP, Stamp};
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
