//! A broker whose ledger reads as if one record in it had been damaged; all else is as it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bps_streams::broker::{
    Appender, Broker, BrokerError, CommittedOffset, Consumer, ConsumerOptions, Isolation, Now,
    OffsetSpec, Producer, ProducerMode, Reader, Result, TopicDescription, TopicPartition,
};
use bps_streams::record::{Batch, Record};

/// What is wrong with the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// One bit of one byte of its value.
    ByteChanged,
    /// It is not there.
    Dropped,
    /// It stands there once more, at the next offset that no record has (a marker's).
    Doubled,
}

/// Untouched so far.
const NOWHERE: u64 = u64::MAX;

/// The broker.
pub struct Damaged {
    inner: Arc<dyn Broker>,
    damage: Damage,
    at: TopicPartition,
    /// The first record at or behind it is the damaged one.
    from: u64,
    touched: Arc<AtomicU64>,
}

impl Damaged {
    /// `inner` with damage in the first record of `at` that is not before the offset `from`.
    pub fn new(inner: Arc<dyn Broker>, damage: Damage, at: TopicPartition, from: u64) -> Damaged {
        Damaged { inner, damage, at, from, touched: Arc::new(AtomicU64::new(NOWHERE)) }
    }

    /// Where a reader has met the damage: the offset of the changed or dropped record, or of the
    /// copy.
    pub fn touched(&self) -> Option<u64> {
        Some(self.touched.load(Ordering::Relaxed)).filter(|offset| *offset != NOWHERE)
    }
}

struct DamagedReader {
    inner: Box<dyn Reader>,
    slot: usize,
    damage: Damage,
    at: TopicPartition,
    from: u64,
    touched: Arc<AtomicU64>,
    /// The damaged record has been met.
    met: bool,
    /// What is to be written once more.
    copy: Option<Batch>,
    /// Offset behind the last record.
    behind: u64,
}

impl DamagedReader {
    fn touch(&self, offset: u64) {
        self.touched.store(offset, Ordering::Relaxed);
    }

    fn take(&mut self, record: &Record<'_>, batch: &mut Batch) {
        if record.offset > self.behind
            && let Some(copy) = self.copy.take()
        {
            let copy = copy.get(0, &self.at.topic, self.at.partition);
            push(batch, self.behind, &copy, copy.value);
            self.touch(self.behind);
        }
        self.behind = record.offset + 1;
        if self.met || record.offset < self.from {
            return push(batch, record.offset, record, record.value);
        }
        self.met = true;
        match self.damage {
            Damage::Dropped => self.touch(record.offset),
            Damage::ByteChanged => {
                self.touch(record.offset);
                let mut value = record.value.unwrap_or_default().to_vec();
                // A digit of a number stays a digit, a letter becomes another one.
                let middle = value.len() / 2;
                let is_plain = |byte: &u8| byte.is_ascii_alphanumeric();
                let byte = value[middle..].iter_mut().find(|byte| is_plain(byte));
                *byte.expect("a result has letters") ^= 1;
                push(batch, record.offset, record, Some(&value));
            }
            Damage::Doubled => {
                push(batch, record.offset, record, record.value);
                let mut copy = Batch::default();
                push(&mut copy, record.offset, record, record.value);
                self.copy = Some(copy);
            }
        }
    }
}

fn push(batch: &mut Batch, offset: u64, record: &Record<'_>, value: Option<&[u8]>) {
    let headers = record.headers.iter();
    batch.push(offset, record.timestamp, record.key, value, headers);
}

impl Reader for DamagedReader {
    fn wait(&mut self, wait: Duration) -> Result<()> {
        self.inner.wait(wait)
    }

    fn fetch(&mut self, slot: usize, bytes_max: usize, batch: &mut Batch) -> Result<u64> {
        if slot != self.slot {
            return self.inner.fetch(slot, bytes_max, batch);
        }
        let mut found = Batch::default();
        let position = self.inner.fetch(slot, bytes_max, &mut found)?;
        for index in 0..found.len() {
            let at = self.at.clone();
            self.take(&found.get(index, &at.topic, at.partition), batch);
        }
        Ok(position)
    }
}

fn read_only<T>() -> Result<T> {
    Err(BrokerError::Fatal { what: "damaged", cause: "it is read only".to_owned() })
}

impl Broker for Damaged {
    fn reader(
        &self,
        from: &[(TopicPartition, u64)],
        isolation: Isolation,
    ) -> Result<Box<dyn Reader>> {
        let inner = self.inner.reader(from, isolation)?;
        let Some(slot) = from.iter().position(|(at, _)| *at == self.at) else {
            return Ok(inner);
        };
        let (damage, at, touched) = (self.damage, self.at.clone(), self.touched.clone());
        Ok(Box::new(DamagedReader {
            inner,
            slot,
            damage,
            at,
            from: self.from,
            touched,
            met: false,
            copy: None,
            behind: from[slot].1,
        }))
    }

    fn cluster_id(&self) -> Result<String> {
        self.inner.cluster_id()
    }

    fn offsets(&self, partitions: &[TopicPartition], spec: OffsetSpec) -> Result<Vec<u64>> {
        self.inner.offsets(partitions, spec)
    }

    fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<CommittedOffset>>> {
        self.inner.committed(group, partitions)
    }

    fn describe_topics(&self, names: &[&str]) -> Result<Vec<Option<TopicDescription>>> {
        self.inner.describe_topics(names)
    }

    fn consumer(&self, _: ConsumerOptions) -> Result<Box<dyn Consumer>> {
        read_only()
    }

    fn producer(&self, _: ProducerMode) -> Result<Box<dyn Producer>> {
        read_only()
    }

    fn appender(&self) -> Result<Box<dyn Appender>> {
        read_only()
    }

    fn create_topic(&self, _: &TopicDescription) -> Result<()> {
        read_only()
    }

    fn delete_group(&self, _: &str) -> Result<()> {
        read_only()
    }

    fn maintain(&self, _: Now) -> Result<()> {
        read_only()
    }
}
