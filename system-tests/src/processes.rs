//! The real binaries as processes of their own: started, watched, killed.

use std::fmt::Display;
use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::installation::PATIENCE;

/// How often a process is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// Where the project's scripts keep what they have fetched.
pub fn cache() -> PathBuf {
    let var = |name| std::env::var_os(name).map(PathBuf::from);
    let cache = var("XDG_CACHE_HOME").or_else(|| Some(var("HOME")?.join(".cache")));
    cache.unwrap().join("book-purchase-streams")
}

/// Says how it went to the one who runs the test.
#[allow(clippy::print_stderr)]
pub fn tell(text: impl std::fmt::Display) {
    eprintln!("{text}");
}

/// Where a binary of this workspace is, which must have been built.
///
/// # Panics
/// When it was not.
fn program(name: &str) -> PathBuf {
    // target/debug/deps/the-test, target/debug/torture
    let this = std::env::current_exe().unwrap();
    let places = this.ancestors().skip(1).take(2).map(|folder| folder.join(name));
    let found = places.into_iter().find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{name} is missing: cargo build --workspace"))
}

/// A binary of this workspace to be run, without the settings of whoever runs the test.
pub fn command(name: &str) -> Command {
    let mut command = Command::new(program(name));
    let settings = std::env::vars_os().map(|(key, _)| key);
    for key in settings.filter(|key| key.to_string_lossy().starts_with("BPS_")) {
        command.env_remove(key);
    }
    command
}

/// An address that was free a moment ago, and stays the same when its process starts again.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A folder for data and logs; when the test fails it is kept, and named.
pub struct Work {
    folder: TempDir,
}

impl Work {
    /// A fresh one.
    pub fn new(name: &str) -> Work {
        let folder = tempfile::Builder::new().prefix(&format!("bps-{name}-")).tempdir();
        Work { folder: folder.unwrap() }
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.folder.disable_cleanup(true);
            tell(format_args!("logs and data are kept in {}", self.folder.path().display()));
        }
    }
}

/// A process that was started here, and ends with the test at the latest.
pub struct Process {
    child: Child,
    name: String,
    out: PathBuf,
    log: PathBuf,
    started: Instant,
}

impl Process {
    /// Starts a binary of the workspace; stdout and stderr go to `NAME.out` and `NAME.log`.
    pub fn start(work: &Work, name: &str, program: &str, args: &[&str]) -> Process {
        let mut command = command(program);
        command.args(args);
        Process::spawn(work.folder.path(), name, command)
    }

    /// Starts any program; stdout and stderr go to `NAME.out` and `NAME.log` in a folder.
    pub fn spawn(folder: &Path, name: &str, mut command: Command) -> Process {
        let [out, log] = ["out", "log"].map(|end| folder.join(format!("{name}.{end}")));
        command.env("NO_COLOR", "1").stdin(Stdio::null());
        command.stdout(File::create(&out).unwrap()).stderr(File::create(&log).unwrap());
        let child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        Process { child, name: name.to_owned(), out, log, started: Instant::now() }
    }

    /// Starts `bps up` with its data in a folder, its services at these addresses, and its page at
    /// any.
    pub fn start_up(
        work: &Work,
        name: &str,
        data: &Path,
        addresses: &[impl Display; 2],
        more: &[&str],
    ) -> Process {
        let [items, purchases] = addresses.each_ref().map(ToString::to_string);
        let data = ["up", "--data", data.to_str().unwrap(), "--listen", "127.0.0.1:0"];
        let listen = ["--items-listen", items.as_str(), "--purchases-listen", &purchases];
        Process::start(work, name, "bps", &[&data[..], &listen, more].concat())
    }

