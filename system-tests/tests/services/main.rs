//! The services as callers see them: `bps up` over HTTP, and several on one Kafka.
#![allow(missing_docs, clippy::unwrap_used)]

mod access;
mod kafka;
mod keys;
mod metrics;
mod page;
mod readme;
mod reads;
mod rush;
mod shop;
mod streams;
mod trace;
mod waits;

/// Runs a test's calls.
fn run(calls: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(calls);
}
