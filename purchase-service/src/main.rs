//! `purchase-service`: purchases over HTTP, to Kafka.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    bps_service::service::main(&purchase_service::ABOUT, purchase_service::start)
}
