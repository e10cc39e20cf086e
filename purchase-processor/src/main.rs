//! `purchase-processor`: decides, on Kafka, until a signal ends it.

use std::process::ExitCode;

use bps_service::applications;
use purchase_processor::flags::RuleFlags;
use purchase_processor::{ABOUT, TOPOLOGIES};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    applications::main::<RuleFlags>(&ABOUT, &TOPOLOGIES)
}
