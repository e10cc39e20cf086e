//! The processor's settings on one machine, by file, environment and flags.

use std::path::PathBuf;

use bps_service::settings::{CommonSettings, Period, SettingsError, SettingsFile};
use bps_streams::ApplicationConfig;
use clap::Args;
use serde::Serialize;

use crate::Settings;

/// Flags of a processor, beside the common ones.
#[derive(Args, Clone, Debug, Default)]
pub struct ProcessorFlags {
    /// Where the state lies; one process owns it [default: ./state]
    #[arg(long, env = "BPS_STATE", value_name = "FOLDER")]
    pub state: Option<PathBuf>,
    /// Threads that decide [default: 2]
    #[arg(long, env = "BPS_WORKERS", value_name = "COUNT")]
    pub workers: Option<u32>,
    /// A restock goes before a purchase unless stamped later than this [default: 5s]
    #[arg(long, env = "BPS_CLOCK_SKEW_MAX", value_name = "TIME")]
    pub clock_skew_max: Option<Period>,
    /// How long decided ids are remembered, in the time of the records [default: for ever]
    #[arg(long, env = "BPS_MEMORY_WINDOW", value_name = "TIME")]
    pub memory_window: Option<Period>,
    /// Longest time between two commits [default: 100ms]
    #[arg(long, env = "BPS_COMMIT_INTERVAL", value_name = "TIME")]
    pub commit_interval: Option<Period>,
    /// A worker silent for longer is dead, and others take over [default: 6s]
    #[arg(long, env = "BPS_SESSION_TIMEOUT", value_name = "TIME")]
    pub session_timeout: Option<Period>,
    /// At the end give up the place in the group: others take over at once (scaling down)
    #[arg(long, env = "BPS_LEAVE", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_name = "BOOL")]
    pub leave: Option<bool>,
    /// Go on where records are gone that were not decided yet, instead of stopping
    #[arg(long, env = "BPS_SKIP_GAP", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_name = "BOOL")]
    pub skip_gap: Option<bool>,
}

/// What [`ProcessorFlags`] come to.
#[derive(Clone, Debug, Serialize)]
pub struct ProcessorSettings {
    /// Where the state lies.
    pub state: PathBuf,
    /// Threads that decide.
    pub workers: u32,
    /// A restock goes before a purchase unless stamped later than this.
    pub clock_skew_max: Period,
    /// How long decided ids are remembered; `None`: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_window: Option<Period>,
    /// Longest time between two commits.
    pub commit_interval: Period,
    /// A worker silent for longer is dead.
    pub session_timeout: Period,
    /// Whether the place in the group is given up at the end.
    pub leave: bool,
    /// Whether it goes on where records are gone.
    pub skip_gap: bool,
}

/// More threads than this would be a slip of the finger.
const WORKERS_MAX: u32 = 256;
/// Brokers allow sessions from 6 s to 30 min unless told otherwise; embedded ones may be shorter.
const SESSION_MS: std::ops::RangeInclusive<u64> = 1_000..=1_800_000;
/// A transaction that stays open longer would be ended by the broker (10 s).
const COMMIT_MS: std::ops::RangeInclusive<u64> = 1..=5_000;

impl ProcessorFlags {
    /// Completes them from the file and the defaults.
    ///
    /// # Errors
    /// The first setting that cannot be.
    pub fn resolve(
        self,
        file: &mut SettingsFile,
        state: PathBuf,
    ) -> Result<ProcessorSettings, SettingsError> {
        let seconds = |s| Period(std::time::Duration::from_secs(s));
        let ms = |ms| Period(std::time::Duration::from_millis(ms));
        let settings = ProcessorSettings {
            state: file.or("state", self.state)?.unwrap_or(state),
            workers: file.or("workers", self.workers)?.unwrap_or(2),
            clock_skew_max: file.or("clock_skew_max", self.clock_skew_max)?.unwrap_or(seconds(5)),
            memory_window: file.or("memory_window", self.memory_window)?,
            commit_interval: file.or("commit_interval", self.commit_interval)?.unwrap_or(ms(100)),
            session_timeout: file
                .or("session_timeout", self.session_timeout)?
                .unwrap_or(seconds(6)),
            leave: file.or("leave", self.leave)?.unwrap_or(false),
            skip_gap: file.or("skip_gap", self.skip_gap)?.unwrap_or(false),
        };
        within("workers", u64::from(settings.workers), 1..=u64::from(WORKERS_MAX), "")?;
        within("session_timeout", settings.session_timeout.as_ms(), SESSION_MS, " ms")?;
        within("commit_interval", settings.commit_interval.as_ms(), COMMIT_MS, " ms")?;
        Ok(settings)
    }
}

