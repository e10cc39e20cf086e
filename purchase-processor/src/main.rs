//! `purchase-processor`: decides, on Kafka, until a signal ends it.

use std::process::ExitCode;
use std::sync::Arc;

use bps_service::settings::{self, CommonFlags, CommonSettings, SettingsError};
use bps_service::{Shutdown, exit, logging};
use clap::Parser;
use purchase_processor::flags::{ProcessorFlags, ProcessorSettings};
use purchase_processor::run::run;
use serde::Serialize;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NAME: &str = "purchase-processor";

/// Decides every purchase against what is left of its item
#[derive(Parser)]
#[command(name = NAME, version)]
struct Flags {
    #[command(flatten)]
    processor: ProcessorFlags,
    #[command(flatten)]
    common: CommonFlags,
}

#[derive(Serialize)]
struct Settings {
    #[serde(flatten)]
    processor: ProcessorSettings,
    #[serde(flatten)]
    common: CommonSettings,
}

fn main() -> ExitCode {
    let flags = match Flags::try_parse() {
        Ok(flags) => flags,
        Err(error) => return exit::usage(NAME, &error),
    };
    let print = flags.common.print_config;
    let settings = match resolve(flags) {
        Ok(settings) => settings,
        Err(error) => return exit::with(exit::USAGE, NAME, error),
    };
    if print {
        return exit::printed(NAME, settings::print(&settings));
    }
    let kafka = settings.common.required_kafka().and_then(|kafka| kafka.broker());
    let broker = logging::start(&settings.common.log).and(kafka);
    let broker = match broker {
        Ok(broker) => Arc::new(broker),
        Err(error) => return exit::with(exit::USAGE, NAME, error),
    };
    let shutdown = match Shutdown::on_signals() {
        Ok(shutdown) => shutdown,
        Err(error) => return exit::with(exit::FAILED, NAME, error),
    };
    let ready = || exit::say(format_args!("{NAME} ready"));
    exit::ended(NAME, run(broker, &settings.common, &settings.processor, &shutdown, ready))
}

fn resolve(flags: Flags) -> Result<Settings, SettingsError> {
    let mut file = flags.common.file()?;
    let processor = flags.processor.resolve(&mut file, "./state".into())?;
    let settings = Settings { processor, common: flags.common.resolve(&mut file)? };
    file.finish()?;
    Ok(settings)
}
