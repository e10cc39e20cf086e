//! A log in memory that can be damaged at will: offsets may have gaps, transactions may hang.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bps_events::Topics;
use bps_streams::broker::{
    Appender, Broker, BrokerError, CleanupPolicy, CommittedOffset, Consumer, ConsumerOptions,
    Isolation, Now, OffsetSpec, Producer, ProducerMode, Reader, Result, TopicDescription,
    TopicPartition,
};
use bps_streams::record::Batch;
use bps_streams::{STAMP, Stamp};

/// A record.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rec {
    pub(crate) offset: u64,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Rec {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(self.value.as_deref().unwrap_or_default()).into_owned()
    }

    /// Replaces a text of the value, which must be there.
    #[track_caller]
    pub(crate) fn replace(&mut self, from: &str, to: &str) {
        let text = self.text();
        assert!(text.contains(from), "{from} is not in {text}");
        self.value = Some(text.replace(from, to).into_bytes());
    }

    pub(crate) fn stamp(&self) -> Stamp {
        let header = self.headers.iter().find(|(name, _)| name == STAMP).expect("a stamp");
        Stamp::decode(header.1.as_deref().expect("a value")).expect("readable")
    }

    pub(crate) fn set_stamp(&mut self, stamp: &Stamp) {
        let mut bytes = Vec::new();
        stamp.encode(&mut bytes);
        self.headers.retain(|(name, _)| name != STAMP);
        self.headers.push((STAMP.to_owned(), Some(bytes)));
    }
}

/// A partition.
#[derive(Clone, Debug, Default)]
pub(crate) struct Part {
    pub(crate) start: u64,
    pub(crate) records: Vec<Rec>,
    /// Markers behind the last record.
    pub(crate) markers: u64,
    /// Records of an open transaction at its end.
    pub(crate) open: u64,
    /// Records that are there when the end is asked for the third time.
    pub(crate) later: Vec<Rec>,
}

impl Part {
    pub(crate) fn end(&self) -> u64 {
        self.records.last().map_or(self.start, |r| r.offset + 1) + self.markers
    }

    /// Appends a record; returns its offset.
    pub(crate) fn push(&mut self, record: Rec) -> u64 {
        let offset = self.end();
        self.records.push(Rec { offset, ..record });
        offset
    }
}

/// All topics.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    pub(crate) names: Topics,
    pub(crate) topics: BTreeMap<String, Vec<Part>>,
    pub(crate) committed: BTreeMap<(String, u32), Option<u64>>,
    /// Topics that are compacted.
    pub(crate) compacting: BTreeSet<String>,
    /// How often the ends of the stock were asked.
    pub(crate) asked: Arc<AtomicU32>,
}

impl Log {
    pub(crate) fn part(&mut self, topic: &str, partition: u32) -> &mut Part {
        &mut self.topics.get_mut(topic).expect("a topic")[partition as usize]
    }

    /// Partition and index of the one record of a topic that holds all these texts.
    #[track_caller]
    pub(crate) fn find(&self, topic: &str, texts: &[&str]) -> (u32, usize) {
        let mut found = Vec::new();
        for (partition, part) in self.topics[topic].iter().enumerate() {
            for (index, record) in part.records.iter().enumerate() {
                let text = record.text();
                if texts.iter().all(|t| text.contains(t)) {
                    found.push((partition as u32, index));
                }
            }
        }
        assert!(!found.is_empty(), "no {texts:?} in {topic}");
        found[0]
    }

    /// The record at [`Log::find`].
    #[track_caller]
    pub(crate) fn record(&mut self, topic: &str, texts: &[&str]) -> (u32, &mut Rec) {
        let (partition, index) = self.find(topic, texts);
        (partition, &mut self.part(topic, partition).records[index])
    }

    /// Takes the record at [`Log::find`] away.
    #[track_caller]
    pub(crate) fn remove(&mut self, topic: &str, texts: &[&str]) -> (u32, Rec) {
        let (partition, index) = self.find(topic, texts);
        (partition, self.part(topic, partition).records.remove(index))
    }

