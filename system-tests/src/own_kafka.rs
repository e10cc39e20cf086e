//! A Kafka of a test's own, which may be killed, frozen and started again. It ends, with all its
//! data, when dropped.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::backends::kafka_address;
use crate::processes::{cache, tell};

/// It starts often and lives shortly: little memory, and no time for the compiler's second look.
const JAVA: &str = "-Xms128m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1";

/// Later ones, up to 4.3.1 at least, may leave the markers of a transaction out while a broker comes
/// back, which then stays open for ever (KAFKA-20734; decision 0015): a fault of theirs, and none
/// that we could pass.
const VERSION: &str = "4.0.0";

/// See the module.
pub struct OwnKafka {
    home: TempDir,
    address: String,
    /// Where its keys and users are, if not everybody may do everything.
    security: Option<PathBuf>,
}

impl OwnKafka {
    /// Starts one; `None` (and said so) where the run says that there is none.
    pub fn start(name: &str) -> Option<OwnKafka> {
        OwnKafka::start_with(name, None)
    }

    /// As [`OwnKafka::start`], one that speaks TLS and asks for names: `scripts/kafka` says what lies
    /// in the folder.
    pub fn start_secured(name: &str, security: &Path) -> Option<OwnKafka> {
        OwnKafka::start_with(name, Some(security.to_owned()))
    }

    fn start_with(name: &str, security: Option<PathBuf>) -> Option<OwnKafka> {
        if kafka_address().is_none() {
            tell(format_args!("{name}: did not run on Kafka (BPS_NO_KAFKA)"));
            return None;
        }
        let home = tempfile::Builder::new().prefix("bps-kafka-").tempdir().unwrap();
        let mut kafka = OwnKafka { home, address: String::new(), security };
        kafka.up();
        Some(kafka)
    }

    /// Where it is, or was: the same after each start.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Starts it, with the data it has; returns when it answers.
    pub fn up(&mut self) {
        self.address = self.script("up").trim().to_owned();
    }

    /// SIGKILL, at once.
    pub fn kill(&self) {
        self.script("kill");
    }

    /// SIGSTOP and SIGCONT: it is there, and does not answer.
    pub fn freeze(&self, is_frozen: bool) {
        // A container is one process too, but not one of ours.
        if let Ok(pid) = std::fs::read_to_string(self.home.path().join("pid"))
            && let Some(pid) = pid.trim().parse().ok().and_then(Pid::from_raw)
        {
            let signal = if is_frozen { Signal::STOP } else { Signal::CONT };
            kill_process(pid, signal).unwrap();
        }
    }

    /// What it has logged, for whoever looks for a cause.
    pub fn log(&self) -> PathBuf {
        self.home.path().join("logs").join("server.log")
    }

    /// How often a coordinator of groups was ready while its partition was still being loaded a second
    /// time (decision 0038).
    pub fn loads_at_once(&self) -> usize {
        let log = std::fs::read(self.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        log.lines().filter(|line| line.contains("Ignored load completion from __consumer_")).count()
    }

    /// One of Kafka's own tools, by its class.
    pub fn tool(&self, class: &str, args: &[&str]) -> Output {
        let java = std::env::var("JAVA_HOME").map_or("java".to_owned(), |home| home + "/bin/java");
        let jars = shared_home().join("jars").join(VERSION).join("*");
        let mut command = Command::new(java);
        command.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"]).arg(jars);
        command.arg(class).args(args).stdin(Stdio::null()).output().unwrap()
    }

    fn script(&self, command: &str) -> String {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/kafka");
        let output = Command::new(scripts)
            .arg(command)
            .env("BPS_KAFKA_HOME", self.home.path())
            .env("BPS_KAFKA_JARS", shared_home().join("jars"))
            .env("BPS_KAFKA_JAVA", JAVA)
            .env("BPS_KAFKA_VERSION", VERSION)
            .env("BPS_KAFKA_SECURITY", self.security.as_deref().unwrap_or(Path::new("")))
            // The other one is none of its business.
            .env_remove("BPS_KAFKA")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "scripts/kafka {command}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }
}

/// Where the Kafka for everyone lies, and its jars.
fn shared_home() -> PathBuf {
    std::env::var_os("BPS_KAFKA_HOME").map_or_else(|| cache().join("kafka"), PathBuf::from)
}

impl Drop for OwnKafka {
    fn drop(&mut self) {
        self.freeze(false);
        if std::thread::panicking() {
            let kept = std::env::temp_dir().join(format!("kafka-logs-{}", std::process::id()));
            if std::fs::rename(self.home.path().join("logs"), &kept).is_ok() {
                tell(format_args!("what its Kafka says is kept in {}", kept.display()));
            }
        }
        // A panic within a panic would end the run without a word.
        let down = std::panic::AssertUnwindSafe(|| self.script("down"));
        if std::panic::catch_unwind(down).is_err() {
            self.home.disable_cleanup(true);
            tell(format_args!("a Kafka was left behind: {}", self.home.path().display()));
        }
    }
}
