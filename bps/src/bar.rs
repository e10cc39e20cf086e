//! The bar of commands that read whole topics.

use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const RECORDS: &str = "{bar:30} {percent:>3} %  {pos} records  {eta} left";

/// A bar that counts records, where somebody sees it.
pub(crate) fn records() -> Option<ProgressBar> {
    std::io::stderr().is_terminal().then(|| {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
        // The template is a constant; a bar without style is a bar all the same.
        if let Ok(style) = ProgressStyle::with_template(RECORDS) {
            bar.set_style(style);
        }
        bar
    })
}
