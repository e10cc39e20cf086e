//! The settings of the rules, by file, environment and flags.

use std::time::Duration;

use bps_service::applications::Rules;
use bps_service::settings::{CommonSettings, Period, SettingsError, SettingsFile};
use clap::Args;
use serde::Serialize;

use crate::Settings;

/// Flags of the rules, beside those of whatever runs topologies.
#[derive(Args, Clone, Debug, Default)]
pub struct RuleFlags {
    /// A restock goes before a purchase unless stamped later than this [default: 5s]
    #[arg(long, env = "BPS_CLOCK_SKEW_MAX", value_name = "TIME")]
    pub clock_skew_max: Option<Period>,
    /// How long decided ids are remembered, in the time of the records [default: for ever]
    #[arg(long, env = "BPS_MEMORY_WINDOW", value_name = "TIME")]
    pub memory_window: Option<Period>,
}

/// What [`RuleFlags`] come to.
#[derive(Clone, Debug, Serialize)]
pub struct RuleSettings {
    /// A restock goes before a purchase unless it is stamped later than this.
    pub clock_skew_max: Period,
    /// How long decided ids are remembered; `None`: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_window: Option<Period>,
}

impl Rules for RuleFlags {
    type Settings = RuleSettings;
    type Rule = Settings;

    fn resolve(self, file: &mut SettingsFile) -> Result<RuleSettings, SettingsError> {
        let skew = file.or("clock_skew_max", self.clock_skew_max)?;
        Ok(RuleSettings {
            clock_skew_max: skew.unwrap_or(Period(Duration::from_secs(5))),
            memory_window: file.or("memory_window", self.memory_window)?,
        })
    }

    fn rule(settings: &RuleSettings, common: &CommonSettings) -> Settings {
        Settings {
            clock_skew_max: settings.clock_skew_max.0,
            future_max: common.future_max.0,
            memory_window: settings.memory_window.map(|window| window.0),
            ..Settings::new(&common.input_prefix, &common.output_prefix)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use bps_service::applications::{ApplicationFlags, ApplicationSettings, NamedApplication};
    use bps_service::settings::{self, CommonFlags};
    use bps_streams::ApplicationConfig;
    use clap::Parser;

    use super::*;
    use crate::TOPOLOGIES;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        rules: RuleFlags,
        #[command(flatten)]
        applications: ApplicationFlags,
        #[command(flatten)]
        common: CommonFlags,
    }

    /// What the rules and the applications are set to, and the applications themselves.
    fn resolve(
        text: &str,
        args: &[&str],
    ) -> Result<(Settings, ApplicationSettings, Vec<NamedApplication>), SettingsError> {
        let cli = Cli::try_parse_from([&["test"], args].concat()).expect("flags");
        let mut file = SettingsFile::parse(Path::new("a.toml"), text)?;
        let rules = cli.rules.resolve(&mut file)?;
        let settings = cli.applications.resolve(&mut file, "./state".into(), &TOPOLOGIES)?;
        let common = cli.common.resolve(&mut file)?;
        file.finish()?;
        let rule = RuleFlags::rule(&rules, &common);
        let applications = settings.applications(&TOPOLOGIES, &rule, &common).expect("well wired");
        Ok((rule, settings, applications))
    }

    #[test]
    fn the_defaults_are_those_of_the_rule_and_the_engine() {
        let (rule, settings, applications) = resolve("", &[]).expect("good");
        assert_eq!(rule, Settings::default());
        let NamedApplication { name, topology, config } = &applications[0];
        assert_eq!((*name, topology.name()), ("stock", "bps-purchase-processor"));
        let engine = ApplicationConfig::new("./state");
        assert_eq!((config.workers, config.partitions), (2, engine.partitions));
        let expected = ApplicationConfig { workers: 2, ..engine };
        assert_eq!(format!("{config:?}"), format!("{expected:?}"));
        // What it has always printed, where there is one topology.
        let printed = settings::print(&settings).expect("TOML");
        assert!(TOPOLOGIES.0.len() > 1 || printed.contains("workers = 2\n"), "{printed}");
    }

    #[test]
    fn every_setting_reaches_its_place() {
        let text = "memory_window = \"30d\"\nclock_skew_max = \"1s\"\ninput_prefix = \"in\"\n\
                    leave = true\nworkers = 3\nstate = \"s\"";
        let args = ["--workers", "4", "--output-prefix", "out", "--skip-gap", "--leave=false"];
        let (rule, settings, applications) = resolve(text, &args).expect("good");
        assert_eq!(rule.memory_window.map(|w| w.as_secs()), Some(30 * 86_400));
        assert_eq!((rule.clock_skew_max.as_secs(), &*rule.topics.stock), (1, "out-stock"));
        assert_eq!(&*rule.topics.items_added, "in-items-added");
        let config = &applications[0].config;
        assert_eq!((config.workers, config.worker.skip_gap, settings.leave), (4, true, false));
        assert_eq!(config.state_folder, Path::new("s"));
    }

    #[test]
    fn names_of_topologies_are_those_of_no_file_of_a_state_folder() {
        for name in TOPOLOGIES.names() {
            let is_word = name.chars().all(|c| c.is_ascii_lowercase() || c == '-');
            let taken = ["store", "identity", "process", "owner", "topology", "skip-gap"];
            assert!(is_word && !taken.iter().any(|word| name.starts_with(word)), "{name}");
            assert!(TOPOLOGIES.select(&[name]).is_ok_and(|found| found.len() == 1), "{name}");
        }
    }
}