    fn known(&self, at: &TopicPartition) -> Result<&Part> {
        let part = self.topics.get(&at.topic).and_then(|t| t.get(at.partition as usize));
        part.ok_or_else(|| BrokerError::UnknownPartition(at.clone()))
    }
}

fn refused<T>() -> Result<T> {
    Err(BrokerError::Fatal { what: "a checker", cause: "only reads".to_owned() })
}

impl Broker for Log {
    fn cluster_id(&self) -> Result<String> {
        Ok("memory".to_owned())
    }

    fn consumer(&self, _: ConsumerOptions) -> Result<Box<dyn Consumer>> {
        refused()
    }

    fn producer(&self, _: ProducerMode) -> Result<Box<dyn Producer>> {
        refused()
    }

    fn appender(&self) -> Result<Box<dyn Appender>> {
        refused()
    }

    fn reader(&self, from: &[(TopicPartition, u64)], _: Isolation) -> Result<Box<dyn Reader>> {
        let slots = from.iter().map(|(at, from)| Ok((self.known(at)?.clone(), *from)));
        Ok(Box::new(Slots(slots.collect::<Result<_>>()?)))
    }

    fn offsets(&self, partitions: &[TopicPartition], spec: OffsetSpec) -> Result<Vec<u64>> {
        // The ends of the outputs are asked together, and that of the stock once more.
        let is_end = spec == OffsetSpec::End(Isolation::ReadCommitted);
        let has_stock = is_end && partitions.iter().any(|at| at.topic == self.names.stock);
        let asked = self.asked.fetch_add(u32::from(has_stock), Ordering::Relaxed);
        let offset = |at| {
            let part = self.known(at)?;
            Ok(match spec {
                OffsetSpec::Start => part.start,
                OffsetSpec::End(Isolation::ReadUncommitted) => part.end() + part.open,
                _ if asked > 1 => part.later.last().map_or(part.end(), |r| r.offset + 1),
                _ => part.end(),
            })
        };
        partitions.iter().map(offset).collect()
    }

    fn committed(
        &self,
        _: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<CommittedOffset>>> {
        let committed = |at: &TopicPartition| {
            let offset = *self.committed.get(&(at.topic.clone(), at.partition))?;
            offset.map(|offset| CommittedOffset { offset, metadata: String::new() })
        };
        Ok(partitions.iter().map(committed).collect())
    }

    fn describe_topics(&self, names: &[&str]) -> Result<Vec<Option<TopicDescription>>> {
        let describe = |name: &&str| {
            self.topics.get(*name).map(|parts| TopicDescription {
                name: (*name).to_owned(),
                partitions: parts.len() as u32,
                cleanup: match self.compacting.contains(*name) {
                    true => CleanupPolicy::CompactAndDelete { retention_ms: None },
                    false => CleanupPolicy::Delete { retention_ms: None },
                },
                future_max_ms: None,
            })
        };
        Ok(names.iter().map(describe).collect())
    }

    fn create_topic(&self, _: &TopicDescription) -> Result<()> {
        refused()
    }

    fn delete_group(&self, _: &str) -> Result<()> {
        refused()
    }

    fn maintain(&self, _: Now) -> Result<()> {
        Ok(())
    }
}

struct Slots(Vec<(Part, u64)>);

impl Reader for Slots {
    fn wait(&mut self, _: Duration) -> Result<()> {
        Ok(())
    }

    /// Two records at a time, so that refilling is tested too.
    fn fetch(&mut self, slot: usize, _: usize, batch: &mut Batch) -> Result<u64> {
        let (part, position) = &mut self.0[slot];
        let records = part.records.iter().chain(&part.later);
        let mut rest = records.filter(|r| r.offset >= *position);
        for record in rest.by_ref().take(2) {
            let headers = record.headers.iter().map(|(n, v)| (n.as_str(), v.as_deref()));
            let (key, value) = (record.key.as_deref(), record.value.as_deref());
            batch.push(record.offset, record.timestamp, key, value, headers);
        }
        let end = part.later.last().map_or(part.end(), |r| r.offset + 1);
        *position = rest.next().map_or(end, |r| r.offset);
        Ok(*position)
    }
}
