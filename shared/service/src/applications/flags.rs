//! What a program's applications are set to on one machine, by file, environment and flags.

use std::path::PathBuf;

use bps_streams::{ApplicationConfig, TopologyError};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize, Serializer};

use super::{NamedApplication, Topologies, Workers, memory};
use crate::settings::{CommonSettings, Period, SettingsError, SettingsFile, Size};

/// Flags of whatever runs topologies, beside the common ones.
#[derive(Args, Clone, Debug, Default)]
pub struct ApplicationFlags {
    /// Which topologies run, separated by commas [default: all that there are]
    #[arg(long, env = "BPS_RUN", value_name = "NAMES")]
    pub run: Option<String>,
    /// Where the state lies; one process owns it [default: ./state]
    #[arg(long, env = "BPS_STATE", value_name = "FOLDER")]
    pub state: Option<PathBuf>,
    /// Threads that decide: COUNT, of the first topology, or NAME=COUNT, separated by commas
    /// [default: 2 of the first, 1 of each other]
    #[arg(long, env = "BPS_WORKERS", value_name = "COUNT")]
    pub workers: Option<Workers>,
    /// Memory that all topologies share for rows, what is fetched, and open transactions: 512MiB,
    /// 1GiB, or bytes [default: 276MiB, 48MiB for each worker, and 64MiB for each further topology]
    #[arg(long, env = "BPS_MEMORY", value_name = "SIZE")]
    pub memory: Option<Size>,
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
    /// Whether the clock lets rows fall due: off for an import of the past, whose rows would be over as
    /// soon as they are there [default: on]
    #[arg(long, env = "BPS_TICKS", value_name = "WHETHER", value_enum)]
    pub ticks: Option<Ticks>,
}

/// Whether workers append ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ticks {
    /// Rows fall due in their time.
    #[default]
    On,
    /// Rows fall due by the timestamps of records alone.
    Off,
}

/// What [`ApplicationFlags`] come to.
#[derive(Clone, Debug, Serialize)]
pub struct ApplicationSettings {
    /// Which topologies run, in the order of the list.
    #[serde(serialize_with = "separated")]
    pub run: Vec<&'static str>,
    /// Where the state lies.
    pub state: PathBuf,
    /// Threads that decide, of those that run.
    pub workers: Workers,
    /// Memory that all topologies share.
    pub memory: Size,
    /// Longest time between two commits.
    pub commit_interval: Period,
    /// A worker silent for longer is dead.
    pub session_timeout: Period,
    /// Whether the place in the group is given up at the end.
    pub leave: bool,
    /// Whether it goes on where records are gone.
    pub skip_gap: bool,
    /// Whether the clock lets rows fall due.
    pub ticks: Ticks,
    /// Threads of each of those that run.
    #[serde(skip)]
    counts: Vec<u32>,
}

/// Brokers allow sessions from 6 s to 30 min unless told otherwise; embedded ones may be shorter.
const SESSION_MS: std::ops::RangeInclusive<u64> = 1_000..=1_800_000;
/// A transaction that stays open longer would be ended by the broker (10 s).
const COMMIT_MS: std::ops::RangeInclusive<u64> = 1..=5_000;

impl ApplicationFlags {
    /// Completes them from the file and the defaults, for a program that can run these topologies.
    ///
    /// # Errors
    /// The first setting that cannot be.
    pub fn resolve<S>(
        self,
        file: &mut SettingsFile,
        state: PathBuf,
        topologies: &Topologies<S>,
    ) -> Result<ApplicationSettings, SettingsError> {
        let seconds = |s| Period(std::time::Duration::from_secs(s));
        let ms = |ms| Period(std::time::Duration::from_millis(ms));
        let run = selected(file.or("run", self.run)?, topologies)?;
        let all = Workers::of(file.or("workers", self.workers)?.as_ref(), topologies)?;
        let running: Vec<_> = all.into_iter().filter(|(name, _)| run.contains(name)).collect();
        let counts: Vec<u32> = running.iter().map(|(_, count)| *count).collect();
        let workers = match (topologies.0, &counts[..]) {
            // There is nothing to tell it from.
            ([_], [count]) => Workers::First(*count),
            _ => {
                Workers::Named(running.iter().map(|(n, count)| ((*n).to_owned(), *count)).collect())
            }
        };
        let settings = ApplicationSettings {
            run,
            state: file.or("state", self.state)?.unwrap_or(state),
            workers,
            memory: memory::total(file.or("memory", self.memory)?, &counts)?,
            commit_interval: file.or("commit_interval", self.commit_interval)?.unwrap_or(ms(100)),
            session_timeout: file
                .or("session_timeout", self.session_timeout)?
                .unwrap_or(seconds(6)),
            leave: file.or("leave", self.leave)?.unwrap_or(false),
            skip_gap: file.or("skip_gap", self.skip_gap)?.unwrap_or(false),
            ticks: file.or("ticks", self.ticks)?.unwrap_or_default(),
            counts,
        };
        within("session_timeout", settings.session_timeout.as_ms(), SESSION_MS)?;
        within("commit_interval", settings.commit_interval.as_ms(), COMMIT_MS)?;
        Ok(settings)
    }
}

