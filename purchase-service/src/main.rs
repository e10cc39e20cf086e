//! `purchase-service`: purchases over HTTP, to Kafka.

use std::process::ExitCode;
use std::sync::Arc;

use purchase_service::{LISTEN, Purchases};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    bps_service::http::main(Arc::new(Purchases), "Takes purchases: POST /purchases", LISTEN)
}
