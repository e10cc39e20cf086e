//! The only place where the command speaks: results go to standard output, everything else to
//! standard error, so that a pipe carries results only.

use std::fmt::Display;
use std::io::{self, BufRead, IsTerminal, Write};

use crate::error::Error;

/// Writes one line of result.
///
/// # Errors
/// When nobody reads them any more.
pub(crate) fn result(line: impl Display) -> Result<(), Error> {
    writeln!(io::stdout().lock(), "{line}").map_err(Error::Output)
}

/// Writes one line for the person at the terminal.
pub(crate) fn note(line: impl Display) {
    // Where nobody can be told, nothing can be done about it.
    drop(writeln!(io::stderr().lock(), "{line}"));
}

/// Asks a question that only a `y` answers with yes. Without a terminal there is nobody to ask,
/// and the answer is `None`.
pub(crate) fn ask(question: &str) -> Option<bool> {
    if !io::stdin().is_terminal() {
        return None;
    }
    let mut stderr = io::stderr().lock();
    drop(write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush()));
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer).is_ok();
    Some(read && matches!(answer.trim(), "y" | "Y" | "yes"))
}
