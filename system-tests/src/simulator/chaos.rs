//! The plan of a simulated run: any effect of any process may fail in any way, as often as the
//! seed says, until everything is healed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bps_streams::simulation::{Effect, Fault, Plan};

use super::random::Random;

/// What a run and its plan tell each other.
#[derive(Clone, Debug, Default)]
pub struct Weather {
    healed: Arc<AtomicBool>,
    faults: Arc<AtomicU64>,
}

impl Weather {
    /// Whether nothing goes wrong from now on.
    pub fn set_healed(&self, healed: bool) {
        self.healed.store(healed, Ordering::Relaxed);
    }

    /// How much has gone wrong so far.
    pub fn faults(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }
}

/// Faults by chance.
pub struct Chaos {
    random: Random,
    weather: Weather,
    /// Faults in a thousand effects.
    rate: u64,
}

impl Chaos {
    /// The plan of a seed.
    pub fn new(seed: u64, weather: Weather) -> Chaos {
        let mut random = Random::new(seed);
        // Some runs are calm, so that what depends on long quiet work is seen too.
        let rate = [0, 3, 10, 25, 60][random.below(5) as usize];
        Chaos { random, weather, rate }
    }

    /// How late something arrives (ms): soon, in the next transaction but one of whoever sent it
    /// (two producers take turns), or long after.
    fn late(&mut self) -> u64 {
        let bound = [30, 120, 600][self.random.below(3) as usize];
        1 + self.random.below(bound)
    }
}

impl Plan for Chaos {
    fn fault(&mut self, effect: &Effect) -> Fault {
        // The ends of transactions are what the protocol fears most: they fail more often.
        let ends = matches!(effect.name, "commit" | "abort");
        let rate = if ends { 4 * self.rate } else { self.rate };
        if self.weather.healed.load(Ordering::Relaxed) || !self.random.chance(rate, 1_000) {
            return Fault::None;
        }
        self.weather.faults.fetch_add(1, Ordering::Relaxed);
        match self.random.below(if ends { 10 } else { 6 }) {
            0 => Fault::CrashBefore,
            1 => Fault::CrashAfter,
            2 | 3 => Fault::Lost,
            4 | 5 => Fault::Unacknowledged,
            6 | 7 => Fault::Delayed(self.late()),
            _ => Fault::Repeated(self.late()),
        }
    }

    fn choose(&mut self, _: &'static str, count: u32) -> u32 {
        match self.weather.healed.load(Ordering::Relaxed) {
            true => 0,
            false => self.random.below(u64::from(count)) as u32,
        }
    }
}
