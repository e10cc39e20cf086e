//! Settings: a file (TOML) is overruled by the environment (`BPS_...`), and that by flags.
//!
//! Flags and environment are clap's. A group of flags is a struct of options; it is *resolved*
//! against the file into plain values, which are what `--print-config` prints. A file's keys are
//! the flags' names with `_`; a key that no group takes is an error.

mod file;
mod kafka;
mod listen;
mod log;
mod period;
mod size;
mod written;

use std::fmt;
use std::path::PathBuf;

use bps_events::Topics;
use serde::Serialize;

pub use self::file::SettingsFile;
pub use self::kafka::{KafkaFlags, KafkaSettings};
pub use self::listen::{ListenFlags, ListenSettings};
pub use self::log::{LogFlags, LogFormat, LogSettings};
pub use self::period::{Period, PeriodError};
pub use self::size::{Size, SizeError};
pub(crate) use self::written::NumberOrText;

/// A setting that cannot be; one line that names it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {cause}")]
pub struct SettingsError {
    place: String,
    cause: String,
}

impl SettingsError {
    /// What is wrong with the setting at `place`.
    pub fn new(place: impl fmt::Display, cause: impl fmt::Display) -> SettingsError {
        let one_line = |text: String| text.replace('\n', " ");
        SettingsError { place: one_line(place.to_string()), cause: one_line(cause.to_string()) }
    }
}

/// Flags that every program of this workspace has.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct CommonFlags {
    /// Settings file (TOML); its keys are the flags' names with `_`
    #[arg(long, env = "BPS_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print the effective settings as TOML and exit
    #[arg(long)]
    pub print_config: bool,
    /// Logs and spans.
    #[command(flatten)]
    pub log: LogFlags,
    /// Kafka.
    #[command(flatten)]
    pub kafka: KafkaFlags,
    /// Prefix of the topics that are read: restocks and purchases [default: bps]
    #[arg(long, env = "BPS_INPUT_PREFIX", value_name = "PREFIX")]
    pub input_prefix: Option<String>,
    /// Prefix of the topics of results and state [default: bps]
    #[arg(long, env = "BPS_OUTPUT_PREFIX", value_name = "PREFIX")]
    pub output_prefix: Option<String>,
    /// Partitions of topics that are created, where none of them exists yet [default: 8]
    #[arg(long, env = "BPS_PARTITIONS", value_name = "COUNT")]
    pub partitions: Option<u32>,
    /// What is stamped later than now and this is refused [default: 10s]
    #[arg(long, env = "BPS_FUTURE_MAX", value_name = "TIME")]
    pub future_max: Option<Period>,
}

/// What [`CommonFlags`] come to.
#[derive(Clone, Debug, Serialize)]
pub struct CommonSettings {
    /// Logs and spans.
    #[serde(flatten)]
    pub log: LogSettings,
    /// Prefix of the topics that are read.
    pub input_prefix: String,
    /// Prefix of the topics of results and state.
    pub output_prefix: String,
    /// Partitions of topics that are created, where none of them exists yet.
    pub partitions: u32,
    /// What is stamped later than now and this is refused.
    pub future_max: Period,
    /// The cluster, if one is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kafka: Option<KafkaSettings>,
}

impl CommonFlags {
    /// Reads the file that they name.
    ///
    /// # Errors
    /// As [`SettingsFile::read`].
    pub fn file(&self) -> Result<SettingsFile, SettingsError> {
        SettingsFile::read(self.config.as_deref())
    }

    /// Completes them from the file and the defaults.
    ///
    /// # Errors
    /// The first setting that cannot be.
    pub fn resolve(self, file: &mut SettingsFile) -> Result<CommonSettings, SettingsError> {
        let prefix = |name: &str, value: Option<String>| {
            let value = value.unwrap_or_else(|| bps_events::topics::PREFIX.to_owned());
            check_prefix(name, &value).map(|()| value)
        };
        let settings = CommonSettings {
            log: self.log.resolve(file)?,
            input_prefix: prefix("input-prefix", file.or("input_prefix", self.input_prefix)?)?,
            output_prefix: prefix("output-prefix", file.or("output_prefix", self.output_prefix)?)?,
            partitions: file.or("partitions", self.partitions)?.unwrap_or(8),
            future_max: file.or("future_max", self.future_max)?.unwrap_or(FUTURE_MAX),
            kafka: self.kafka.resolve(file)?,
        };
        if !(1..=PARTITIONS_MAX).contains(&settings.partitions) {
            let cause = format!("{} is not from 1 to {PARTITIONS_MAX}", settings.partitions);
            return Err(SettingsError::new("partitions", cause));
        }
        Ok(settings)
    }
}

