//! What happened, as lines for people and as one number to compare two runs by.

use super::plan::{Effect, Fault};
use crate::broker::Now;

/// The trace of a run. Only the hash is kept, unless lines are asked for.
pub(super) struct Trace {
    hash: u64,
    lines: Option<Vec<String>>,
}

impl Default for Trace {
    fn default() -> Self {
        // FNV-1a, 64 bits: stable over builds and machines.
        Self { hash: 0xcbf2_9ce4_8422_2325, lines: None }
    }
}

impl Trace {
    pub(super) fn keep_lines(&mut self) {
        self.lines.get_or_insert_default();
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }

    fn mix(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    pub(super) fn effect(&mut self, now: Now, effect: &Effect, fault: Fault) {
        self.mix(&now.monotonic_ms.to_le_bytes());
        self.mix(&effect.process.to_le_bytes());
        self.mix(effect.name.as_bytes());
        if let Some(lines) = &mut self.lines {
            let Effect { number, process, name } = effect;
            let fault = match fault {
                Fault::None => String::new(),
                fault => format!("  <- {fault:?}"),
            };
            let ms = now.monotonic_ms;
            lines.push(format!("{ms:>7} ms  #{number:<5} process {process}  {name}{fault}"));
        }
    }

    /// What is not the doing of any process, or what a process wrote.
    pub(super) fn event(&mut self, now: Now, text: impl FnOnce() -> String) {
        let text = text();
        self.mix(text.as_bytes());
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>7} ms          {text}", now.monotonic_ms));
        }
    }
}
