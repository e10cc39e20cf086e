//! A small disk of the test's own: a tmpfs in a mount namespace of its own, which needs no right
//! that a plain user lacks. It is reached through `/proc/PID/root`, and ends with its holder.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use tempfile::TempDir;

pub(crate) struct Space {
    holder: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    root: PathBuf,
    _folder: TempDir,
}

/// Mounts, says so, and then does what it is told, a command a line.
const HOLD: &str = r#"
mount -t tmpfs -o "size=$1,mode=777" tmpfs "$2" && echo held || exit 1
while read -r line; do sh -c "$line" && echo done || echo failed; done
"#;

impl Space {
    /// One of this size (KiB).
    pub(crate) fn new(kib: usize) -> Space {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("{kib}k");
        let path = folder.path().to_str().unwrap().to_owned();
        let holder = Command::new("unshare")
            .args(["--map-root-user", "--mount", "sh", "-c", HOLD, "sh", &size, &path])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut holder = holder.unwrap_or_else(|e| panic!("unshare (util-linux) is needed: {e}"));
        let commands = holder.stdin.take().unwrap();
        let mut answers = BufReader::new(holder.stdout.take().unwrap());
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        assert_eq!(
            line.trim(),
            "held",
            "a small disk cannot be made: `unshare --map-root-user --mount` and a tmpfs in it are \
             needed (user namespaces allowed, or root)"
        );
        let root = PathBuf::from(format!("/proc/{}/root{path}", holder.id()));
        Space { holder, commands, answers, root, _folder: folder }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.root
    }

    fn tell(&mut self, options: &str) {
        let inside = self._folder.path().display();
        writeln!(self.commands, "mount -o remount,{options} {inside}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "done", "remount,{options}");
    }

    pub(crate) fn read_only(&mut self) {
        self.tell("ro");
    }

    pub(crate) fn writable(&mut self) {
        self.tell("rw");
    }

    /// Fills it to the last byte with a file of the test's.
    pub(crate) fn fill(&self) {
        let ballast = self.root.join("ballast");
        let mut file = File::options().append(true).create(true).open(ballast).unwrap();
        for size in [1 << 16, 1 << 12, 1] {
            let bytes = vec![0; size];
            while file.write_all(&bytes).is_ok() {}
        }
    }

    /// There is room again.
    pub(crate) fn free(&self) {
        fs::remove_file(self.root.join("ballast")).unwrap();
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}
