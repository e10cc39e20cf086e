//! The purchase processor without transactions, to see what exactly-once costs. No product: after
//! a crash its store and its results would tell different stories.
//!
//! It takes the flags of `purchase-processor`.

use std::sync::Arc;

use bps_service::Shutdown;
use bps_service::exit::AnyError;
use bps_service::settings::CommonFlags;
use bps_streams::Application;
use bps_streams::worker::Guarantee;
use clap::Parser;
use purchase_processor::flags::ProcessorFlags;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Decides every purchase, without transactions
#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    processor: ProcessorFlags,
    #[command(flatten)]
    common: CommonFlags,
}

fn main() -> Result<(), AnyError> {
    let flags = Flags::parse();
    let mut file = flags.common.file()?;
    let processor = flags.processor.resolve(&mut file, "./state".into())?;
    let common = flags.common.resolve(&mut file)?;
    let broker = Arc::new(common.required_kafka()?.broker()?);
    let shutdown = Shutdown::on_signals()?;
    let mut config = processor.application(&common);
    config.worker.guarantee = Guarantee::AtLeastOnce;
    let topology = purchase_processor::topology(&processor.rule(&common))?;
    let application = Application::start(broker, topology, config)?;
    while !shutdown.is_requested() && !application.is_finished() {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    Ok(application.stop()?)
}