fn within(
    name: &str,
    value: u64,
    range: std::ops::RangeInclusive<u64>,
    unit: &str,
) -> Result<(), SettingsError> {
    if range.contains(&value) {
        return Ok(());
    }
    let (least, most) = range.into_inner();
    Err(SettingsError::new(name, format!("{value}{unit} is not from {least} to {most}{unit}")))
}

impl ProcessorSettings {
    /// What decisions depend on.
    pub fn rule(&self, common: &CommonSettings) -> Settings {
        Settings {
            clock_skew_max: self.clock_skew_max.0,
            future_max: common.future_max.0,
            memory_window: self.memory_window.map(|window| window.0),
            ..Settings::new(&common.input_prefix, &common.output_prefix)
        }
    }

    /// As the engine takes them.
    pub fn application(&self, common: &CommonSettings) -> ApplicationConfig {
        let mut config = ApplicationConfig::new(&self.state);
        config.workers = self.workers;
        config.partitions = common.partitions;
        config.worker.commit.interval_ms = self.commit_interval.as_ms();
        config.worker.session_timeout_ms = self.session_timeout.as_ms();
        config.worker.skip_gap = self.skip_gap;
        config
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use bps_service::settings::CommonFlags;
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        processor: ProcessorFlags,
        #[command(flatten)]
        common: CommonFlags,
    }

    fn resolve(
        text: &str,
        args: &[&str],
    ) -> Result<(ProcessorSettings, CommonSettings), SettingsError> {
        let cli = Cli::try_parse_from([&["test"], args].concat()).expect("flags");
        let mut file = SettingsFile::parse(Path::new("a.toml"), text)?;
        let processor = cli.processor.resolve(&mut file, "./state".into())?;
        let common = cli.common.resolve(&mut file)?;
        file.finish()?;
        Ok((processor, common))
    }

    #[track_caller]
    fn wrong(text: &str, told: &str) {
        let error = resolve(text, &[]).expect_err(told).to_string();
        assert!(error.contains(told) && !error.contains('\n'), "{error}");
    }

    #[test]
    fn the_defaults_are_those_of_the_rule_and_the_engine() {
        let (processor, common) = resolve("", &[]).expect("good");
        assert_eq!(processor.rule(&common), Settings::default());
        let config = processor.application(&common);
        let engine = bps_streams::worker::WorkerConfig::new("");
        assert_eq!((config.workers, config.partitions), (2, 8));
        assert_eq!(config.worker.commit.interval_ms, engine.commit.interval_ms);
        assert_eq!(config.worker.session_timeout_ms, engine.session_timeout_ms);
        assert!(!config.worker.skip_gap && !processor.leave);
    }

    #[test]
    fn every_setting_reaches_its_place() {
        let text = "memory_window = \"30d\"\nclock_skew_max = \"1s\"\ninput_prefix = \"in\"\n\
                    leave = true\nworkers = 3\nstate = \"s\"";
        let args = ["--workers", "4", "--output-prefix", "out", "--skip-gap", "--leave=false"];
        let (processor, common) = resolve(text, &args).expect("good");
        let rule = processor.rule(&common);
        assert_eq!(rule.memory_window.map(|w| w.as_secs()), Some(30 * 86_400));
        assert_eq!((rule.clock_skew_max.as_secs(), &*rule.topics.stock), (1, "out-stock"));
        assert_eq!(&*rule.topics.items_added, "in-items-added");
        let config = processor.application(&common);
        assert_eq!((config.workers, config.worker.skip_gap, processor.leave), (4, true, false));
        assert_eq!(config.state_folder, Path::new("s"));
    }

    #[test]
    fn what_cannot_be_is_named() {
        wrong("workers = 0", "workers: 0 is not from 1 to 256");
        wrong("session_timeout = \"10ms\"", "session_timeout: 10 ms is not from 1000");
        wrong("commit_interval = \"1min\"", "commit_interval: 60000 ms is not from 1 to 5000");
        wrong("worker = 1", "a.toml: worker: there is no such setting");
    }
}
