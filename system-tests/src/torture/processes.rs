//! The processors of a run: who is there, who stands still, who is away.

use std::time::{Duration, Instant};

use crate::installation::PATIENCE;
use crate::kafka_installation::{KafkaInstallation, READY};
use crate::processes::{Process, Random};

/// Most processors at a time.
const MOST: usize = 3;
/// Fewest, between a kill and the next start.
const FEWEST: usize = 2;

/// One processor, over all its starts.
struct Member {
    name: &'static str,
    starts: u32,
    process: Option<Process>,
    is_frozen: bool,
}

/// See the module.
pub(super) struct Processes {
    members: Vec<Member>,
    addresses: [String; 2],
}

impl Processes {
    /// The first two; `addresses`: of the proxy and of the broker.
    pub(super) fn start(
        kafka: &KafkaInstallation,
        addresses: [String; 2],
        random: &mut Random,
    ) -> Processes {
        let member = |name| Member { name, starts: 0, process: None, is_frozen: false };
        let mut processes = Processes { members: ["a", "b", "c"].map(member).into(), addresses };
        (0..FEWEST).for_each(|at| processes.bring(kafka, at, random));
        processes
    }

    /// Starts a member; most of them reach the broker through the proxy.
    pub(super) fn bring(&mut self, kafka: &KafkaInstallation, at: usize, random: &mut Random) {
        self.bring_by(kafka, at, usize::from(random.below(4) == 0));
    }

    /// Starts a member with an empty disk, that reaches the broker through the proxy.
    pub(super) fn bring_empty(&mut self, kafka: &KafkaInstallation, at: usize) {
        kafka.lose_disk(self.members[at].name);
        self.bring_by(kafka, at, 0);
    }

    fn bring_by(&mut self, kafka: &KafkaInstallation, at: usize, way: usize) {
        let member = &mut self.members[at];
        if member.process.is_none() {
            let process = kafka.processor(member.name, member.starts, &self.addresses[way]);
            member.process = Some(process);
            member.starts += 1;
        }
    }

    /// What a member that is away has on its disk is gone.
    pub(super) fn lose_disk(&self, kafka: &KafkaInstallation, at: usize) {
        kafka.lose_disk(self.members[at].name);
    }

    /// A member that is there and moves; `None` where that is nobody.
    pub(super) fn any(&self, random: &mut Random) -> Option<usize> {
        let moves = |member: &Member| member.process.is_some() && !member.is_frozen;
        let there: Vec<_> = (0..MOST).filter(|at| moves(&self.members[*at])).collect();
        (!there.is_empty()).then(|| there[random.below(there.len() as u64) as usize])
    }

    /// A member that is not there.
    pub(super) fn absent(&self) -> Option<usize> {
        self.members.iter().position(|member| member.process.is_none())
    }

    /// How many are there, the frozen ones too.
    pub(super) fn count(&self) -> usize {
        self.members.iter().filter(|member| member.process.is_some()).count()
    }

    /// Whether one may go and enough are left.
    pub(super) fn may_leave(&self) -> bool {
        self.count() > FEWEST
    }

    /// Whether nobody is frozen: one zombie at a time, or there would be nobody left.
    pub(super) fn all_move(&self) -> bool {
        self.members.iter().all(|member| !member.is_frozen)
    }

    /// The process of a member that is there.
    pub(super) fn process(&self, at: usize) -> &Process {
        self.members[at].process.as_ref().unwrap()
    }

    /// Takes a member's process out of the processes.
    pub(super) fn take(&mut self, at: usize) -> Process {
        self.members[at].process.take().unwrap()
    }

    /// SIGSTOP.
    pub(super) fn freeze(&mut self, at: usize) {
        self.process(at).freeze();
        self.members[at].is_frozen = true;
    }

    /// SIGCONT.
    pub(super) fn thaw(&mut self, at: usize) {
        if std::mem::take(&mut self.members[at].is_frozen) {
            self.process(at).thaw();
        }
    }

    /// One that is there, to be waited for.
    pub(super) fn process_mut(&mut self, at: usize) -> &mut Process {
        self.members[at].process.as_mut().unwrap()
    }

    /// Takes out those that have ended by themselves; who, and with what word.
    pub(super) fn ended(&mut self) -> Vec<(usize, String)> {
        let mut ended = Vec::new();
        for (at, member) in self.members.iter_mut().enumerate() {
            if let Some(process) = member.process.take_if(|process| !process.is_running()) {
                ended.push((at, format!("{}: {}", process.name(), process.last_word())));
            }
        }
        ended
    }

    /// Stops all, as their operator does; who was there.
    pub(super) fn stop(&mut self) -> Vec<usize> {
        let there: Vec<_> = (0..MOST).filter(|at| self.members[*at].process.is_some()).collect();
        for at in &there {
            let process = self.take(*at);
            // One that has said nothing yet does not listen to signals either.
            if process.log().is_empty() { process.kill() } else { process.stop() }
        }
        there
    }

    /// Waits until each has begun to decide, or has ended; the last words of those.
    pub(super) fn begin(&mut self) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut ended = Vec::new();
        loop {
            ended.extend(self.ended().into_iter().map(|(_, word)| word));
            let mut there = self.members.iter().filter_map(|member| member.process.as_ref());
            if there.all(|process| process.has_said(READY).is_some()) {
                return ended;
            }
            assert!(Instant::now() < deadline, "one neither begins nor ends; ended: {ended:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// As [`KafkaInstallation::skip_gap`], for a member that is away.
    pub(super) fn skip_gap(&self, kafka: &KafkaInstallation, at: usize) {
        kafka.skip_gap(self.members[at].name);
    }

    /// All of them, moving.
    pub(super) fn release(&mut self) -> Vec<Process> {
        (0..MOST).for_each(|at| self.thaw(at));
        self.members.iter_mut().filter_map(|member| member.process.take()).collect()
    }
}
