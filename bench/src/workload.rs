//! What is decided: restocks and purchases, the same ones in every run.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use system_tests::oracle::Event;
use system_tests::processes::Random;
use system_tests::year;

/// 2025-01-01: the restocks of all but the real year.
const BEGIN_MS: i64 = 1_735_689_600_000;
/// Purchases begin this much later, so that all restocks go first whoever decides.
const GAP_MS: i64 = 60_000;

/// Which items are wanted how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Workload {
    /// The tills of a real grocer for a year: `scripts/retail`.
    Year,
    /// 100,000 items, 1,000,000 purchases, each of any.
    Uniform,
    /// 1,000,000 items, 2,000,000 purchases, the n-th item n^0.9 times as rare as the first.
    Zipf,
    /// One item, 1,000,000 purchases.
    Hot,
    /// 1,000 items of which there is enough, and nobody who buys yet.
    Shelf,
    /// 20,000,000 purchases of 1,000,000 items, for the long run.
    Backlog,
}

impl Workload {
    /// As it stands in names of topics and files.
    pub(crate) fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// As people say it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Year => "the grocer's year",
            Self::Uniform => "100k items, uniform",
            Self::Zipf => "1M items, Zipf 0.9",
            Self::Hot => "one hot item",
            Self::Shelf => "1,000 items",
            Self::Backlog => "20M purchases",
        }
    }

    /// The events, in the order in which they are to be decided.
    ///
    /// # Panics
    /// When the real year has not been fetched.
    pub(crate) fn events(self) -> Box<dyn Iterator<Item = Event>> {
        match self {
            Self::Year => Box::new(year::events().into_iter()),
            // About one request in ten cannot be granted.
            Self::Uniform => made(100_000, 1_000_000, 25, |_| 1.0),
            Self::Zipf => made(1_000_000, 2_000_000, 40, |rank| rank.powf(-0.9)),
            Self::Hot => made(1, 1_000_000, 1_800_000, |_| 1.0),
            Self::Shelf => made(1_000, 0, 1_000_000, |_| 1.0),
            Self::Backlog => made(1_000_000, 20_000_000, 40, |_| 1.0),
        }
    }
}

/// Restocks all items, then buys.
fn made(
    items: u64,
    purchases: u64,
    supply: i64,
    weight: impl Fn(f64) -> f64,
) -> Box<dyn Iterator<Item = Event>> {
    let mut sum = 0.0;
    let mut add = |rank: u64| {
        sum += weight(rank as f64);
        sum
    };
    let sums: Vec<f64> = (1..=items).map(&mut add).collect();
    let mut random = Random::new(7);
    let restocks = (0..items).map(move |n| Event {
        is_purchase: false,
        id: format!("r-{n}"),
        item: item(n),
        quantity: supply,
        at: BEGIN_MS,
    });
    let purchases = (0..purchases).map(move |n| {
        let at = random.below(1 << 53) as f64 / (1_u64 << 53) as f64 * sum;
        let chosen = sums.partition_point(|sum| *sum <= at) as u64;
        Event {
            is_purchase: true,
            id: purchase_id(n),
            item: item(chosen.min(items - 1)),
            quantity: 1 + random.below(3) as i64,
            at: BEGIN_MS + GAP_MS + n as i64,
        }
    });
    Box::new(restocks.chain(purchases))
}

/// Ranks are shuffled, as the popular items of a shop are not those that it took in first.
fn item(n: u64) -> String {
    format!("item-{:08}", n.wrapping_mul(2_654_435_761) % 100_000_000)
}

/// As long as a UUID, and as random.
fn purchase_id(n: u64) -> String {
    let mut random = Random::new(n);
    let (a, b) = (random.below(u64::MAX), random.below(u64::MAX));
    format!("{:08x}-{:04x}-{:04x}-{:016x}", a >> 32, a >> 16 & 0xffff, a & 0xffff, b)
}
