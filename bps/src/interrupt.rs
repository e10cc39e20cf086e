//! Ctrl-C and SIGTERM as a flag, so that a command ends where it is tidy to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// Set by the first signal; a second one ends the process at once.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens from now on.
    pub(crate) fn listen() -> Interrupt {
        let raised = Arc::<AtomicBool>::default();
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal finds the flag unset and only sets it. Both fail
            // for forbidden signals only, which these are not.
            let code = i32::from(crate::exit::INTERRUPTED);
            drop(flag::register_conditional_shutdown(signal, code, raised.clone()));
            drop(flag::register(signal, raised.clone()));
        }
        Interrupt(raised)
    }

    /// Whether it was raised.
    pub(crate) fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Returns when it is raised.
    pub(crate) async fn raised(&self) {
        while !self.is_raised() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
