//! `bps topics copy`: what the inputs hold goes to inputs of another prefix, as it is. It is the way
//! on where topics were made wider: keys lie elsewhere then, and no partition can be taken back.

use std::time::{Duration, Instant};

use bps_streams::broker::{Broker, BrokerError, Bulk, Isolation, OffsetSpec, TopicPartition};
use bps_streams::record::Batch;
use bps_streams::topology::Homes;
use bps_streams::{Outgoing, Record, Topology, prepare_topics};
use purchase_processor::{Settings, TOPOLOGIES};

use super::CopyArgs;
use crate::error::Error;
use crate::log::{existing, partitions};
use crate::out;

/// Read at once (bytes).
const FETCH_BYTES: usize = 1 << 20;
/// One wait of a reader.
const WAIT: Duration = Duration::from_millis(100);
/// What is known to be there comes within this.
const PATIENCE: Duration = Duration::from_secs(60);

/// A partition, its beginning and its end.
type Span = (TopicPartition, u64, u64);

/// Runs the command.
pub(super) fn run(args: &CopyArgs) -> Result<(), Error> {
    let CopyArgs { to, input_prefix: from, partitions, selection, log } = args;
    if to == from {
        let cause = format!("--to {to}: the inputs themselves lie there, take another");
        return Err(Error::Usage(cause));
    }
    if log.cluster()?.is_none() {
        existing(log.folder())?;
    }
    let (from, to) = (Settings::new(from, from), Settings::new(to, to));
    let selected = selection.topologies()?;
    let made = |settings: &Settings| {
        selected.iter().map(|one| (one.topology)(settings)).collect::<Result<Vec<_>, _>>()
    };
    let (from_all, to_all) = (made(&from)?, made(&to)?);
    let written = written(&from)?;
    let broker = log.take()?;
    let mut inputs: Vec<Input<'_>> = Vec::new();
    for (index, from) in from_all.iter().enumerate() {
        for (place, (source, topic)) in from.sources().enumerate() {
            // One that several topologies read is copied once.
            let is_new = inputs.iter().all(|input| input.topic != topic);
            if is_new && !written.iter().any(|known| known == topic) {
                let spans = spans_of(&*broker, topic)?;
                inputs.push(Input { index, place, source, topic, spans });
            }
        }
    }
    let mut counts = Vec::new();
    for to in &to_all {
        counts.push(prepare_topics(&*broker, to, *partitions)?.partitions);
        must_be_empty(&*broker, to)?;
    }
    let appender = broker.appender()?;
    for Input { index, place, source, topic, spans } in &inputs {
        let (bulk, homes) = (Bulk::new(&*appender, "copy"), &mut from_all[*index].homes());
        let Some((_, target)) = to_all[*index].sources().nth(*place) else {
            continue;
        };
        let mut copy = Copy { bulk, homes, source, target, partitions: counts[*index] };
        for span in spans {
            copy.partition(&*broker, span)?;
        }
        let count = copy.bulk.finish()?;
        out::result(format_args!("{topic}: {count} records copied to {target}"))?;
    }
    Ok(())
}

/// A topic that is copied: which topology reads it, and in which place.
struct Input<'t> {
    index: usize,
    place: usize,
    source: &'t str,
    topic: &'t str,
    spans: Vec<Span>,
}

/// What one topology writes for others is no input: under the other prefix it is written again.
fn written(settings: &Settings) -> Result<Vec<String>, Error> {
    let mut written = Vec::new();
    for one in TOPOLOGIES.0 {
        let topology = (one.topology)(settings)?;
        let is_read = |name: &str| topology.sources().any(|(_, topic)| topic == name);
        let topics = topology.topics(1).into_iter().map(|topic| topic.name);
        written.extend(topics.filter(|name| !is_read(name)));
    }
    Ok(written)
}

/// Where the partitions of a topic begin and end.
fn spans_of(broker: &dyn Broker, topic: &str) -> Result<Vec<Span>, Error> {
    let described = broker.describe_topics(&[topic])?.into_iter().flatten().next();
    let Some(described) = described else {
        return Err(Error::Refused(format!("topic {topic} does not exist: nothing to copy")));
    };
    let at = partitions(&described);
    let starts = broker.offsets(&at, OffsetSpec::Start)?;
    let ends = broker.offsets(&at, OffsetSpec::End(Isolation::ReadCommitted))?;
    Ok(at.into_iter().zip(starts).zip(ends).map(|((at, start), end)| (at, start, end)).collect())
}

/// Copied twice, records would be there twice.
fn must_be_empty(broker: &dyn Broker, to: &Topology) -> Result<(), Error> {
    for (_, topic) in to.sources() {
        let spans = spans_of(broker, topic)?;
        if spans.iter().any(|(_, start, end)| start < end) {
            let cause = format!("topic {topic} is not empty: take another prefix, or delete it");
            return Err(Error::Refused(cause));
        }
    }
    Ok(())
}

/// The copy of one topic.
struct Copy<'a, 't> {
    bulk: Bulk<'a>,
    homes: &'a mut Homes<'t>,
    source: &'a str,
    target: &'a str,
    partitions: u32,
}

impl Copy<'_, '_> {
    /// Copies a partition, in its order.
    fn partition(&mut self, broker: &dyn Broker, (at, start, end): &Span) -> Result<(), Error> {
        let mut reader = broker.reader(&[(at.clone(), *start)], Isolation::ReadCommitted)?;
        let (mut position, mut came) = (*start, Instant::now());
        let mut batch = Batch::default();
        while position < *end {
            reader.wait(WAIT)?;
            batch.clear();
            let reached = reader.fetch(0, FETCH_BYTES, &mut batch)?;
            if reached > position {
                (position, came) = (reached, Instant::now());
            } else if came.elapsed() > PATIENCE {
                let cause = format!("{at} does not come behind offset {position}");
                return Err(BrokerError::Unavailable { what: "copy", cause }.into());
            }
            for index in 0..batch.len() {
                let record = batch.get(index, &at.topic, at.partition);
                // What has come since is not copied: another time it would be other records.
                if record.offset < *end {
                    self.record(&record)?;
                }
            }
        }
        Ok(())
    }

    /// To where its key belongs; what has none keeps its place, as far as there is one.
    fn record(&mut self, record: &Record<'_>) -> Result<(), Error> {
        let home = self.homes.of(self.source, record, self.partitions);
        let partition = home.unwrap_or(record.partition % self.partitions);
        let headers: Vec<_> = record.headers.iter().collect();
        self.bulk.append(Outgoing {
            topic: self.target,
            partition,
            timestamp: record.time(),
            key: record.key,
            value: record.value,
            headers: &headers,
        })?;
        Ok(())
    }
}
