//! What people do to the group behind the processors' back. Offsets that others set must not decide
//! what is read: the processors go on from their own, or end and name it. Then their operator does
//! what docs/when-it-stops.md says, and they go on.

use std::time::{Duration, Instant};

use bps_streams::broker::{BrokerError, Isolation, OffsetSpec, TopicPartition};

use super::processes::Processes;
use crate::installation::PATIENCE;
use crate::kafka_installation::{KafkaInstallation, PARTITIONS};
use crate::operator::{Operator, Stranger};
use crate::processes::Random;

/// After a stranger has left, its share of the inputs may be missed for so long: what ends a worker
/// that misses it, and a start.
const MISSED: Duration = Duration::from_secs(60);

/// See the module.
pub(super) struct Meddler<'a> {
    kafka: &'a KafkaInstallation,
    operator: Operator,
    stranger: Option<Stranger>,
    /// When one was seen last.
    seen: Option<Instant>,
    /// How often a processor has ended, and named what was done.
    pub(super) refusals: u64,
}

impl<'a> Meddler<'a> {
    pub(super) fn new(kafka: &'a KafkaInstallation) -> Meddler<'a> {
        let operator = Operator::at(&kafka.address);
        Meddler { kafka, operator, stranger: None, seen: None, refusals: 0 }
    }

    /// A stranger joins the group, for one of the inputs or for all; `false` where one is there.
    pub(super) fn let_in(&mut self, random: &mut Random) -> bool {
        if self.stranger.is_some() {
            return false;
        }
        let inputs = self.kafka.inputs();
        let topics = match random.below(inputs.len() as u64 + 1) as usize {
            one if one < inputs.len() => &inputs[one..=one],
            _ => &inputs[..],
        };
        self.stranger = Some(Stranger::join(&self.kafka.address, self.group(), topics));
        true
    }

    /// The stranger leaves.
    pub(super) fn send_away(&mut self) {
        if self.stranger.take().is_some() {
            self.seen = Some(Instant::now());
        }
    }

    /// Fails when a processor has ended, unless it named the stranger's share of the inputs. Who may
    /// start again.
    pub(super) fn must_run(&mut self, processes: &mut Processes) -> Vec<usize> {
        let is_missed =
            self.stranger.is_some() || self.seen.is_some_and(|at| at.elapsed() < MISSED);
        let ended = processes.ended().into_iter().map(|(at, word)| {
            assert!(is_missed && word.contains(" was assigned of "), "has ended: {word}");
            self.refusals += 1;
            at
        });
        ended.collect()
    }

    /// While all processors are stopped, and records wait, offsets are set or the group is deleted.
    pub(super) fn meddle(
        &mut self,
        processes: &mut Processes,
        random: &mut Random,
    ) -> &'static str {
        let there = processes.stop();
        let own = self.offsets();
        let deed = match random.below(2) {
            0 => {
                self.until(|operator, group| operator.delete_group(group));
                "groups deleted"
            }
            _ => {
                let offsets = self.others(random);
                self.until(|operator, group| operator.set_offsets(group, &offsets));
                "offsets reset"
            }
        };
        there.iter().for_each(|at| processes.bring(self.kafka, *at, random));
        let refused = processes.begin();
        if refused.is_empty() {
            return deed;
        }
        self.refusals += 1;
        let names = [&self.kafka.inputs()[..], &[self.group()]].concat();
        let is_named = |word: &String| names.iter().any(|name| word.contains(name));
        assert!(refused.iter().all(is_named), "{deed}, and it is not named: {refused:?}");
        // The way back: the offsets of before, and the word to take them.
        processes.stop();
        self.until(|operator, group| operator.set_offsets(group, &own));
        for at in there {
            processes.skip_gap(self.kafka, at);
            processes.bring(self.kafka, at, random);
        }
        let refused = processes.begin();
        assert!(refused.is_empty(), "{deed}, and they do not go on as was told: {refused:?}");
        deed
    }

    fn group(&self) -> &'a str {
        &self.kafka.installation.settings.application
    }

    /// Does it as soon as the group has no members: their sessions last on when they stop.
    fn until(&self, deed: impl Fn(&Operator, &str) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !deed(&self.operator, self.group()) {
            assert!(Instant::now() < deadline, "the group still has members");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// The offsets that the group has.
    fn offsets(&self) -> Vec<(TopicPartition, u64)> {
        let at = partitions(&self.kafka.inputs());
        let found = answer(|| self.kafka.installation.broker.committed(self.group(), &at));
        let known = at.into_iter().zip(found);
        known.filter_map(|(at, found)| Some((at, found?.offset))).collect()
    }

    /// Offsets that are nobody's positions: of one input or of all, their beginnings or their ends.
    fn others(&self, random: &mut Random) -> Vec<(TopicPartition, u64)> {
        let inputs = self.kafka.inputs();
        let one = random.below(inputs.len() as u64) as usize;
        let topics = if random.below(2) == 0 { &inputs[..] } else { &inputs[one..=one] };
        let at = partitions(topics);
        let spec = match random.below(3) {
            0 => OffsetSpec::Start,
            _ => OffsetSpec::End(Isolation::ReadUncommitted),
        };
        let offsets = answer(|| self.kafka.installation.broker.offsets(&at, spec));
        at.into_iter().zip(offsets).collect()
    }
}

/// What the broker says, which may have come back a moment ago.
fn answer<T>(ask: impl Fn() -> Result<T, BrokerError>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(error) => assert!(Instant::now() < deadline, "no answer: {error}"),
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn partitions(topics: &[&str]) -> Vec<TopicPartition> {
    let of = |topic| (0..PARTITIONS).map(move |partition| TopicPartition::new(topic, partition));
    topics.iter().copied().flat_map(of).collect()
}