/// The names of those that run.
fn selected<S>(
    told: Option<String>,
    topologies: &Topologies<S>,
) -> Result<Vec<&'static str>, SettingsError> {
    let Some(told) = told else {
        return Ok(topologies.names().collect());
    };
    let names: Vec<&str> = told.split(',').map(str::trim).collect();
    let selected = topologies.select(&names).map_err(|error| SettingsError::new("run", error))?;
    Ok(selected.into_iter().map(|topology| topology.name).collect())
}

fn within(name: &str, ms: u64, range: std::ops::RangeInclusive<u64>) -> Result<(), SettingsError> {
    if range.contains(&ms) {
        return Ok(());
    }
    let (least, most) = range.into_inner();
    Err(SettingsError::new(name, format!("{ms} ms is not from {least} to {most} ms")))
}

fn separated<T: Serializer>(names: &[&'static str], serializer: T) -> Result<T::Ok, T::Error> {
    serializer.serialize_str(&names.join(","))
}

impl ApplicationSettings {
    /// The topologies that run, made from `rule`, as the engine takes them.
    ///
    /// # Errors
    /// When one of them is wired wrongly.
    pub fn applications<S>(
        &self,
        topologies: &Topologies<S>,
        rule: &S,
        common: &CommonSettings,
    ) -> Result<Vec<NamedApplication>, TopologyError> {
        let running = topologies.0.iter().filter(|topology| self.run.contains(&topology.name));
        let shares = memory::shares(self.memory, &self.counts);
        let each = running.zip(&self.counts).zip(shares).map(|((one, workers), share)| {
            let mut config = ApplicationConfig::new(topologies.folder(&self.state, one.name));
            config.workers = *workers;
            config.partitions = common.partitions;
            config.worker.commit.interval_ms = self.commit_interval.as_ms();
            config.worker.session_timeout_ms = self.session_timeout.as_ms();
            config.worker.skip_gap = self.skip_gap;
            config.worker.ticks = self.ticks == Ticks::On;
            memory::bound(&mut config, share);
            let topology = (one.topology)(rule)?;
            Ok(NamedApplication { name: one.name, topology, config })
        });
        each.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::Parser;

    use super::super::tests::TWO;
    use super::*;
    use crate::settings;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        applications: ApplicationFlags,
    }

    fn resolve(text: &str, args: &[&str]) -> Result<ApplicationSettings, SettingsError> {
        let cli = Cli::try_parse_from([&["test"], args].concat()).expect("flags");
        let mut file = SettingsFile::parse(Path::new("a.toml"), text)?;
        let settings = cli.applications.resolve(&mut file, "./state".into(), &TWO)?;
        file.finish()?;
        Ok(settings)
    }

    #[track_caller]
    fn wrong(text: &str, told: &str) {
        let error = resolve(text, &[]).expect_err(told).to_string();
        assert!(error.contains(told) && !error.contains('\n'), "{error}");
    }

    #[test]
    fn the_defaults_are_those_of_the_list_and_the_engine() {
        let settings = resolve("", &[]).expect("good");
        assert_eq!((&settings.run[..], &settings.counts[..]), (&["one", "two"][..], &[2, 1][..]));
        let engine = bps_streams::worker::WorkerConfig::new("");
        assert_eq!(settings.commit_interval.as_ms(), engine.commit.interval_ms);
        assert_eq!(settings.session_timeout.as_ms(), engine.session_timeout_ms);
        assert!(!settings.skip_gap && !settings.leave && settings.ticks == Ticks::On);
    }

    #[test]
    fn what_is_printed_is_read_again() {
        for (text, args, workers) in [
            ("", &[][..], "one=2,two=1"),
            ("workers = 3", &[], "one=3,two=1"),
            ("workers = \"two=4\"\nrun = \"two\"", &[], "two=4"),
            ("run = \"two\"", &["--run", "two, one", "--workers", "one=5"], "one=5,two=1"),
            ("memory = 100000000", &["--memory", "300MiB"], "one=2,two=1"),
        ] {
            let settings = resolve(text, args).expect("good");
            let printed = settings::print(&settings).expect("TOML");
            assert!(printed.contains(&format!("workers = \"{workers}\"\n")), "{printed}");
            assert!(printed.contains(&format!("run = \"{}\"\n", settings.run.join(","))));
            assert!(printed.contains(&format!("memory = \"{}\"\n", settings.memory)));
            let again = settings::print(&resolve(&printed, &[]).expect("good")).expect("TOML");
            assert_eq!(again, printed);
        }
    }

    #[test]
    fn what_cannot_be_is_named() {
        wrong("workers = 0", "workers: 0 is not from 1 to 256");
        wrong("workers = true", "a.toml: workers: invalid type: boolean `true`");
        wrong(
            "workers = \"three=1\"",
            "workers: topology \"three\" does not exist; there are: one",
        );
        wrong("run = \"three\"", "run: topology \"three\" does not exist; there are: one, two");
        wrong("run = \"one,one\"", "run: topology \"one\" is named twice; there are: one, two");
        wrong("run = \"\"", "run: topology \"\" does not exist; there are: one, two");
        wrong("memory = \"1MiB\"", "memory: 1MiB is too little: 87MiB is the least that works");
        wrong("session_timeout = \"10ms\"", "session_timeout: 10 ms is not from 1000");
        wrong("commit_interval = \"1min\"", "commit_interval: 60000 ms is not from 1 to 5000");
        wrong("worker = 1", "a.toml: worker: there is no such setting");
    }
}
