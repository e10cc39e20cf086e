//! Kafka Streams for Rust: exactly-once stream processing with local state.
//!
//! A [`Topology`] says which topics are read, by which [`Processor`], with which stores, and where
//! the results go. An [`Application`] runs it against a [`broker::Broker`]: a Kafka cluster
//! ([`broker::kafka`]) or a durable log in this very process ([`broker::embedded`]). Each record
//! takes effect once, through crashes, rebalances and lost connections; state lies in RocksDB and
//! is restored from topics. A [`TestDriver`] runs the same topology with no broker at all:
//!
//! ```
//! use bps_streams::topology::as_it_is;
//! use bps_streams::{
//!     Context, Message, Node, ProcessResult, Processor, Record, Sink, SinkId, Source, Store, StoreId,
//!     TestDriver, Topology,
//! };
//!
//! /// Counts the records of each key.
//! struct Count {
//!     counts: StoreId,
//!     totals: SinkId,
//! }
//!
//! impl Processor for Count {
//!     type Input<'a> = Record<'a>;
//!
//!     fn process(&mut self, click: Record<'_>, context: &mut Context<'_>) -> ProcessResult {
//!         let page = click.key.unwrap_or_default();
//!         let before = context.get(self.counts, page)?.map_or(0, |row| number(row.value));
//!         let count = (before + 1).to_string();
//!         context.put(self.counts, page, count.as_bytes())?;
//!         context.send(self.totals, Message::new(page, count.as_bytes()))?;
//!         Ok(())
//!     }
//! }
//!
//! fn number(digits: &[u8]) -> u64 {
//!     std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let count = Node::new("count", |wiring| Count {
//!     counts: wiring.store("counts"),
//!     totals: wiring.sink("totals"),
//! });
//! let topology = Topology::named("counter")
//!     .store(Store::new("counts", "click-counts"))
//!     .sink(Sink::new("totals", "clicks-so-far"))
//!     .processor(count.reads(Source::new("clicks", "clicks", as_it_is)))
//!     .dead_letters("click-dead-letters")
//!     .build()?;
//! let mut driver = TestDriver::new(topology);
//! driver.send("clicks", b"home", b"", 1)?;
//! driver.send("clicks", b"home", b"", 2)?;
//! let totals = driver.read("clicks-so-far");
//! assert_eq!((totals[0].text(), totals[1].text()), ("1", "2"));
//! # Ok(())
//! # }
//! ```
//!
//! It never: starts a thread that decides anything, reads a clock or draws a number while it
//! processes, retries a record on its own, wipes state because of a crash, or lets anyone read
//! what is not committed.
//!
//! Reading order: [`topology`], [`processor`] and [`due`] (what a user writes), [`record`] and [`stamp`]
//! (what lies on topics), `task` (one record at a time), [`worker`] (the loop and the commit),
//! [`broker`] (the port), [`store`] (the other port). The examples are numbered.

mod application;
pub mod broker;
pub mod due;
pub mod error;
mod folder;
pub mod global;
mod histogram;
mod manifest_length;
#[cfg(feature = "mutants")]
mod mutant;
pub mod partitioner;
mod policy;
mod prepare;
pub mod processor;
pub mod record;
pub mod replay;
#[cfg(feature = "simulation")]
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
mod topology_manifest;
pub mod worker;

pub use application::{Application, ApplicationConfig};
pub use due::Due;
pub use error::{Error, Result};
pub use folder::{FolderError, FolderLock};
pub use histogram::Histogram;
pub use prepare::prepare_topics;
pub use processor::{
    Context, DeadLetter, DueRow, Keyed, LedgerId, Message, Origin, ProcessError, ProcessResult,
    Processor, Readable, SinkId, StoreId,
};
pub use record::{Headers, Outgoing, Record};
pub use skip_gap::SKIP_GAP;
pub use stamp::{Clocks, STAMP, Stamp, TRACE};
pub use status::{ApplicationStatus, Observer};
pub use task::TableBounds;
pub use test_driver::{Read, TestDriver};
pub use topology::{
    Layout, Ledger, Node, Sink, Source, Store, Topology, TopologyBuilder, TopologyError, Wiring,
};
