//! How a program ends: the exit codes, and the one line that says why.

use std::fmt;
use std::process::ExitCode;

use clap::error::ErrorKind;

/// Something failed while it ran.
pub const FAILED: u8 = 1;
/// The settings or the flags are wrong (`EX_USAGE`).
pub const USAGE: u8 = 64;

/// Whatever ends a program: it is only told.
pub type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Says in one line on stderr why the program ends.
pub fn with(code: u8, program: &str, why: impl fmt::Display) -> ExitCode {
    let why = why.to_string().replace('\n', " ");
    // The last word of a program; logging may not have begun.
    #[allow(clippy::print_stderr)]
    {
        eprintln!("{program}: {why}");
    }
    ExitCode::from(code)
}

/// Ends a program that has had RocksDB open, with the word of why where it failed. C's and C++'s
/// own ends are left out: RocksDB's threads may still be at work then, on what those destroy, and
/// abort.
pub fn ended<E: fmt::Display>(program: &str, outcome: Result<(), E>) -> ! {
    let code = match outcome {
        Ok(()) => 0,
        Err(error) => {
            with(FAILED, program, error);
            FAILED
        }
    };
    signal_hook::low_level::exit(code.into())
}

/// Says one line on stdout; one that nobody reads is no failure.
pub fn say(line: impl fmt::Display) {
    use std::io::Write;
    let mut stdout = std::io::stdout().lock();
    drop(writeln!(stdout, "{line}").and_then(|()| stdout.flush()));
}

/// What clap refused, in one line and with exit code 64; help and version are no failure.
pub fn usage(program: &str, error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        drop(error.print());
        return ExitCode::SUCCESS;
    }
    let text = error.to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = first.trim_start_matches("error: ").split_whitespace().collect();
    with(USAGE, program, words.join(" "))
}

/// Prints effective settings on stdout: what `--print-config` ends with.
pub fn printed(
    program: &str,
    settings: Result<String, crate::settings::SettingsError>,
) -> ExitCode {
    match settings {
        Ok(text) => {
            say(text.trim_end());
            ExitCode::SUCCESS
        }
        Err(error) => with(USAGE, program, error),
    }
}
