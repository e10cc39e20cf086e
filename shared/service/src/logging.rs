//! Logs, to stderr: stdout is for what a program answers.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::settings::SettingsError;

/// Reads a filter: a level, or the syntax of `RUST_LOG`.
///
/// # Errors
/// What is wrong with it.
pub fn filter(text: &str) -> Result<EnvFilter, SettingsError> {
    EnvFilter::try_new(text).map_err(|error| SettingsError::new("log", error))
}

/// Starts logging. Later calls in one process change nothing.
///
/// # Errors
/// As [`filter`].
pub fn start(text: &str) -> Result<(), SettingsError> {
    // https://no-color.org: any value but the empty one.
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter(text)?)
        .with_ansi(!plain && std::io::stderr().is_terminal())
        .with_target(false)
        .with_writer(std::io::stderr);
    // Fails only where a test has started another.
    drop(subscriber.try_init());
    Ok(())
}
