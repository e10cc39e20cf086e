//! `purchase-processor`: decides, on Kafka, until a signal ends it.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    purchase_processor::program::main()
}
