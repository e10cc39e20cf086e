//! Up to where each partition is read, so that what is read belongs together although the
//! processor goes on writing meanwhile. The order of the questions is what makes it right:
//!
//! 1. the group's offsets: all below was decided, and is in the outputs
//! 2. the high watermarks of the outputs; then wait until their transactions have ended
//! 3. the same again: every transaction that has a record below 2 lies wholly below 3
//! 4. moved records and dead letters likewise: those of all such transactions are below
//! 5. the ends of the inputs: every record that an output speaks of is below
//! 6. the group's offsets again: none may be behind what the outputs say
//!
//! A decision is believed while the ledger or the answers are below 2, and read up to 3.

use std::time::Duration;

use bps_streams::broker::{Broker, CommittedOffset, Isolation, OffsetSpec, TopicPartition};

use crate::partition_reader::Span;
use crate::stream::stream_of;
use crate::{Env, Error, Result};

const WAIT: Duration = Duration::from_millis(50);

/// What is read of one partition number.
#[derive(Clone, Debug)]
pub(crate) struct PartitionSnapshot {
    /// The inputs, then what is answered to each stream, then stock.
    pub(crate) spans: Vec<Span>,
    /// Ends up to which decisions are believed, by stream.
    pub(crate) believed: Vec<u64>,
    /// What the group had committed before, by input: all below is decided.
    pub(crate) horizon: Vec<u64>,
    /// What the group had committed after, by input.
    pub(crate) committed: Vec<Option<CommittedOffset>>,
}

/// What is read.
pub(crate) struct Snapshot {
    pub(crate) partitions: Vec<PartitionSnapshot>,
    /// Moved records, by partition; then the dead letters, by theirs.
    pub(crate) diverted: Vec<Span>,
    /// Where a transaction stays open.
    pub(crate) open: Open,
}

fn all(topic: &str, partitions: u32) -> Vec<TopicPartition> {
    (0..partitions).map(|p| TopicPartition::new(topic, p)).collect()
}

/// Partitions where a transaction stays open: last stable offset, high watermark.
type Open = Vec<(TopicPartition, u64, u64)>;

/// High watermarks, waited for until they are stable; a lower last stable offset where a
/// transaction stays open. Those known as open are not waited for again.
fn stable_ends(env: &Env<'_>, at: &[TopicPartition], open: &mut Open) -> Result<Vec<u64>> {
    let high = env.broker.offsets(at, OffsetSpec::End(Isolation::ReadUncommitted))?;
    let mut waited = Duration::ZERO;
    loop {
        let stable = env.broker.offsets(at, OffsetSpec::End(Isolation::ReadCommitted))?;
        let bounds = at.iter().zip(stable.iter().zip(&high));
        let mut hanging: Open = Vec::new();
        for (at, (stable, high)) in bounds {
            if stable < high && !open.iter().any(|(known, ..)| known == at) {
                hanging.push((at.clone(), *stable, *high));
            }
        }
        if hanging.is_empty() || waited >= env.transaction_wait {
            open.append(&mut hanging);
            return Ok(stable.iter().zip(&high).map(|(s, h)| *s.min(h)).collect());
        }
        std::thread::sleep(WAIT);
        waited += WAIT;
    }
}

/// How many partitions the topics have. All but the dead letters must have as many.
pub(crate) fn partitions(
    broker: &dyn Broker,
    topics: &bps_events::Topics,
    inputs: &[&str],
    outputs: &[&str],
) -> Result<(u32, u32)> {
    let others: [&str; 2] = [&topics.stock, &topics.dead_letters];
    let names = [inputs, outputs, &others].concat();
    let mut counts = Vec::new();
    for (name, found) in names.iter().zip(broker.describe_topics(&names)?) {
        let found = found.ok_or_else(|| Error::NoTopic { topic: (*name).to_owned() })?;
        counts.push(found.partitions);
    }
    for (name, count) in names.iter().zip(&counts).take(names.len() - 1) {
        if *count != counts[0] {
            let (topic, count, first) = ((*name).to_owned(), *count, counts[0]);
            return Err(Error::Partitions { topic, count, input: names[0].to_owned(), first });
        }
    }
    Ok((counts[0], counts[names.len() - 1]))
}

fn committed(env: &Env<'_>) -> Result<Vec<Vec<Option<CommittedOffset>>>> {
    let ask = |p| {
        let at: Vec<_> = env.inputs.iter().map(|t| TopicPartition::new(*t, p)).collect();
        env.broker.committed(env.group, &at)
    };
    Ok((0..env.partitions).map(ask).collect::<Result<_, _>>()?)
}

/// Asks for everything, in the order above.
pub(crate) fn ask(env: &Env<'_>) -> Result<Snapshot> {
    let (broker, n) = (env.broker, env.partitions);
    let mut open = Vec::new();
    let before = committed(env)?; // 1
    let written = env.outputs.iter().copied().chain([&*env.topics.stock]);
    let outputs: Vec<_> = written.flat_map(|t| all(t, n)).collect();
    let believed = stable_ends(env, &outputs, &mut open)?; // 2
    let ends = stable_ends(env, &outputs, &mut open)?; // 3
    let moved = all(&env.topics.rekeyed, n);
    let letters = all(&env.topics.dead_letters, env.letter_partitions);
    let diverted: Vec<_> = moved.iter().chain(&letters).cloned().collect();
    let trace_ends = stable_ends(env, &diverted, &mut open)?; // 4
    let requested = env.streams.iter().map(|stream| (stream.input)(env.topics));
    let inputs: Vec<_> = requested.flat_map(|t| all(t, n)).collect();
    let input_ends = broker.offsets(&inputs, OffsetSpec::End(Isolation::ReadCommitted))?; // 5
    if env.at_rest {
        stable_ends(env, &inputs, &mut open)?;
    }
    let after = committed(env)?; // 6
    let spans = |at: &[TopicPartition], ends: &[u64]| -> Result<Vec<Span>> {
        let starts = broker.offsets(at, OffsetSpec::Start)?;
        let bounds = starts.into_iter().zip(ends.iter().copied());
        let span = |(at, (start, end)): (&TopicPartition, (u64, u64))| Span {
            at: at.clone(),
            start,
            end: end.max(start),
        };
        Ok(at.iter().zip(bounds).map(span).collect())
    };
    let diverted = spans(&diverted, &trace_ends)?;
    let (inputs, outputs) = (spans(&inputs, &input_ends)?, spans(&outputs, &ends)?);
    let n = n as usize;
    let partition = |(p, committed): (usize, Vec<Option<CommittedOffset>>)| {
        let input = |input| match stream_of(input) {
            Some(stream) => &inputs[stream * n + p],
            None => &diverted[p],
        };
        let inputs = (0..env.inputs.len()).map(input);
        let outputs = (0..=env.outputs.len()).map(|output| &outputs[output * n + p]);
        let offset = |offset: &Option<CommittedOffset>| offset.as_ref().map_or(0, |c| c.offset);
        PartitionSnapshot {
            spans: inputs.chain(outputs).cloned().collect(),
            believed: (0..env.outputs.len()).map(|output| believed[output * n + p]).collect(),
            horizon: before[p].iter().map(offset).collect(),
            committed,
        }
    };
    let partitions = after.into_iter().enumerate().map(partition).collect();
    Ok(Snapshot { partitions, diverted, open })
}
