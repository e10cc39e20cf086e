//! What befalls the processes of a simulated run.

use bps_streams::broker::{Broker, CommittedOffset, Isolation, OffsetSpec, TopicPartition};

use super::cluster_run::{ClusterRun, PROCESSES_MAX, State, commits_of};
use super::random::Random;

/// The process of somebody else, who meddles with the group.
const STRANGER: u32 = 900;

impl ClusterRun {
    /// Something befalls somebody.
    pub fn trouble(&mut self, random: &mut Random) {
        let numbers: Vec<u32> = self.processes.keys().copied().collect();
        let process = numbers[random.below(numbers.len() as u64) as usize];
        let soon_ms = match random.chance(1, 4) {
            true => random.below(15_000),
            false => random.below(200),
        };
        if self.is_meddled_with && !self.is_known_to_group() {
            return self.end(process, soon_ms);
        }
        self.is_meddled_with = false;
        match random.below(12) {
            0 | 1 => self.end(process, soon_ms),
            2 => {
                self.end(process, soon_ms);
                self.cluster.lose_power(process, 1 + random.below(6) as usize);
            }
            3 | 4 => self.pause(process, soon_ms),
            // Longer than a restore may stand still.
            5 if self.is_restoring() => self.away(61),
            5 => self.cluster.outage(soon_ms),
            // Either of its two producers.
            6 => {
                let second = if random.chance(1, 2) { ".2" } else { "" };
                self.cluster.fence(&format!("{}-p{process}-0{second}", self.topology.name()));
            }
            7 => self.cluster.set_disk_full(process, random.chance(1, 3)),
            8 if (numbers.len() as u32) < PROCESSES_MAX => {
                if let Some(next) = (0..PROCESSES_MAX).find(|p| !self.processes.contains_key(p)) {
                    self.boot(next);
                }
            }
            9 if numbers.len() > 1 => self.scale_down(process),
            10 | 11 if numbers.len() == 1 => self.meddle(process, random),
            // The clock is set; by less than clocks may differ, so that what is sent now does not
            // lie in the future.
            _ => {
                let right_ms = self.begin_ms + self.now.monotonic_ms as i64;
                self.now.wall_ms = right_ms + random.below(4_800) as i64 - 2_400;
            }
        }
    }

    /// Everybody is stopped, and somebody sets offsets of the group, or deletes it. Where they go on
    /// then is known to the last record only by a store that has all that was committed: others
    /// put away again what was put away since the last decision.
    fn meddle(&mut self, process: u32, random: &mut Random) {
        self.end(process, 20);
        let (broker, _) = self.cluster.boot(STRANGER);
        let Some(committed) = self.committed(&*broker) else {
            return;
        };
        let is_whole = |(at, committed): &(TopicPartition, Option<CommittedOffset>)| {
            let stored = self.cluster.checkpoint(process, at.partition);
            let stored = stored.map(|c| format!("v1:{}:{}:", c.incarnation, c.sequence));
            match (stored, committed) {
                (Some(stored), Some(committed)) => committed.metadata.starts_with(&stored),
                (stored, committed) => stored.is_none() && committed.is_none(),
            }
        };
        if !committed.iter().all(is_whole) {
            return;
        }
        self.is_meddled_with = true;
        if random.chance(1, 3) {
            self.cluster.event(|| "the group is deleted".to_owned());
            return drop(broker.delete_group(self.topology.name()));
        }
        let (at, _): (Vec<_>, Vec<_>) = committed.into_iter().unzip();
        let Ok(ends) = broker.offsets(&at, OffsetSpec::End(Isolation::ReadUncommitted)) else {
            return;
        };
        for (at, end) in at.into_iter().zip(ends) {
            if random.chance(1, 2) {
                let offset = random.below(end + 1);
                let committed = CommittedOffset { offset, metadata: String::new() };
                self.cluster.set_offset(self.topology.name(), at, committed);
            }
        }
    }

    /// What the group has committed of all inputs, if somebody tells.
    fn committed(
        &self,
        broker: &dyn Broker,
    ) -> Option<Vec<(TopicPartition, Option<CommittedOffset>)>> {
        let inputs = self.all_of(self.topology.inputs());
        let committed = broker.committed(self.topology.name(), &inputs).ok()?;
        Some(inputs.into_iter().zip(committed).collect())
    }

    /// Whether all offsets of the group are the processes' own.
    pub(super) fn is_known_to_group(&self) -> bool {
        let (broker, _) = self.cluster.boot(STRANGER);
        let is_own = |committed: Option<CommittedOffset>| {
            committed.is_some_and(|committed| committed.metadata.starts_with("v1:"))
        };
        let committed = self.committed(&*broker);
        committed.is_some_and(|all| all.into_iter().all(|(_, committed)| is_own(committed)))
    }

    /// Nobody answers for so long (s), in which everybody tries.
    fn away(&mut self, seconds: u64) {
        self.cluster.outage(1_000 * seconds);
        for _ in 0..seconds {
            self.pass(1_000);
            self.round();
        }
    }

    fn pause(&mut self, process: u32, ms: u64) {
        let until_ms = self.now.monotonic_ms + ms;
        match self.processes.remove(&process) {
            Some(State::Running(workers)) => {
                self.cluster.event(|| format!("process {process} is silent for {ms} ms"));
                self.processes.insert(process, State::Paused(workers, until_ms));
            }
            Some(other) => drop(self.processes.insert(process, other)),
            None => {}
        }
    }

    /// A process ends and gives its place up, as far as it can.
    pub fn scale_down(&mut self, process: u32) {
        self.cluster.event(|| format!("process {process} leaves"));
        if let Some(State::Running(mut workers) | State::Paused(mut workers, _)) =
            self.processes.remove(&process)
        {
            for worker in &mut workers {
                // One that cannot leave is missed when its session ends.
                drop(worker.leave(self.now));
            }
            self.commits += commits_of(workers);
        }
        self.cluster.kill(process);
    }
}
