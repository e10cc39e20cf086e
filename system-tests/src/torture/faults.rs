//! Which fault comes next, and what must follow it.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::meddler::Meddler;
use super::processes::Processes;
use crate::kafka_installation::{KafkaInstallation, PARTITIONS};
use crate::load::Progress;
use crate::own_kafka::OwnKafka;
use crate::processes::{Process, Random, tell};
use crate::proxy::{EndFault, Proxy, Refusals, Weather};

/// Results must come again after so long, whatever happens.
const STANDSTILL: Duration = Duration::from_secs(120);

/// From the end of the last fault until all workers commit: a session, and time to take over.
const ALL_GO_ON: Duration = Duration::from_secs(6 + 10);

/// So much longer where Kafka waits for members that are not there (decision 0038).
const LOST_COUNT: Duration = Duration::from_secs(60);

/// Kafka's code for an error that tells nothing.
const UNKNOWN_SERVER_ERROR: i16 = -1;

/// What must happen later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Start(usize),
    Thaw(usize),
    BrokerUp,
    BrokerThaw,
    Heal,
    SendAway,
}

/// See the module.
pub(super) struct Faults<'a> {
    installed: &'a KafkaInstallation,
    /// Whether members join and leave: a rebalance helps a worker that hangs.
    members_change: bool,
    kafka: OwnKafka,
    proxy: &'a Proxy,
    random: Random,
    processes: Processes,
    meddler: Meddler<'a>,
    due: Vec<(Instant, Due)>,
    /// Results seen last, and when they had become more.
    seen: (u64, Instant),
    /// What Kafka had logged of loads at once by the last lull.
    loads_at_once: usize,
    /// How often, by fault.
    pub(super) counts: BTreeMap<&'static str, u64>,
    pub(super) kills_in_transaction: u64,
}

