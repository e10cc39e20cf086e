//! How a process of the simulated cluster fetches: as librdkafka, ahead of its reader, behind what
//! it could not read, and no further once its position was refused.

use super::machine::{Machine, no_answer};
use super::plan::Fault;
use super::world::World;
use crate::broker::slots::{Fetched, Fetcher, Halt, Slots, Taking};
use crate::broker::{BrokerError, Isolation, OffsetSpec, Result, TopicPartition};
use crate::record::Batch;

/// How long a broker that has come back may know less of a partition than it holds (ms).
const SHORT_MS: [u64; 3] = [40, 400, 3_000];

pub(super) struct Client {
    pub(super) machine: Machine,
    isolation: Isolation,
}

impl Client {
    pub(super) fn new(machine: Machine, isolation: Isolation) -> Client {
        Client { machine, isolation }
    }

    pub(super) fn slots(&self) -> Slots<Client> {
        let slots = Slots::default();
        #[cfg(feature = "mutants")]
        let slots = slots.mutated(self.machine.world().mutant);
        slots
    }
}

impl Fetcher for Client {
    type Queue = Queue;

    /// While it knows less of its log, a broker tells no bounds; those that are told hold.
    const SHORT_MS_MAX: u64 = 0;

    fn restart(&mut self, from: &[(TopicPartition, u64)]) -> Result<Vec<Queue>> {
        let queue = |(at, from): &(TopicPartition, u64)| Queue {
            machine: self.machine.clone(),
            isolation: self.isolation,
            at: at.clone(),
            from: *from,
            has_stopped: false,
        };
        Ok(from.iter().map(queue).collect())
    }

    fn bounds(&self, partitions: &[TopicPartition]) -> Result<Vec<(u64, u64)>> {
        self.machine.effect("ask bounds", |world| {
            let end = OffsetSpec::End(Isolation::ReadUncommitted);
            partitions.iter().map(|at| Ok((0, world.offset(at, end)?))).collect()
        })
    }

    fn now_ms(&self) -> u64 {
        self.machine.world().now.monotonic_ms
    }
}

/// A partition that is fetched.
pub(super) struct Queue {
    machine: Machine,
    isolation: Isolation,
    at: TopicPartition,
    /// Where the client stands, whatever became of what it fetched.
    from: u64,
    /// Its position was refused: it fetches no more.
    has_stopped: bool,
}

impl Fetched for Queue {
    fn hand_over(&mut self, taking: &mut Taking<'_>) -> bool {
        if self.has_stopped {
            return false;
        }
        match self.fetch(taking) {
            Ok(()) => {}
            Err(BrokerError::OffsetOutOfRange { .. }) => {
                self.has_stopped = true;
                taking.halt(Halt::OutOfRange);
            }
            Err(error) => taking.halt(Halt::Failed(error)),
        }
        false
    }
}

impl Queue {
    /// A fetch that brings nothing is no effect; one may bring nothing although there is something,
    /// as a broker's does.
    fn fetch(&mut self, taking: &mut Taking<'_>) -> Result<()> {
        let Self { machine, isolation, at, from, .. } = self;
        let mut world = machine.world();
        let world = &mut *world;
        world.check_alive(machine.process, machine.life)?;
        let Some(count) = count(world, at, *isolation, *from)? else {
            return Ok(());
        };
        let (room, mut fetched) = (taking.room(), Batch::default());
        let read = world.partition(at)?.read(at, *from, *isolation, (count, room), &mut fetched);
        let behind = read?;
        let (mut before, mut failed) = (fetched.len(), None);
        if !fetched.is_empty() {
            match machine.decide(world, "fetch") {
                Ok(Fault::None | Fault::Repeated(_)) => {}
                // Some of it, an error, and the rest behind it.
                Ok(Fault::Unacknowledged) => {
                    let lost = world.plan.choose("fetched behind an error", before as u32);
                    before -= lost as usize;
                    failed = Some(no_answer("fetch"));
                }
                Ok(_) => {
                    world.check_alive(machine.process, machine.life)?;
                    return Err(no_answer("fetch"));
                }
                Err(error) => return Err(error),
            }
        }
        for index in 0..fetched.len() {
            if index == before
                && let Some(error) = failed.take()
            {
                taking.halt(Halt::Failed(error));
            }
            let r = fetched.get(index, "", 0);
            taking.record((r.offset, r.timestamp), r.key, r.value, r.headers.iter());
        }
        if let Some(error) = failed {
            taking.halt(Halt::Failed(error));
        }
        taking.end(behind);
        *from = behind;
        Ok(())
    }
}

/// How many records a fetch brings at most; `None`: nothing for now.
fn count(
    world: &mut World,
    at: &TopicPartition,
    isolation: Isolation,
    from: u64,
) -> Result<Option<usize>> {
    let is_there = world.partition(at)?.end(isolation) > from;
    if is_there && world.plan.choose("short log", 400) == 1 {
        let ms = SHORT_MS[world.plan.choose("short for", 3) as usize];
        world.cut_short(at, ms);
    }
    if world.is_short(at) {
        // Whatever is left of it, it has a first record.
        let (partition, end) = (at.clone(), 0);
        return match from {
            0 => Ok(None),
            offset => Err(BrokerError::OffsetOutOfRange { partition, offset, start: 0, end }),
        };
    }
    if !is_there {
        return Ok(Some(usize::MAX));
    }
    Ok(match world.plan.choose("fetch", 6) {
        1 => None,
        2 => Some(1),
        3 => Some(2),
        _ => Some(usize::MAX),
    })
}
