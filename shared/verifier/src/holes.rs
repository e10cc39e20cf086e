//! Offsets of an input that no record has. Only transactions leave some, by the markers of their ends
//! and by what they aborted; in a topic that is written without them, records are gone.

use crate::partition_reader::PartitionReader;
use crate::report::{Place, Report, Rule};
use crate::stream::MOVED;
use crate::{Env, Error, Result};

/// Holes of a partition that are kept; of the others only the number is known.
const HOLES_MAX: usize = 20;

/// The holes of a partition, as its records go by.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holes {
    /// The offset that the next record should have.
    next: u64,
    /// First offset of each, and the one behind it.
    first: Vec<(u64, u64)>,
    /// How many there are, and offsets in them.
    count: u64,
    offsets: u64,
}

impl Holes {
    /// None, before this offset.
    pub(crate) fn from(next: u64) -> Holes {
        Holes { next, ..Holes::default() }
    }

    /// A record at this offset, or the end.
    pub(crate) fn see(&mut self, offset: u64) {
        if offset > self.next {
            self.count += 1;
            self.offsets += offset - self.next;
            if self.first.len() < HOLES_MAX {
                self.first.push((self.next, offset));
            }
        }
        self.next = self.next.max(offset.saturating_add(1));
    }
}

/// Names the holes of a partition's inputs, which were read to their ends.
pub(crate) fn check(
    env: &Env<'_>,
    partition: u32,
    reader: &PartitionReader<'_>,
    report: &mut Report,
) {
    if env.transactional_inputs {
        return;
    }
    // Moved records are written by the processor, in transactions.
    for (slot, topic) in env.inputs.iter().enumerate().filter(|(input, _)| *input != MOVED) {
        let Holes { first, count, offsets, .. } = reader.holes(slot);
        for (from, behind) in &first {
            let at = Place::new(topic, partition, *from);
            let found = format!("none before offset {behind}: {}", behind - from);
            report.find(
                Rule::C1,
                at,
                "a record at each offset (no transaction writes here)",
                found,
            );
        }
        if count > first.len() as u64 {
            let found = format!("{count} holes, {offsets} offsets in all");
            report.note(Rule::C1, topic, Some(partition), None, "a record at each offset", found);
        }
    }
}

/// Names inputs whose policy takes records away for later ones of their key.
pub(crate) fn check_policies(env: &Env<'_>, report: &mut Report) -> Result<()> {
    let names = &env.inputs;
    for (topic, found) in names.iter().zip(env.broker.describe_topics(names)?) {
        let found = found.ok_or_else(|| Error::NoTopic { topic: (*topic).to_owned() })?;
        if found.cleanup.is_compacting() {
            let expected = "a cleanup policy that keeps every record";
            report.note(Rule::C1, topic, None, None, expected, found.cleanup);
        }
    }
    Ok(())
}
