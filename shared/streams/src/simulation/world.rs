//! Everything there is in a simulated cluster, behind one lock.

use std::collections::{BTreeMap, BTreeSet};

use super::log::{Partition, Topic};
use super::machine::no_answer;
use super::plan::{Effect, Fault, Plan};
use super::store::Disk;
use super::trace::Trace;
use super::transactions::Writer;
use crate::broker::coordinator::Coordinator;
use crate::broker::{
    BrokerError, Now, OffsetSpec, Result, TopicDescription, TopicPartition, check_time,
};
use crate::record::Outgoing;

/// What is on its way.
pub(super) enum Message {
    /// The end of a transaction that its sender no longer waits for.
    End { id: String, epoch: u64, commit: bool },
    /// The markers of a decided transaction.
    Markers { id: String, number: u64 },
}

pub(super) struct World {
    pub(super) plan: Box<dyn Plan>,
    pub(super) now: Now,
    pub(super) topics: BTreeMap<String, Topic>,
    /// Topics made so far, also those that are no more.
    topics_made: u64,
    pub(super) groups: Coordinator,
    pub(super) writers: BTreeMap<String, Writer>,
    /// Offsets written by members and transactions so far, whether they hold or not.
    pub(super) offsets_written: u64,
    /// Where the offset of a group and partition that holds lies among them.
    pub(super) offset_places: BTreeMap<(String, TopicPartition), u64>,
    /// Transactions begun so far.
    pub(super) transactions: u64,
    pub(super) network: Vec<(u64, Message)>,
    pub(super) disks: BTreeMap<u32, Disk>,
    pub(super) trace: Trace,
    effects: u64,
    /// The process's present life; a handle of an earlier one does nothing any more.
    lives: BTreeMap<u32, u64>,
    dead: BTreeSet<u32>,
    /// Nobody answers until then (monotonic ms).
    pub(super) outage_until_ms: u64,
    /// Partitions of which their broker knows less than it holds, and until when (monotonic ms).
    short: BTreeMap<TopicPartition, u64>,
    /// What is wrong with the clients of this cluster, on purpose.
    #[cfg(feature = "mutants")]
    pub(super) mutant: Option<crate::mutant::Mutant>,
}

impl World {
    pub(super) fn new(plan: Box<dyn Plan>) -> World {
        World {
            plan,
            now: Now::default(),
            topics: BTreeMap::new(),
            topics_made: 0,
            groups: Coordinator::default(),
            writers: BTreeMap::new(),
            offsets_written: 0,
            offset_places: BTreeMap::new(),
            transactions: 0,
            network: Vec::new(),
            disks: BTreeMap::new(),
            trace: Trace::default(),
            effects: 0,
            lives: BTreeMap::new(),
            dead: BTreeSet::new(),
            outage_until_ms: 0,
            short: BTreeMap::new(),
            #[cfg(feature = "mutants")]
            mutant: None,
        }
    }

    pub(super) fn effects(&self) -> u64 {
        self.effects
    }

    /// A process begins anew; returns the number of its life.
    pub(super) fn boot(&mut self, process: u32) -> u64 {
        self.dead.remove(&process);
        self.disks.entry(process).or_default().begin();
        let life = self.lives.entry(process).or_default();
        *life += 1;
        *life
    }

    pub(super) fn kill(&mut self, process: u32) {
        self.dead.insert(process);
    }

    pub(super) fn is_dead(&self, process: u32) -> bool {
        self.dead.contains(&process)
    }

    /// Nothing is done by the dead.
    pub(super) fn check_alive(&self, process: u32, life: u64) -> Result<()> {
        if self.lives.get(&process) == Some(&life) && !self.dead.contains(&process) {
            return Ok(());
        }
        Err(BrokerError::Fatal { what: "crash", cause: "this process is dead".to_owned() })
    }

    /// Numbers an effect and asks what becomes of it.
    pub(super) fn decide(&mut self, process: u32, name: &'static str) -> Fault {
        self.effects += 1;
        let effect = Effect { number: self.effects, process, name };
        let fault = self.plan.fault(&effect);
        self.trace.effect(self.now, &effect, fault);
        if matches!(fault, Fault::CrashBefore | Fault::CrashAfter) {
            self.kill(process);
        }
        fault
    }