    /// Starts `bps import` of `restocks.jsonl` and `purchases.jsonl` in `work`, to the two services
    /// at `addresses`.
    pub fn start_import(work: &Work, addresses: &[impl Display; 2]) -> Process {
        let files = ["restocks.jsonl", "purchases.jsonl"].map(|file| work.path(file));
        let [restocks, purchases] = files.each_ref().map(|path| path.to_str().unwrap());
        let urls = addresses.each_ref().map(|address| format!("http://{address}"));
        let args = ["import", "--restocks", restocks, "--purchases", purchases];
        let to = ["--items-url", urls[0].as_str(), "--purchases-url", urls[1].as_str()];
        Process::start(work, "import", "bps", &[&args[..], &to].concat())
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()).into_owned()
    }

    /// A line on stdout that begins so: the rest of it.
    pub fn has_said(&self, begin: &str) -> Option<String> {
        let out = std::fs::read_to_string(&self.out).unwrap();
        let whole = out.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let rest = whole.lines().find_map(|line| line.strip_prefix(begin))?;
        Some(rest.trim().to_owned())
    }

    /// The last line of its log: of one that has ended by itself, why.
    pub fn last_word(&self) -> String {
        self.log().lines().last().unwrap_or_default().to_owned()
    }

    /// Waits for a line on stdout that begins so; returns the rest of the line.
    pub fn wait_line(&mut self, begin: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(rest) = self.has_said(begin) {
                return rest;
            }
            self.must_run();
            assert!(Instant::now() < deadline, "{}: no '{begin}' on stdout", self.name);
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until a line of its log holds this text.
    pub fn wait_log(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.log().contains(text) {
            self.must_run();
            assert!(Instant::now() < deadline, "{}: no '{text}' in its log", self.name);
            std::thread::sleep(LOOK);
        }
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Fails when it has ended, with what it said last.
    pub fn must_run(&mut self) {
        if !self.is_running() {
            let log = self.log();
            let last: Vec<&str> = log.lines().rev().take(5).collect();
            panic!("{} has ended: {:?}: {last:#?}", self.name, self.child.try_wait());
        }
    }

    /// The system's number for it.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How long it has been there.
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// SIGKILL, at once.
    pub fn kill(mut self) {
        self.must_run();
        self.signal(Signal::KILL);
        self.child.wait().unwrap();
    }

    /// SIGSTOP: it stands still, in the midst of whatever it does.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT: it goes on, as if no time had passed.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// SIGTERM; it must drain and end with 0 within the 10 s it has, and the machine's slack.
    pub fn stop(mut self) {
        self.must_run();
        self.signal(Signal::TERM);
        let status = self.wait(Duration::from_secs(15));
        assert!(status.success(), "{}: {status}", self.name);
    }

    /// Waits for its own end.
    pub fn wait(&mut self, patience: Duration) -> ExitStatus {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "{} has not ended in {patience:?}", self.name);
            std::thread::sleep(LOOK);
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The tasks that have begun to decide, as the log tells.
    pub fn tasks(&self) -> Vec<TaskRuns> {
        let log = self.log();
        let number = |line: &str, field: &str| {
            let rest = line.split_once(field).unwrap().1;
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            rest[..end].parse().unwrap()
        };
        let run = |line: &str| TaskRuns {
            partition: number(line, " partition=") as u32,
            restored: number(line, " restored="),
            ms: number(line, " ms="),
        };
        log.lines().filter(|line| line.contains("task runs")).map(run).collect()
    }

    /// Rows that its tasks had to read from their topics, in all.
    pub fn restored(&self) -> u64 {
        self.tasks().iter().map(|task| task.restored).sum()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.is_running() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

/// A task that began to decide.
#[derive(Clone, Copy, Debug)]
pub struct TaskRuns {
    /// Its partition.
    pub partition: u32,
    /// Rows it had to read from its topics.
    pub restored: u64,
    /// How long that took.
    pub ms: u64,
}

/// Numbers that look random and are the same in every run.
pub struct Random(u64);

impl Random {
    /// From a seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next one, below `end` (splitmix64).
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % end
    }

    /// Sleeps for a time between these (ms).
    pub fn sleep(&mut self, from_ms: u64, to_ms: u64) {
        std::thread::sleep(Duration::from_millis(from_ms + self.below(to_ms - from_ms)));
    }
}
