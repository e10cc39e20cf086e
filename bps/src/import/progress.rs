//! How far an import is: a bar on a terminal, else a line now and then.

use std::fmt::Display;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::kind::{KINDS, Kind};
use crate::out;

/// Time between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);
const BAR: &str = "{bar:30} {percent:>3} %  {msg}  {eta} left";
/// Where the length of the input is not known.
const SPINNER: &str = "{spinner} {msg}";

/// What has been done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Lines acknowledged, by the number of their kind.
    acknowledged: [u64; KINDS.len()],
    /// Lines left out.
    pub(crate) bad: u64,
    /// Bytes of the files that are done with.
    bytes: u64,
}

impl Counts {
    /// Counts one acknowledged line.
    pub(crate) fn acknowledge(&mut self, kind: &Kind) {
        let counts = KINDS.iter().zip(&mut self.acknowledged);
        counts.filter(|(known, _)| **known == kind).for_each(|(_, count)| *count += 1);
    }

    /// All that were acknowledged.
    pub(crate) fn lines(&self) -> u64 {
        self.acknowledged.iter().sum()
    }

    /// The last line of an import.
    pub(crate) fn summary(&self, took: Duration) -> String {
        let Counts { acknowledged, bad, .. } = self;
        let seconds = took.as_secs_f64();
        let rate = self.lines() as f64 / seconds.max(0.001);
        let kinds = KINDS.iter().zip(acknowledged);
        let kinds: Vec<_> = kinds.map(|(kind, count)| format!("{count} {}", kind.name)).collect();
        let kinds = kinds.join(", ");
        format!("imported {kinds}, {bad} bad lines in {seconds:.1} s ({rate:.0}/s)")
    }
}

/// Shows how far it is.
pub(crate) struct Progress {
    /// So far.
    pub(crate) counts: Counts,
    started: Instant,
    told: Instant,
    total: Option<u64>,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Begins. `total` are the bytes of the files, where that is known.
    pub(crate) fn start(total: Option<u64>) -> Progress {
        let bar = std::io::stderr().is_terminal().then(|| {
            let target = ProgressDrawTarget::stderr_with_hz(10);
            let bar = ProgressBar::with_draw_target(total, target);
            let template = if total.is_some() { BAR } else { SPINNER };
            // The templates are constants; a bar without style is a bar all the same.
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar
        });
        let now = Instant::now();
        Progress { counts: Counts::default(), started: now, told: now, total, bar }
    }

    /// How long it has taken.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// These bytes of the files are done with.
    pub(crate) fn advance(&mut self, bytes: u64) {
        self.counts.bytes += bytes;
        let lines = self.counts.lines();
        let seconds = self.elapsed().as_secs_f64().max(0.001);
        let message = format!("{lines} lines, {:.0}/s", lines as f64 / seconds);
        if let Some(bar) = &self.bar {
            bar.set_message(message);
            bar.set_position(self.counts.bytes);
        } else if self.told.elapsed() >= LINE_EVERY {
            self.told = Instant::now();
            let left = self.total.map(|total| left(self.counts.bytes, total, seconds));
            out::note(format_args!("{message}{}", left.unwrap_or_default()));
        }
    }

    /// Says something without tearing the bar.
    pub(crate) fn note(&self, line: impl Display) {
        match &self.bar {
            Some(bar) => bar.suspend(|| out::note(line)),
            None => out::note(line),
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn left(done: u64, total: u64, seconds: f64) -> String {
    let share = done as f64 / (total as f64).max(1.0);
    let left = seconds * (1.0 - share).max(0.0) / share.max(f64::MIN_POSITIVE);
    format!(", {:.0} %, about {left:.0} s left", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_says_what_was_done() {
        let counts = Counts { acknowledged: [593_851, 1_469_307], ..Counts::default() };
        assert_eq!(
            counts.summary(Duration::from_millis(31_200)),
            "imported 593851 restocks, 1469307 purchases, 0 bad lines in 31.2 s (66127/s)"
        );
        assert_eq!(left(25, 100, 10.0), ", 25 %, about 30 s left");
    }
}
