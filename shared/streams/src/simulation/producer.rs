//! A producer of the simulated cluster: as librdkafka, it sends in the background, forgets nothing
//! it sent, and repeats requests that were not answered.

use super::machine::{Machine, no_answer};
use super::plan::Fault;
use super::world::{Message, World};
use crate::broker::{
    BrokerError, CommitStatus, Isolation, Membership, OffsetCommit, OffsetSpec, Producer, Result,
    TopicPartition, check_time,
};
use crate::record::{Batch, Header, Outgoing};

pub(super) struct SimulatedProducer {
    machine: Machine,
    id: Option<String>,
    /// `None` until it is initialised.
    epoch: Option<u64>,
    /// What was sent and is not delivered, and where each is to go.
    staged: Batch,
    places: Vec<TopicPartition>,
    /// Something of the open transaction has reached the cluster.
    begun: bool,
    ends: Vec<u64>,
    tainted: bool,
}

impl SimulatedProducer {
    /// One without an id writes without transactions.
    pub(super) fn new(machine: Machine, id: Option<&str>) -> Self {
        Self {
            machine,
            id: id.map(str::to_owned),
            epoch: None,
            staged: Batch::default(),
            places: Vec::new(),
            begun: false,
            ends: Vec::new(),
            tainted: false,
        }
    }

    /// Delivers what was sent so far.
    fn deliver(&mut self, name: &'static str) -> Result<()> {
        if self.staged.is_empty() {
            return Ok(());
        }
        let Self { machine, id, epoch, staged, places, .. } = self;
        let epoch = epoch.unwrap_or(0);
        let delivered = machine.effect(name, |world| {
            for (index, at) in places.iter().enumerate() {
                let record = staged.get(index, &at.topic, at.partition);
                let headers: Vec<Header<'_>> = record.headers.iter().collect();
                let record = Outgoing {
                    topic: record.topic,
                    partition: record.partition,
                    timestamp: record.timestamp,
                    key: record.key,
                    value: record.value,
                    headers: &headers,
                };
                write(world, id.as_deref(), epoch, &record)?;
            }
            Ok(())
        });
        self.begun = true;
        self.staged.clear();
        self.places.clear();
        // librdkafka: what was not delivered leaves a gap in the sequence numbers.
        self.tainted |= delivered.is_err();
        delivered
    }

    fn add_offsets(&mut self, offsets: &[OffsetCommit], membership: &Membership) -> Result<()> {
        let Self { machine, id, epoch, begun, .. } = self;
        let (Some(id), Some(epoch)) = (id, epoch) else {
            return Ok(());
        };
        *begun = true;
        machine.effect("add offsets", |world| world.add_offsets(id, *epoch, membership, offsets))
    }

    /// Asks for the end of the open transaction.
    fn end(&mut self, name: &'static str, commit: bool) -> Result<()> {
        let (Some(id), Some(epoch)) = (&self.id, self.epoch) else {
            return Ok(());
        };
        let mut world = self.machine.world();
        let world = &mut *world;
        let fault = self.machine.decide(world, name)?;
        let now_ms = world.now.monotonic_ms;
        let again = |ms: u64| (now_ms + ms, Message::End { id: id.clone(), epoch, commit });
        let ended = match fault {
            Fault::None => return world.end_transaction(id, epoch, commit),
            Fault::Repeated(ms) => {
                world.network.push(again(ms));
                world.end_transaction(id, epoch, commit)
            }
            Fault::Unacknowledged | Fault::CrashAfter => {
                drop(world.end_transaction(id, epoch, commit));
                Err(no_answer(name))
            }
            Fault::Delayed(ms) => {
                world.network.push(again(ms));
                Err(no_answer(name))
            }
            Fault::Lost | Fault::CrashBefore => Err(no_answer(name)),
        };
        // Whatever it was, an old request may still be on its way.
        self.tainted = true;
        ended
    }
}

fn write(world: &mut World, id: Option<&str>, epoch: u64, record: &Outgoing<'_>) -> Result<()> {
    world.trace.event(world.now, || {
        let Outgoing { topic, partition, value, .. } = record;
        let text = value.map(String::from_utf8_lossy).unwrap_or_default();
        format!("{topic}-{partition} <- {text}")
    });
    match id {
        Some(id) => world.produce(id, epoch, record)?,
        None => {
            world.admit(record)?;
            let at = TopicPartition::new(record.topic, record.partition);
            world.partition(&at)?.append(record, None)
        }
    };
    Ok(())
}

impl Producer for SimulatedProducer {
    fn poll_ready(&mut self) -> Result<bool> {
        let Self { machine, id, epoch, .. } = self;
        let (Some(id), None) = (id, &epoch) else {
            return Ok(true);
        };
        if machine.look(|world| Ok(world.plan.choose("slow init", 3) == 1))? {
            return Ok(false);
        }
        *epoch = Some(machine.effect("init producer", |world| Ok(world.init_producer(id)))?);
        Ok(true)
    }

    fn send(&mut self, record: Outgoing<'_>) -> Result<()> {
        check_time(&record)?;
        let headers = record.headers.iter().copied();
        self.staged.push(0, record.timestamp, record.key, record.value, headers);
        self.places.push(TopicPartition::new(record.topic, record.partition));
        // In the background, at any time.
        match self.machine.look(|world| Ok(world.plan.choose("deliver early", 4) == 1))? {
            true => self.deliver("produce"),
            false => Ok(()),
        }
    }

    fn start_commit(
        &mut self,
        offsets: &[OffsetCommit],
        membership: &Membership,
        backing: &[TopicPartition],
    ) -> Result<(), CommitStatus> {
        self.deliver("drain").map_err(refused)?;
        let ends = self.machine.effect("ask ends", |world| {
            let end = OffsetSpec::End(Isolation::ReadUncommitted);
            backing.iter().map(|at| world.offset(at, end)).collect()
        });
        self.ends = ends.map_err(|cause| CommitStatus::Aborted { cause })?;
        if self.id.is_some() && !offsets.is_empty() {
            self.add_offsets(offsets, membership).map_err(refused)?;
        }
        Ok(())
    }

    fn poll_commit(&mut self) -> CommitStatus {
        let Ok(pending) = self.machine.look(|w| Ok(w.plan.choose("slow end", 4) == 1)) else {
            let cause = no_answer("commit");
            return CommitStatus::Unknown { cause };
        };
        if pending {
            return CommitStatus::Pending;
        }
        let ends = std::mem::take(&mut self.ends);
        if !self.begun {
            return CommitStatus::Committed { ends };
        }
        if let Ok(true) = self.machine.look(|w| Ok(w.plan.choose("end refused", 300) == 1)) {
            return CommitStatus::Aborted { cause: no_answer("commit") };
        }
        match self.end("commit", true) {
            Ok(()) => {
                self.begun = false;
                CommitStatus::Committed { ends }
            }
            Err(cause @ BrokerError::Fenced { .. }) => CommitStatus::Fenced { cause },
            Err(cause) => CommitStatus::Unknown { cause },
        }
    }

    fn abort(&mut self) -> Result<()> {
        self.staged.clear();
        self.places.clear();
        if !std::mem::take(&mut self.begun) {
            return Ok(());
        }
        self.end("abort", false)
    }

    fn is_tainted(&self) -> bool {
        self.tainted
    }
}

/// As on Kafka: a fenced producer is at its end, a fenced member only has to abort.
fn refused(cause: BrokerError) -> CommitStatus {
    match cause {
        BrokerError::Fenced { what: "deliver" | "offsets", .. } => CommitStatus::Fenced { cause },
        cause => CommitStatus::Aborted { cause },
    }
}
