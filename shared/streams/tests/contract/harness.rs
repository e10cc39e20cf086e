//! What the behaviours are written with: names of their own, time, and short ways to write and
//! to read that fail with a clear word instead of waiting for ever.

mod member;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::sync::{LazyLock, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bps_streams::Outgoing;
use bps_streams::broker::{
    Appender, Broker, BrokerError, CleanupPolicy, CommitStatus, CommittedOffset, Isolation,
    Membership, Now, OffsetCommit, OffsetSpec, Producer, ProducerMode, TopicDescription,
    TopicPartition,
};
use bps_streams::record::Batch;

pub(crate) use self::member::{Member, Writer};

/// How long anything may take before a row fails.
const DEADLINE: Duration = Duration::from_secs(15);
/// One wait for records or events.
pub(crate) const STEP: Duration = Duration::from_millis(20);
/// A member's session; none of the rows waits for its end.
pub(crate) const SESSION_MS: u64 = 6_000;
pub(crate) const COMMITTED: Isolation = Isolation::ReadCommitted;
pub(crate) const UNCOMMITTED: Isolation = Isolation::ReadUncommitted;

/// Names that no other row and no other run has.
pub(crate) struct Fresh {
    prefix: String,
}

impl Fresh {
    pub(crate) fn named(row: &str) -> Fresh {
        static RUN: LazyLock<u64> = LazyLock::new(|| wall_ms() as u64);
        static ROWS: AtomicU64 = AtomicU64::new(0);
        let number = ROWS.fetch_add(1, Ordering::Relaxed);
        Fresh { prefix: format!("{row}-{:x}-{number}", *RUN) }
    }

    /// For a topic, a group, an instance or a transactional id.
    pub(crate) fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }
}

fn wall_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64
}

/// This moment.
pub(crate) fn now() -> Now {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    let monotonic_ms = ORIGIN.get_or_init(Instant::now).elapsed().as_millis() as u64;
    Now { monotonic_ms, wall_ms: wall_ms() }
}

