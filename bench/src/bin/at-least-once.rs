//! The purchase processor without transactions, to see what exactly-once costs. No product: after
//! a crash its store and its results would tell different stories.
//!
//! It takes the flags of `purchase-processor`.

use std::sync::Arc;

use bps_service::Shutdown;
use bps_service::applications::{ApplicationFlags, Rules, run};
use bps_service::exit::AnyError;
use bps_service::settings::CommonFlags;
use bps_streams::broker::Broker;
use bps_streams::worker::Guarantee;
use clap::Parser;
use purchase_processor::TOPOLOGIES;
use purchase_processor::flags::RuleFlags;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Decides every purchase, without transactions
#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    applications: ApplicationFlags,
    #[command(flatten)]
    rules: RuleFlags,
    #[command(flatten)]
    common: CommonFlags,
}

fn main() -> Result<(), AnyError> {
    let flags = Flags::parse();
    let mut file = flags.common.file()?;
    let applications = flags.applications.resolve(&mut file, "./state".into(), &TOPOLOGIES)?;
    let rules = flags.rules.resolve(&mut file)?;
    let common = flags.common.resolve(&mut file)?;
    let broker: Arc<dyn Broker> = Arc::new(common.required_kafka()?.broker()?);
    let shutdown = Shutdown::on_signals()?;
    let rule = RuleFlags::rule(&rules, &common);
    let mut running = applications.applications(&TOPOLOGIES, &rule, &common)?;
    running.iter_mut().for_each(|one| one.config.worker.guarantee = Guarantee::AtLeastOnce);
    Ok(run(&broker, running, applications.leave, &shutdown, |_| {}, || {})?)
}