impl CommonSettings {
    /// The topics under the prefixes.
    pub fn topics(&self) -> Topics {
        Topics::new(&self.input_prefix, &self.output_prefix)
    }

    /// The cluster of a program that cannot do without.
    ///
    /// # Errors
    /// When none is named.
    pub fn required_kafka(&self) -> Result<&KafkaSettings, SettingsError> {
        let missing = "no cluster is named: --kafka HOST:PORT, BPS_KAFKA_BOOTSTRAP, or bootstrap \
                       in the file's table [kafka]";
        self.kafka.as_ref().ok_or_else(|| SettingsError::new("kafka", missing))
    }
}

/// Clocks kept by NTP agree within milliseconds: what is further ahead is a clock that is wrong.
const FUTURE_MAX: Period = Period(std::time::Duration::from_secs(10));
/// More would be a slip of the finger: each costs files, threads of restores and memory.
const PARTITIONS_MAX: u32 = 10_000;

/// A prefix must leave room for the rest of a topic's name (at most 249 characters).
fn check_prefix(name: &str, prefix: &str) -> Result<(), SettingsError> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if prefix.is_empty() || prefix.len() > 200 || !prefix.chars().all(legal) {
        let cause = format!("{prefix:?} is not 1 to 200 letters, digits, '.', '_' or '-'");
        return Err(SettingsError::new(name, cause));
    }
    Ok(())
}

/// Effective settings as TOML, as `--print-config` prints them.
///
/// # Errors
/// When they have no form in TOML.
pub fn print(settings: &impl Serialize) -> Result<String, SettingsError> {
    let table = toml::Table::try_from(settings);
    let text = table.and_then(|table| toml::to_string(&table));
    text.map_err(|error| SettingsError::new("print-config", error))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        common: CommonFlags,
    }

    fn resolve(text: &str, args: &[&str]) -> Result<CommonSettings, SettingsError> {
        let cli = Cli::try_parse_from([&["test"], args].concat()).expect("flags");
        let mut file = SettingsFile::parse(Path::new("a.toml"), text)?;
        let settings = cli.common.resolve(&mut file)?;
        file.finish()?;
        Ok(settings)
    }

    #[track_caller]
    fn wrong(text: &str, args: &[&str], told: &str) {
        let error = resolve(text, args).expect_err(told).to_string();
        assert!(error.contains(told) && !error.contains('\n'), "{error}");
    }

    #[test]
    fn what_is_printed_is_read_again() {
        let args = ["--kafka", "h:9092", "--kafka-set", "linger.ms=5", "--future-max", "1min"];
        let printed = print(&resolve("partitions = 3", &args).expect("good")).expect("TOML");
        assert_eq!(
            printed,
            "future_max = \"1min\"\ninput_prefix = \"bps\"\nlog = \"info\"\n\
             log_format = \"text\"\noutput_prefix = \"bps\"\npartitions = 3\n\n[kafka]\nbootstrap = \"h:9092\"\n\n\
             [kafka.set]\n\"linger.ms\" = \"5\"\n"
        );
        assert_eq!(print(&resolve(&printed, &[]).expect("good")).expect("TOML"), printed);
    }

    #[test]
    fn a_bad_setting_is_named_in_one_line() {
        wrong("colour = 1", &[], "a.toml: colour: there is no such setting");
        wrong("[kafka]\nservers = \"h:1\"", &[], "a.toml: servers: there is no such setting");
        wrong("partitions = 0", &[], "partitions: 0 is not from 1");
        wrong("future_max = \"soon\"", &[], "a.toml: future_max: \"soon\" is no span");
        wrong("", &["--log", "x=y=z"], "log: ");
        wrong("", &["--input-prefix", "a b"], "input-prefix: \"a b\"");
        wrong("", &["--kafka", "host"], "kafka: \"host\" is not HOST:PORT");
        let acks = ["--kafka", "h:1", "--kafka-set", "acks=1"];
        wrong("", &acks, "kafka setting \"acks\" cannot be set");
        wrong("", &["--kafka", "h:1", "--kafka-set", "acks"], "not of the form KEY=VALUE");
        let refused = "[kafka]\nbootstrap = \"h:1\"\nset.isolation.level = \"x\"";
        wrong(refused, &[], "kafka setting \"isolation.level\" cannot be set");
        wrong("[kafka.set]\nacks = 1", &[], "kafka setting \"acks\" cannot be set");
        assert!(resolve("", &[]).expect("good").required_kafka().is_err());
    }
}
