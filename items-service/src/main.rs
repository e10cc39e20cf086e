//! `items-service`: restocks over HTTP, to Kafka.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    bps_service::service::main(&items_service::ABOUT, items_service::start)
}
