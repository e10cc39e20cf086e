//! The processors of a run: who is there, who stands still, who is away.

use crate::processes::{Process, Random};
use crate::site::Site;

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
pub(super) struct Crew {
    members: Vec<Member>,
    addresses: [String; 2],
}

impl Crew {
    /// The first two; `addresses`: of the proxy and of the broker.
    pub(super) fn start(site: &Site, addresses: [String; 2], random: &mut Random) -> Crew {
        let member = |name| Member { name, starts: 0, process: None, is_frozen: false };
        let mut crew = Crew { members: ["a", "b", "c"].map(member).into(), addresses };
        (0..FEWEST).for_each(|at| crew.bring(site, at, random));
        crew
    }

    /// Starts a member; most of them reach the broker through the proxy.
    pub(super) fn bring(&mut self, site: &Site, at: usize, random: &mut Random) {
        let address = &self.addresses[usize::from(random.below(4) == 0)];
        let member = &mut self.members[at];
        if member.process.is_none() {
            member.process = Some(site.processor(member.name, member.starts, address));
            member.starts += 1;
        }
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

    /// Takes a member's process out of the crew.
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

    /// Fails when one has ended by itself.
    pub(super) fn must_run(&mut self) {
        self.members.iter_mut().filter_map(|m| m.process.as_mut()).for_each(Process::must_run);
    }

    /// All of them, moving.
    pub(super) fn release(&mut self) -> Vec<Process> {
        (0..MOST).for_each(|at| self.thaw(at));
        self.members.iter_mut().filter_map(|member| member.process.take()).collect()
    }
}
