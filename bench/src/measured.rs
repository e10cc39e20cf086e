//! What Linux knows of a process.

use std::time::Duration;

use bps_service::exit::AnyError;

/// Linux's unit of processor time towards programs (USER_HZ).
const TICK: Duration = Duration::from_millis(10);

/// Processor time of all threads of a process so far, user and system.
///
/// # Errors
/// When there is no such process.
pub(crate) fn cpu(pid: u32) -> Result<Duration, AnyError> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, which may hold anything, stands in parentheses.
    let rest = stat.rsplit_once(')').ok_or("no name in /proc/PID/stat")?.1;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(TICK * ticks as u32)
}

/// The most memory that a process has held at once, in KiB.
///
/// # Errors
/// When there is no such process.
pub(crate) fn memory_peak_kib(pid: u32) -> Result<u64, AnyError> {
    memory(pid, "VmHWM:")
}

/// The memory that a process holds, in KiB.
///
/// # Errors
/// When there is no such process.
pub(crate) fn memory_kib(pid: u32) -> Result<u64, AnyError> {
    memory(pid, "VmRSS:")
}

fn memory(pid: u32, line: &str) -> Result<u64, AnyError> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let found = status.lines().find_map(|l| l.strip_prefix(line)).ok_or("no memory told")?;
    Ok(found.trim().trim_end_matches(" kB").parse()?)
}

/// Lowest, middle and highest of some figures.
#[derive(Clone, Copy, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Spread {
    /// The lowest.
    pub(crate) min: f64,
    /// The one in the middle.
    pub(crate) median: f64,
    /// The highest.
    pub(crate) max: f64,
}

impl Spread {
    /// Of at least one figure.
    pub(crate) fn of(mut figures: Vec<f64>) -> Spread {
        figures.sort_by(f64::total_cmp);
        let at = |index: usize| figures.get(index).copied().unwrap_or(f64::NAN);
        Spread { min: at(0), median: at(figures.len() / 2), max: at(figures.len().wrapping_sub(1)) }
    }
}

/// The figure that this part of all are not above, of sorted ones.
pub(crate) fn percentile(sorted: &[f64], part: f64) -> f64 {
    let index = (sorted.len() as f64 * part) as usize;
    sorted.get(index.min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}
