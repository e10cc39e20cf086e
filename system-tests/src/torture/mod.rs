//! Real processors on a real Kafka of their own under all faults at random, for as long as wanted;
//! at the end everything heals, and the account and `bps verify` must find nothing wrong. Now and
//! then all faults end, and every worker must commit soon. What people do to the group or to a topic is
//! right where it changes nothing or is refused by name, and never where it is passed over.
//!
//! Processors join and leave with odd seeds only, since a rebalance helps a worker that hangs. What
//! fault comes when is drawn from the seed. What it meets is up to the machine: a run is not repeated
//! exactly, unlike those of the simulator.

mod faults;
mod made_anew;
mod meddler;
mod processes;

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use self::faults::Faults;
use crate::kafka_installation::KafkaInstallation;
use crate::load::{Pace, Progress, under_load};
use crate::own_kafka::OwnKafka;
use crate::proxy::{Counts, Proxy};

/// How often the run tells how far it is.
const TELL: Duration = Duration::from_secs(10);
/// At least so often all faults end for a moment.
const LULL: Duration = Duration::from_secs(60);
/// A run of so long has the long outages too.
const LONG: Duration = Duration::from_secs(600);
/// Longer than a session, a transaction, or a restore that stands still may be.
const OUTAGE: Duration = Duration::from_secs(90);

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// For how long faults are played.
    pub time: Duration,
    /// Which.
    pub seed: u64,
    /// How long each of the two long outages is.
    pub outage: Option<Duration>,
}

impl Plan {
    /// With long outages where the run is long.
    pub fn new(time: Duration, seed: u64) -> Plan {
        Plan { time, seed, outage: (time >= LONG).then_some(OUTAGE) }
    }
}

/// What was done. There is none of a run that found a violation: that panics, and keeps its logs.
#[derive(Clone, Debug)]
pub struct Report {
    plan: Plan,
    faults: BTreeMap<&'static str, u64>,
    kills_in_transaction: u64,
    refusals: u64,
    proxy: Counts,
    /// From the end of all faults until every worker had committed.
    go_on: Duration,
    sent_again: u64,
    account: String,
    made_anew: String,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seed, minutes) = (self.plan.seed, self.plan.time.as_secs_f64() / 60.0);
        write!(f, "seed {seed}, {minutes:.1} minutes: ")?;
        for (name, count) in &self.faults {
            write!(f, "{name} {count}, ")?;
        }
        write!(f, "kills in open transactions {}, ", self.kills_in_transaction)?;
        let Counts { ends_kept, late_answers, answers_lost, cut, half_opened, refused, .. } =
            &self.proxy;
        write!(f, "connections cut {cut}, half-opened {half_opened}, ")?;
        write!(f, "ends kept back {ends_kept} (answers to the late ones: {late_answers:?}), ")?;
        write!(
            f,
            "answers to ends lost {answers_lost}, partitions refused to readers {refused}, "
        )?;
        write!(f, "processors that refused by name {}, ", self.refusals)?;
        write!(f, "events sent again {}; ", self.sent_again)?;
        write!(f, "all workers commit {:.1?} after the last fault; ", self.go_on)?;
        write!(f, "{}; verify: 0 findings; ", self.account)?;
        f.write_str(&self.made_anew)
    }
}

/// Runs it; `None` (and said so) where the run says that there is no Kafka. `tell` hears how far
/// it is.
///
/// # Panics
/// At a violation: a processor that ended, or stands still, or the account, or the verifier.
pub fn run(name: &str, plan: Plan, tell: &dyn Fn(String)) -> Option<Report> {
    let kafka = OwnKafka::start(name)?;
    let installed = KafkaInstallation::new(name, kafka.address());
    let proxy = Proxy::start(kafka.address(), plan.seed);
    let progress = Progress::default();
    let (through, direct) = (proxy.address(), kafka.address().to_owned());
    tell(format!("{name}: {}, logs in {}", direct, installed.work.path("").display()));
    // Some hundred purchases a second: half an hour of them is a million to account for.
    let pause = Duration::from_millis(60);
    let pace = Pace { seed: plan.seed, items: 200, restocks: 4, purchases: 60, pause };
    let mut faults = Faults::new(&installed, kafka, &proxy, plan.seed);
    let (sent, (processes, go_on)) =
        under_load(&installed, &[&direct, &through], pace, &progress, || {
            // All is well before the first fault.
            installed.all_go_on();
            play(&plan, &mut faults, &|at, faults| {
                tell(format!("{:>5} s: {}", at.as_secs(), faults.told(&progress)));
            });
            faults.heal()
        });
    tell(format!("healed: {}", faults.told(&progress)));
    let account = installed.settle(&sent, processes);
    let made_anew = made_anew::play(&installed, plan.seed);
    Some(Report {
        plan,
        faults: faults.counts.clone(),
        kills_in_transaction: faults.kills_in_transaction,
        refusals: faults.refusals(),
        proxy: proxy.counts(),
        go_on,
        sent_again: progress.again.load(std::sync::atomic::Ordering::Relaxed),
        account,
        made_anew,
    })
}

/// Faults for as long as the plan says: at random, and those that have their time.
fn play(plan: &Plan, faults: &mut Faults<'_>, tell: &dyn Fn(Duration, &Faults<'_>)) {
    let begin = Instant::now();
    let pause = LULL.min(plan.time / 2);
    let (mut told, mut lull, mut lulls) = (Duration::ZERO, pause, 0);
    // A third and two thirds of the way.
    let mut outages = (1..=2).zip([true, false]).filter(|_| plan.outage.is_some()).peekable();
    while begin.elapsed() < plan.time {
        faults.step();
        if let Some(time) = plan.outage
            && let Some((_, is_down)) =
                outages.next_if(|(n, _)| begin.elapsed() > plan.time * *n / 3)
        {
            faults.outage(time, is_down);
        }
        if begin.elapsed() > lull {
            match lulls % 2 {
                0 => faults.meddle(),
                _ => drop(faults.lull()),
            }
            (lull, lulls) = (begin.elapsed() + pause, lulls + 1);
        }
        if begin.elapsed() > told + TELL {
            told = begin.elapsed();
            tell(told, faults);
        }
    }
}
