//! Real processors on a real Kafka of their own under all faults at random, for as long as wanted;
//! at the end everything heals, and the account and `bps verify` must find nothing wrong.
//!
//! What fault comes when is drawn from the seed. What it meets is up to the machine: a run is not
//! repeated exactly, unlike those of the simulator.

mod crew;
mod faults;

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use self::faults::Faults;
use crate::load::{Pace, Progress, under_load};
use crate::own_kafka::OwnKafka;
use crate::proxy::{Counts, Proxy};
use crate::site::Site;

/// How often the run tells how far it is.
const TELL: Duration = Duration::from_secs(10);

/// From the end of the last fault until all workers commit: a session, and time to take over.
const ALL_GO_ON: Duration = Duration::from_secs(6 + 10);

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// For how long faults are played.
    pub time: Duration,
    /// Which.
    pub seed: u64,
    /// In the middle of it, the broker is down for so long.
    pub outage: Option<Duration>,
}

/// What was done. There is none of a run that found a violation: that panics, and keeps its logs.
#[derive(Clone, Debug)]
pub struct Report {
    plan: Plan,
    faults: BTreeMap<&'static str, u64>,
    kills_in_transaction: u64,
    proxy: Counts,
    sent_again: u64,
    account: String,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seed, minutes) = (self.plan.seed, self.plan.time.as_secs_f64() / 60.0);
        write!(f, "seed {seed}, {minutes:.1} minutes: ")?;
        for (name, count) in &self.faults {
            write!(f, "{name} {count}, ")?;
        }
        write!(f, "kills in open transactions {}, ", self.kills_in_transaction)?;
        let Counts { ends_kept, late_answers, answers_lost, cut, half_opened, .. } = &self.proxy;
        write!(f, "connections cut {cut}, half-opened {half_opened}, ")?;
        write!(f, "ends kept back {ends_kept} (answers to the late ones: {late_answers:?}), ")?;
        write!(f, "answers to ends lost {answers_lost}, ")?;
        write!(f, "fetches refused {}, ", self.proxy.fetches_refused)?;
        write!(f, "events sent again {}; ", self.sent_again)?;
        write!(f, "{}; verify: 0 findings", self.account)
    }
}

/// Runs it; `None` (and said so) where the run says that there is no Kafka. `tell` hears how far
/// it is.
///
/// # Panics
/// At a violation: a processor that ended, or stands still, or the account, or the verifier.
pub fn run(name: &str, plan: Plan, tell: &dyn Fn(String)) -> Option<Report> {
    let kafka = OwnKafka::start(name)?;
    let site = Site::new(name, kafka.address());
    let proxy = Proxy::start(kafka.address(), plan.seed);
    let progress = Progress::default();
    let (through, direct) = (proxy.address(), kafka.address().to_owned());
    tell(format!("{name}: {}, logs in {}", direct, site.work.path("").display()));
    // Some hundred purchases a second: half an hour of them is a million to account for.
    let pause = Duration::from_millis(60);
    let pace = Pace { seed: plan.seed, items: 200, restocks: 4, purchases: 60, pause };
    let mut faults = Faults::new(&site, kafka, &proxy, plan.seed);
    let (sent, processes) = under_load(&site, &[&direct, &through], pace, &progress, || {
        // All is well before the first fault.
        site.all_go_on();
        let begin = Instant::now();
        let mut told = begin;
        let mut outage = plan.outage;
        while begin.elapsed() < plan.time {
            faults.step();
            if begin.elapsed() > plan.time / 2
                && let Some(time) = outage.take()
            {
                faults.outage(time);
            }
            if told.elapsed() >= TELL {
                told = Instant::now();
                let at = begin.elapsed().as_secs();
                tell(format!("{at:>5} s: {}", faults.told(&progress)));
            }
        }
        let processes = faults.heal();
        // Whoever hangs now has nothing to blame: each partition has an owner that commits.
        let took = site.all_go_on();
        assert!(took < ALL_GO_ON, "{took:.1?} after the last fault until all workers committed");
        tell(format!("healed: all workers commit {took:.1?} after the last fault"));
        processes
    });
    tell(format!("healed: {}", faults.told(&progress)));
    let account = site.settle(&sent, processes);
    Some(Report {
        plan,
        faults: faults.counts.clone(),
        kills_in_transaction: faults.kills_in_transaction,
        proxy: proxy.counts(),
        sent_again: progress.again.load(std::sync::atomic::Ordering::Relaxed),
        account,
    })
}
