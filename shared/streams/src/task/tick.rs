//! What lies on a topic of ticks.

/// What a tick says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tick {
    /// The time (ms since 1970).
    pub(crate) time: u64,
    /// The running clock (ms).
    pub(crate) running: u64,
}

impl Tick {
    pub(crate) fn write(self) -> String {
        format!("{{\"time\":{},\"running\":{}}}", self.time, self.running)
    }

    pub(super) fn read(value: &[u8]) -> Option<Tick> {
        let text = std::str::from_utf8(value).ok()?;
        let numbers = text.strip_prefix("{\"time\":")?.strip_suffix('}')?;
        let (time, running) = numbers.split_once(",\"running\":")?;
        Some(Tick { time: time.parse().ok()?, running: running.parse().ok()? })
    }
}
