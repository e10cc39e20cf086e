//! The services as callers see them: `bps up` over HTTP, and several on one Kafka.
#![allow(missing_docs, clippy::unwrap_used)]

mod kafka;
mod keys;
mod reads;
mod rush;
mod shop;
mod streams;
mod waits;

/// Runs a test's calls.
fn run(calls: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(calls);
}