    pub(super) fn set_time(&mut self, now: Now) {
        self.now = self.now.max(now);
        let now_ms = self.now.monotonic_ms;
        let (due, later) = std::mem::take(&mut self.network)
            .into_iter()
            .partition::<Vec<_>, _>(|(due_ms, _)| *due_ms <= now_ms);
        self.network = later;
        for (_, message) in due {
            match message {
                Message::End { id, epoch, commit } => {
                    // Nobody waits for the answer.
                    let applied = self.end_transaction(&id, epoch, commit).is_ok();
                    self.trace.event(self.now, || {
                        format!("a late end of {id} arrives, commit: {commit}, applied: {applied}")
                    });
                }
                Message::Markers { id, number } => self.write_markers(&id, Some(number)),
            }
        }
        self.time_out_transactions();
    }

    /// Makes a topic, unless it is there.
    pub(super) fn make_topic(&mut self, topic: &TopicDescription) {
        if !self.topics.contains_key(&topic.name) {
            self.topics_made += 1;
            self.topics.insert(topic.name.clone(), Topic::new(self.topics_made, topic));
        }
    }

    /// Deletes a topic, with what groups have committed of it, and makes it anew.
    pub(super) fn remake_topic(&mut self, name: &str) {
        if let Some(Topic { description, .. }) = self.topics.remove(name) {
            self.groups.forget_topic(name);
            self.make_topic(&description);
        }
    }

    pub(super) fn partition(&mut self, at: &TopicPartition) -> Result<&mut Partition> {
        let topic = self.topics.get_mut(&at.topic);
        let partition = topic.and_then(|t| t.partitions.get_mut(at.partition as usize));
        partition.ok_or_else(|| BrokerError::UnknownPartition(at.clone()))
    }

    /// An offset of a partition. A broker that knows less of its log than it holds does not tell
    /// (Kafka's KIP-207).
    pub(super) fn offset(&mut self, at: &TopicPartition, spec: OffsetSpec) -> Result<u64> {
        if self.is_short(at) {
            return Err(no_answer("offsets"));
        }
        let partition = self.partition(at)?;
        Ok(match spec {
            OffsetSpec::Start => 0,
            OffsetSpec::End(isolation) => partition.end(isolation),
            OffsetSpec::Timestamp(timestamp) => partition.offset_at(timestamp),
        })
    }

    /// For so long (ms) the broker of a partition knows less of its log than it holds, as one that
    /// has just come back does.
    pub(super) fn cut_short(&mut self, at: &TopicPartition, ms: u64) {
        let until_ms = self.now.monotonic_ms + ms;
        self.trace.event(self.now, || format!("{at} looks shorter than it is for {ms} ms"));
        self.short.insert(at.clone(), until_ms);
    }

    pub(super) fn is_short(&self, at: &TopicPartition) -> bool {
        self.short.get(at).is_some_and(|until_ms| self.now.monotonic_ms < *until_ms)
    }

    /// Nothing is away or short any more.
    pub(super) fn heal(&mut self) {
        self.outage_until_ms = 0;
        self.short.clear();
    }

    /// What a broker refuses in a record.
    pub(super) fn admit(&self, record: &Outgoing<'_>) -> Result<()> {
        let partition = || TopicPartition::new(record.topic, record.partition);
        let refused = |cause: String| BrokerError::Refused { partition: partition(), cause };
        let topic = self.topics.get(record.topic).map(|t| &t.description);
        let topic = topic.filter(|t| record.partition < t.partitions);
        let topic = topic.ok_or_else(|| BrokerError::UnknownPartition(partition()))?;
        check_time(record)?;
        if record.key.is_none() && topic.cleanup.is_compacting() {
            return Err(refused("a compacted topic takes no record without a key".to_owned()));
        }
        let latest = topic.future_max_ms.map(|max| self.now.wall_ms.saturating_add_unsigned(max));
        if latest.is_some_and(|latest| record.timestamp > latest) {
            return Err(refused(format!("timestamp {} is ahead of the clock", record.timestamp)));
        }
        Ok(())
    }
}