/// Repeats `step` until it gives something.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut step: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = step() {
            return found;
        }
        assert!(Instant::now() < end, "not within {DEADLINE:?}: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Creates a topic whose records are kept for ever.
pub(crate) fn topic(broker: &dyn Broker, fresh: &Fresh, name: &str, partitions: u32) -> String {
    topic_with(broker, fresh, name, partitions, CleanupPolicy::Delete { retention_ms: None }, None)
}

pub(crate) fn topic_with(
    broker: &dyn Broker,
    fresh: &Fresh,
    name: &str,
    partitions: u32,
    cleanup: CleanupPolicy,
    future_max_ms: Option<u64>,
) -> String {
    let name = fresh.name(name);
    let topic = TopicDescription { name: name.clone(), partitions, cleanup, future_max_ms };
    broker.create_topic(&topic).expect("a new topic");
    name
}

pub(crate) fn at(topic: &str, partition: u32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

/// A record with this text as key and value, stamped now.
pub(crate) fn record<'a>(topic: &'a str, partition: u32, text: &'a str) -> Outgoing<'a> {
    let text = Some(text.as_bytes());
    Outgoing { topic, partition, timestamp: wall_ms(), key: text, value: text, headers: &[] }
}

/// Writes one record and waits for its outcome.
pub(crate) fn append(appender: &dyn Appender, record: Outgoing<'_>) -> Result<u64, BrokerError> {
    let (sender, receiver) = mpsc::channel();
    appender.append(record, Box::new(move |outcome| sender.send(outcome).expect("a listener")))?;
    receiver.recv_timeout(DEADLINE).expect("an ack")
}

/// Writes these records, of which none may be refused except because a buffer is full: then the next
/// outcomes make room. Returns their offsets in this order.
pub(crate) fn write(broker: &dyn Broker, records: &[Outgoing<'_>]) -> Vec<u64> {
    let appender = broker.appender().expect("an appender");
    let (sender, receiver) = mpsc::channel();
    let mut offsets = vec![None; records.len()];
    let mut take_one = || {
        let (index, outcome): (usize, Result<u64, BrokerError>) =
            receiver.recv_timeout(DEADLINE).expect("an ack");
        let former = offsets[index].replace(outcome.expect("acknowledged"));
        assert_eq!(former, None, "acknowledged twice");
    };
    let mut waiting = 0;
    for (index, record) in records.iter().enumerate() {
        loop {
            let sender = sender.clone();
            let ack = move |outcome| sender.send((index, outcome)).expect("a listener");
            match appender.append(*record, Box::new(ack)) {
                Err(BrokerError::Unavailable { .. }) if waiting > 0 => {
                    take_one();
                    waiting -= 1;
                }
                taken => break taken.expect("taken"),
            }
        }
        waiting += 1;
    }
    (0..waiting).for_each(|_| take_one());
    offsets.into_iter().map(|o| o.expect("each once")).collect()
}

/// Writes these texts to one partition.
pub(crate) fn write_texts(broker: &dyn Broker, to: &TopicPartition, texts: &[&str]) -> Vec<u64> {
    let records: Vec<_> = texts.iter().map(|t| record(&to.topic, to.partition, t)).collect();
    write(broker, &records)
}

/// A record as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) offset: u64,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Seen {
    pub(crate) fn text(&self) -> String {
        let value = self.value.as_ref().expect("a value");
        String::from_utf8(value.clone()).expect("a text")
    }
}

/// Takes the records out of a batch.
pub(crate) fn take(batch: &mut Batch) -> Vec<Seen> {
    let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    let seen = (0..batch.len()).map(|index| {
        let record = batch.get(index, "", 0);
        Seen {
            offset: record.offset,
            timestamp: record.timestamp,
            key: owned(record.key),
            value: owned(record.value),
            headers: record.headers.iter().map(|(n, v)| (n.to_owned(), owned(v))).collect(),
        }
    });
    let seen = seen.collect();
    batch.clear();
    seen
}

pub(crate) fn texts(seen: &[Seen]) -> Vec<String> {
    seen.iter().map(Seen::text).collect()
}

/// End of one partition.
pub(crate) fn end(broker: &dyn Broker, at: &TopicPartition, isolation: Isolation) -> u64 {
    let ends = broker.offsets(std::slice::from_ref(at), OffsetSpec::End(isolation));
    ends.expect("an end")[0]
}

/// Everything from `from` to the end as it is now.
#[track_caller]
pub(crate) fn read(
    broker: &dyn Broker,
    from: &TopicPartition,
    offset: u64,
    isolation: Isolation,
) -> Vec<Seen> {
    let end = end(broker, from, isolation);
    let mut reader = broker.reader(&[(from.clone(), offset)], isolation).expect("a reader");
    let (mut batch, mut seen) = (Batch::default(), Vec::new());
    until("the end is read", || {
        reader.wait(STEP).expect("a wait");
        let position = reader.fetch(0, 1 << 20, &mut batch).expect("a fetch");
        seen.extend(take(&mut batch));
        (position >= end).then_some(())
    });
    seen
}

/// The texts of a partition, from its start, as a read_committed reader sees them. A commit may
/// return before its records are shown: they are waited for as long as fewer are there.
#[track_caller]
pub(crate) fn shown(broker: &dyn Broker, from: &TopicPartition, count: usize) -> Vec<String> {
    until("the records are shown", || {
        let seen = texts(&read(broker, from, 0, COMMITTED));
        (seen.len() >= count).then_some(seen)
    })
}

/// A producer that can write.
#[track_caller]
pub(crate) fn producer(broker: &dyn Broker, id: &str) -> Box<dyn Producer> {
    let mode = ProducerMode::Transactional { id: id.to_owned() };
    let mut producer = broker.producer(mode).expect("a producer");
    until("the producer is ready", || producer.poll_ready().expect("no failure").then_some(()));
    producer
}

/// The outcome of a commit.
#[track_caller]
pub(crate) fn commit(
    producer: &mut dyn Producer,
    offsets: &[OffsetCommit],
    membership: &Membership,
    backing: &[TopicPartition],
) -> CommitStatus {
    if let Err(status) = producer.start_commit(offsets, membership, backing) {
        return status;
    }
    until("the commit is decided", || match producer.poll_commit() {
        CommitStatus::Pending => None,
        status => Some(status),
    })
}

/// The ends of a commit that must hold.
#[track_caller]
pub(crate) fn ends_of(status: CommitStatus) -> Vec<u64> {
    match status {
        CommitStatus::Committed { ends } => ends,
        status => panic!("not committed: {status:?}"),
    }
}

pub(crate) fn offset_commit(at: &TopicPartition, offset: u64, metadata: &str) -> OffsetCommit {
    let committed = CommittedOffset { offset, metadata: metadata.to_owned() };
    OffsetCommit { partition: at.clone(), committed }
}

/// What a group has committed for one partition: the offset and what stands beside it.
pub(crate) fn committed(
    broker: &dyn Broker,
    group: &str,
    at: &TopicPartition,
) -> Option<(u64, String)> {
    let answer = broker.committed(group, std::slice::from_ref(at)).expect("an answer");
    assert_eq!(answer.len(), 1);
    answer.into_iter().next().flatten().map(|c| (c.offset, c.metadata))
}

/// Says that a row did not run, past the test's captured output: that is never silent.
pub(crate) fn cannot_run(row: &str, broker: &str, why: &str) {
    use std::io::Write as _;
    let line = format!("contract row {row} did not run on {broker}: {why}\n");
    drop(std::io::stderr().write_all(line.as_bytes()));
}
