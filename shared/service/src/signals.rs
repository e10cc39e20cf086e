//! The end of a program: asked for once, by a signal or by a part that failed, and told to all.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::{flag, low_level};
use tokio::sync::watch;

/// All must have ended by then: whoever stops services sends SIGKILL after ten seconds.
const END: Duration = Duration::from_millis(9_500);

/// Whether the end has been asked for. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    requested: Arc<watch::Sender<bool>>,
}

impl Shutdown {
    /// The end is asked for by SIGTERM or SIGINT. A second signal ends the process at once; so
    /// does the time of ten seconds, whatever is still open then: it is dropped as a whole, and
    /// the next start takes it up.
    ///
    /// # Errors
    /// When the system refuses the handlers.
    pub fn on_signals() -> io::Result<Shutdown> {
        let shutdown = Shutdown::default();
        let armed = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            // In this order: the first signal arms what the second one meets.
            flag::register_conditional_shutdown(signal, 128 + signal, armed.clone())?;
            flag::register(signal, armed.clone())?;
        }
        let mut signals = Signals::new([SIGTERM, SIGINT])?;
        let asked = shutdown.clone();
        let listen = move || {
            if signals.forever().next().is_some() {
                tracing::info!("ends: finishing what is open");
                asked.request();
                std::thread::sleep(END);
                tracing::warn!("not all could be finished in time; the next start takes it up");
                low_level::exit(0);
            }
        };
        std::thread::Builder::new().name("signals".to_owned()).spawn(listen)?;
        Ok(shutdown)
    }

    /// Asks for the end.
    pub fn request(&self) {
        self.requested.send_replace(true);
    }

    /// Whether the end has been asked for.
    pub fn is_requested(&self) -> bool {
        *self.requested.borrow()
    }

    /// Waits until the end is asked for.
    pub async fn wait(&self) {
        // The sender lives as long as this.
        drop(self.requested.subscribe().wait_for(|requested| *requested).await);
    }
}