impl<'a> Faults<'a> {
    pub(super) fn new(
        installed: &'a KafkaInstallation,
        kafka: OwnKafka,
        proxy: &'a Proxy,
        seed: u64,
    ) -> Faults<'a> {
        let mut random = Random::new(seed ^ 0x70B7);
        let addresses = [proxy.address(), kafka.address().to_owned()];
        let processes = Processes::start(installed, addresses, &mut random);
        Faults {
            installed,
            members_change: seed % 2 == 1,
            kafka,
            proxy,
            random,
            processes,
            meddler: Meddler::new(installed),
            due: Vec::new(),
            seen: (0, Instant::now()),
            loads_at_once: 0,
            counts: BTreeMap::new(),
            kills_in_transaction: 0,
        }
    }

    /// One fault, and a short pause.
    pub(super) fn step(&mut self) {
        self.settle_due();
        self.must_run();
        self.must_go_on();
        if let Some(fault) = self.fault() {
            self.count(fault);
        }
        self.random.sleep(100, 1_200);
    }

    fn count(&mut self, fault: &'static str) {
        *self.counts.entry(fault).or_default() += 1;
    }

    fn fault(&mut self) -> Option<&'static str> {
        match self.random.below(100) {
            0..25 => self.kill(),
            25..32 => self.zombie(),
            32..38 => self.broker_killed(),
            38..42 => self.broker_frozen(),
            42..48 if self.members_change => self.join(),
            48..53 if self.members_change => self.leave(),
            53..55 if self.members_change => self.stranger(),
            42..60 => self.fetches(),
            60..70 => self.weather(),
            70..78 => {
                self.proxy.cut(50);
                Some("cuts")
            }
            78..84 => self.half_open(),
            _ => self.end(),
        }
    }

    /// Most kills wait for an open transaction; the next start comes soon.
    fn kill(&mut self) -> Option<&'static str> {
        let at = self.processes.any(&mut self.random)?;
        if self.is_broker_up() {
            self.installed.await_open(self.processes.process(at), Duration::from_secs(2));
        }
        self.processes.take(at).kill();
        if self.is_broker_up() && self.installed.is_left_open() {
            self.kills_in_transaction += 1;
        }
        // Who comes back with an empty disk is another member.
        if self.members_change && self.random.below(8) == 0 {
            self.processes.lose_disk(self.installed, at);
            self.count("disks lost");
        }
        self.later(0, 2_500, Due::Start(at));
        Some("kills")
    }

    /// From a blink to longer than all time-outs; within its session where nobody is to leave.
    fn zombie(&mut self) -> Option<&'static str> {
        let at = self.processes.any(&mut self.random).filter(|_| self.processes.all_move())?;
        self.processes.freeze(at);
        self.later(500, if self.members_change { 16_000 } else { 4_000 }, Due::Thaw(at));
        Some("zombies")
    }

    /// Some fetches fail, mostly behind records that have come and were not taken yet; or the log of a
    /// partition looks shorter than it is, for a moment.
    fn fetches(&mut self) -> Option<&'static str> {
        if self.random.below(2) == 0 {
            let count = 1 + self.random.below(8) as u32;
            self.proxy.refuse(Refusals::Next { error: UNKNOWN_SERVER_ERROR, count });
            return Some("fetch errors");
        }
        let partition = self.random.below(u64::from(PARTITIONS)) as i32;
        self.proxy.refuse(Refusals::Short { partition });
        self.later(100, 6_000, Due::Heal);
        Some("short logs")
    }

    /// A consumer of somebody else's, not for so long that a worker ends for what it misses.
    fn stranger(&mut self) -> Option<&'static str> {
        if !self.meddler.let_in(&mut self.random) {
            return None;
        }
        self.later(2_000, 12_000, Due::SendAway);
        Some("strangers")
    }

    fn broker_killed(&mut self) -> Option<&'static str> {
        if !self.is_broker_up() {
            return None;
        }
        self.kafka.kill();
        self.later(100, 9_000, Due::BrokerUp);
        Some("broker kills")
    }

    /// Not for so long that the controller, which stands still as well, takes the broker for dead:
    /// every partition would be without a leader for a moment, in which Kafka 4.3.1 leaves out the
    /// markers of a transaction that ends just then.
    fn broker_frozen(&mut self) -> Option<&'static str> {
        if !self.is_broker_up() {
            return None;
        }
        self.kafka.freeze(true);
        self.later(300, 2_000, Due::BrokerThaw);
        Some("broker freezes")
    }

    fn join(&mut self) -> Option<&'static str> {
        // One that was killed comes back by itself.
        let starts = |at: &usize| !self.due.iter().any(|(_, due)| *due == Due::Start(*at));
        let at = self.processes.absent().filter(starts)?;
        self.processes.bring(self.installed, at, &mut self.random);
        Some("joins")
    }

    fn leave(&mut self) -> Option<&'static str> {
        // A processor drains within its 10 s, or says that it could not: with a broker it can.
        if !self.is_broker_up() || !self.processes.may_leave() {
            return None;
        }
        let at = self.processes.any(&mut self.random)?;
        // One that has said nothing yet does not listen to signals either.
        if self.processes.process(at).log().is_empty() {
            return None;
        }
        self.proxy.heal();
        self.processes.take(at).stop();
        Some("leaves")
    }

    fn weather(&mut self) -> Option<&'static str> {
        let latency = self.random.below(60) + 1;
        let (weather, name) = match self.random.below(3) {
            0 => (Weather { latency_ms: None, drips: true }, "drips"),
            _ => (Weather { latency_ms: Some((1, 1 + latency)), drips: false }, "latency"),
        };
        self.proxy.set_weather(weather);
        self.later(500, 6_000, Due::Heal);
        Some(name)
    }

    fn half_open(&mut self) -> Option<&'static str> {
        self.proxy.half_open(40);
        self.later(1_000, 9_000, Due::Heal);
        Some("half-open")
    }

    fn end(&mut self) -> Option<&'static str> {
        if !self.proxy.is_over() {
            return None;
        }
        let late = Duration::from_millis(self.random.below(2_000));
        self.proxy.plan(match self.random.below(8) {
            0 => EndFault::LateInNext,
            1..5 => EndFault::LateBy(late),
            _ => EndFault::AnswerLost,
        });
        // Counted by the proxy, when a commit meets it.
        None
    }

    /// A long one, met by a processor in the midst of a restore: the broker is down, or it is there and
    /// leads no partition.
    pub(super) fn outage(&mut self, time: Duration, is_down: bool) {
        self.calm();
        let Some(at) = self.processes.any(&mut self.random) else { return };
        self.processes.take(at).kill();
        // Until it is known to restore, it gets no row.
        self.proxy.refuse(Refusals::Leaderless { offsets_too: false });
        self.processes.bring_empty(self.installed, at);
        self.processes.process_mut(at).wait_log(" restores ");
        if is_down {
            self.kafka.kill();
            std::thread::sleep(time);
            self.kafka.up();
        } else {
            self.proxy.refuse(Refusals::Leaderless { offsets_too: true });
            std::thread::sleep(time);
        }
        self.lull();
        self.count(if is_down { "outages in restores" } else { "no leader in restores" });
    }

    /// The operator stops all processors, and something is done to their group.
    pub(super) fn meddle(&mut self) {
        self.lull();
        let deed = self.meddler.meddle(&mut self.processes, &mut self.random);
        self.count(deed);
        self.lull();
    }

    /// All faults end. Whoever hangs then has nothing to blame: each partition has a worker that
    /// commits, and soon.
    pub(super) fn lull(&mut self) -> Duration {
        self.calm();
        let (installed, processes, random) =
            (self.installed, &mut self.processes, &mut self.random);
        let took = installed.all_go_on_while(|| {
            let again = self.meddler.must_run(processes);
            again.into_iter().for_each(|at| processes.bring(installed, at, random));
        });
        tell(format_args!("all workers commit {took:.1?} after the last fault"));
        let loads = self.kafka.loads_at_once();
        let has_more = std::mem::replace(&mut self.loads_at_once, loads) < loads;
        let limit = if has_more { ALL_GO_ON + LOST_COUNT } else { ALL_GO_ON };
        if (ALL_GO_ON..limit).contains(&took) {
            self.count("coordinator lost count");
        }
        assert!(took < limit, "{took:.1?} after the last fault until all workers committed");
        self.seen.1 = Instant::now();
        took
    }

    fn later(&mut self, from_ms: u64, to_ms: u64, due: Due) {
        let time = Duration::from_millis(from_ms + self.random.below(to_ms - from_ms));
        self.due.push((Instant::now() + time, due));
    }

    fn settle_due(&mut self) {
        let now = Instant::now();
        let (due, later) =
            std::mem::take(&mut self.due).into_iter().partition(|(at, _)| *at <= now);
        self.due = later;
        let due: Vec<(Instant, Due)> = due;
        due.into_iter().for_each(|(_, due)| self.settle(due));
    }

    fn settle(&mut self, due: Due) {
        match due {
            Due::Start(at) => self.processes.bring(self.installed, at, &mut self.random),
            Due::Thaw(at) => self.processes.thaw(at),
            Due::BrokerUp => {
                self.kafka.up();
                self.seen.1 = Instant::now();
            }
            Due::BrokerThaw => {
                self.kafka.freeze(false);
                self.seen.1 = Instant::now();
            }
            Due::Heal => self.proxy.heal(),
            Due::SendAway => self.meddler.send_away(),
        }
    }

    /// Nobody may have ended; who had a reason and named it starts again.
    fn must_run(&mut self) {
        for at in self.meddler.must_run(&mut self.processes) {
            self.later(0, 2_500, Due::Start(at));
        }
    }

    fn is_broker_up(&self) -> bool {
        !self.due.iter().any(|(_, due)| matches!(due, Due::BrokerUp | Due::BrokerThaw))
    }

    fn bring_broker(&mut self) {
        let (broker, others) = std::mem::take(&mut self.due)
            .into_iter()
            .partition(|(_, due)| matches!(due, Due::BrokerUp | Due::BrokerThaw));
        self.due = others;
        let broker: Vec<(Instant, Due)> = broker;
        broker.into_iter().for_each(|(_, due)| self.settle(due));
    }

    fn must_go_on(&mut self) {
        if !self.is_broker_up() {
            return;
        }
        let decided = self.installed.decided();
        if decided > self.seen.0 {
            self.seen = (decided, Instant::now());
        }
        let silent = self.seen.1.elapsed();
        assert!(silent < STANDSTILL, "no results for {silent:?}, with {:?} to come", self.due);
    }

    /// All comes back, and who was to start does.
    fn calm(&mut self) {
        self.proxy.heal();
        self.proxy.forget_plan();
        self.bring_broker();
        self.must_run();
        std::mem::take(&mut self.due).into_iter().for_each(|(_, due)| self.settle(due));
    }

    /// The end of all faults; who is there now stays.
    pub(super) fn heal(&mut self) -> (Vec<Process>, Duration) {
        let took = self.lull();
        (self.processes.release(), took)
    }

    /// How often a processor ended as it should, and named what was done.
    pub(super) fn refusals(&self) -> u64 {
        self.meddler.refusals
    }

    /// How far it is.
    pub(super) fn told(&self, progress: &Progress) -> String {
        let (sent, again) =
            (progress.purchases.load(Ordering::Relaxed), progress.again.load(Ordering::Relaxed));
        let decided = self.seen.0;
        let faults: u64 = self.counts.values().sum();
        let kills = self.counts.get("kills").copied().unwrap_or(0);
        format!(
            "{sent} purchases sent ({again} events again), about {decided} results, {faults} faults, \
             {kills} kills ({} in open transactions)",
            self.kills_in_transaction
        )
    }
}

impl Drop for Faults<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tell(format_args!("faults so far: {:?}", self.counts));
        }
    }
}
