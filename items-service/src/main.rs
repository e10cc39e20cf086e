//! `items-service`: restocks over HTTP, to Kafka.

use std::process::ExitCode;
use std::sync::Arc;

use items_service::{LISTEN, Restocks};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    bps_service::http::main(Arc::new(Restocks), "Takes restocks: POST /items", LISTEN)
}
