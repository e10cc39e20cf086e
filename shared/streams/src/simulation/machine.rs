//! One process's way to the cluster and to its disk; each of its effects passes through here.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::consumer::SimulatedConsumer;
use super::log::Topic;
use super::plan::Fault;
use super::producer::SimulatedProducer;
use super::reader::{SimulatedAppender, SimulatedReader};
use super::world::World;
use crate::broker::alternating::AlternatingProducer;
use crate::broker::{
    Appender, Broker, BrokerError, CommittedOffset, Consumer, ConsumerOptions, Isolation, Now,
    OffsetSpec, Producer, ProducerMode, Reader, Result, TopicDescription, TopicIdentity,
    TopicPartition,
};
#[cfg(feature = "mutants")]
use crate::mutant::Mutant;

/// A process in one of its lives.
#[derive(Clone)]
pub(super) struct Machine {
    pub(super) world: Arc<Mutex<World>>,
    pub(super) process: u32,
    pub(super) life: u64,
}

/// What a call of which no answer came returns.
pub(super) fn no_answer(what: &'static str) -> BrokerError {
    BrokerError::Unavailable { what, cause: "no answer".to_owned() }
}

impl Machine {
    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks without doing anything.
    pub(super) fn look<T>(&self, look: impl FnOnce(&mut World) -> Result<T>) -> Result<T> {
        let mut world = self.world();
        world.check_alive(self.process, self.life)?;
        look(&mut world)
    }

    /// Numbers an effect; whether it happens, and whether its answer comes.
    pub(super) fn decide(&self, world: &mut World, name: &'static str) -> Result<Fault> {
        world.check_alive(self.process, self.life)?;
        if world.now.monotonic_ms < world.outage_until_ms {
            return Err(no_answer(name));
        }
        Ok(world.decide(self.process, name))
    }

    /// Does something to the cluster.
    pub(super) fn effect<T>(
        &self,
        name: &'static str,
        act: impl FnOnce(&mut World) -> Result<T>,
    ) -> Result<T> {
        let mut world = self.world();
        match self.decide(&mut world, name)? {
            Fault::None | Fault::Repeated(_) => act(&mut world),
            Fault::Unacknowledged => {
                drop(act(&mut world));
                Err(no_answer(name))
            }
            Fault::Lost | Fault::Delayed(_) => Err(no_answer(name)),
            Fault::CrashBefore => {
                world.check_alive(self.process, self.life).and(Err(no_answer(name)))
            }
            Fault::CrashAfter => {
                drop(act(&mut world));
                world.check_alive(self.process, self.life).and(Err(no_answer(name)))
            }
        }
    }
}

impl Broker for Machine {
    fn cluster_id(&self) -> Result<String> {
        self.look(|_| Ok("simulated".to_owned()))
    }

    fn consumer(&self, options: ConsumerOptions) -> Result<Box<dyn Consumer>> {
        self.look(|_| Ok(()))?;
        Ok(Box::new(SimulatedConsumer::new(self.clone(), options)))
    }

    fn producer(&self, mode: ProducerMode) -> Result<Box<dyn Producer>> {
        self.look(|_| Ok(()))?;
        let ProducerMode::Transactional { id } = mode else {
            return Ok(Box::new(SimulatedProducer::new(self.clone(), None)));
        };
        // As on Kafka.
        let producer = AlternatingProducer::open(&id, |id| {
            Ok(SimulatedProducer::new(self.clone(), Some(id)))
        })?;
        #[cfg(feature = "mutants")]
        let producer = producer.mutated(self.world().mutant);
        Ok(Box::new(producer))
    }

    fn appender(&self) -> Result<Box<dyn Appender>> {
        Ok(Box::new(SimulatedAppender { machine: self.clone() }))
    }

    fn reader(
        &self,
        from: &[(TopicPartition, u64)],
        isolation: Isolation,
    ) -> Result<Box<dyn Reader>> {
        Ok(Box::new(SimulatedReader::new(self.clone(), from, isolation)?))
    }

    fn offsets(&self, partitions: &[TopicPartition], spec: OffsetSpec) -> Result<Vec<u64>> {
        self.effect("ask offsets", |world| {
            partitions.iter().map(|at| world.offset(at, spec)).collect()
        })
    }

    fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<CommittedOffset>>> {
        self.effect("ask committed", |world| {
            if partitions.iter().any(|at| world.is_pending(group, at)) {
                let cause = "a transaction with offsets is not decided".to_owned();
                return Err(BrokerError::Unavailable { what: "committed", cause });
            }
            Ok(partitions.iter().map(|at| world.groups.offset(group, at)).collect())
        })
    }

    fn committed_so_far(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<CommittedOffset>>> {
        self.effect("ask committed so far", |world| {
            Ok(partitions.iter().map(|at| world.groups.offset(group, at)).collect())
        })
    }

    fn describe_topics(&self, names: &[&str]) -> Result<Vec<Option<TopicDescription>>> {
        let described = |topic: &Topic| Some(topic.description.clone());
        self.effect("describe topics", |world| {
            Ok(match names {
                [] => world.topics.values().map(described).collect(),
                names => names.iter().map(|n| world.topics.get(*n).and_then(described)).collect(),
            })
        })
    }

    fn identify_topics(&self, names: &[&str]) -> Result<Vec<Option<TopicIdentity>>> {
        let identity = |topic: &Topic| TopicIdentity {
            id: topic.number.to_string(),
            partitions: topic.description.partitions,
        };
        self.effect("identify topics", |world| {
            Ok(names.iter().map(|name| world.topics.get(*name).map(identity)).collect())
        })
    }

    fn create_topic(&self, topic: &TopicDescription) -> Result<()> {
        if topic.partitions == 0 {
            let cause = format!("{}: a topic has at least one partition", topic.name);
            return Err(BrokerError::Fatal { what: "create topic", cause });
        }
        self.effect("create topic", |world| {
            world.make_topic(topic);
            Ok(())
        })
    }

    fn delete_group(&self, group: &str) -> Result<()> {
        self.effect("delete group", |world| {
            let deleted = world.groups.delete_group(group);
            deleted.map_err(|refusal| BrokerError::Fatal {
                what: "delete group",
                cause: format!("{group}: {refusal}"),
            })?;
            world.offset_places.retain(|(name, _), _| name != group);
            Ok(())
        })
    }

    fn maintain(&self, _: Now) -> Result<()> {
        Ok(())
    }

    #[cfg(feature = "mutants")]
    fn mutate(&self, mutant: Option<Mutant>) {
        self.world().mutant = mutant;
    }
}
