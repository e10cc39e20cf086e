//! Runs a topology with no broker: the very tasks that a worker runs, on stores in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::broker::{BrokerError, Now};
use crate::due::TICK_SPAN_MAX;
use crate::error::{Error, Result};
use crate::partitioner::partition_of;

use crate::record::{Batch, Header, Outgoing};
use crate::store::memory::MemoryStore;
use crate::store::{Row, StoreBatch};
use crate::task::{Output, Progress, Task, TaskEnv};
use crate::topology::{Layout, Topology};

/// A record that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Its partition.
    pub partition: u32,
    /// Its offset.
    pub offset: u64,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// Key.
    pub key: Option<Vec<u8>>,
    /// Value.
    pub value: Option<Vec<u8>>,
    /// Headers, in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Read {
    /// The value as text; empty where it is none.
    pub fn text(&self) -> &str {
        self.value.as_deref().and_then(|v| std::str::from_utf8(v).ok()).unwrap_or_default()
    }

    /// The value of the last header of this name.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().rfind(|(n, _)| n == name).and_then(|(_, v)| v.as_deref())
    }
}

#[derive(Default)]
struct Collected {
    topics: BTreeMap<String, Vec<Read>>,
    ends: BTreeMap<(String, u32), u64>,
}

impl Output for Collected {
    fn send(&mut self, record: Outgoing<'_>) -> Result<(), BrokerError> {
        let end = self.ends.entry((record.topic.to_owned(), record.partition)).or_default();
        let header =
            |(name, value): &(&str, Option<&[u8]>)| ((*name).to_owned(), value.map(<[u8]>::to_vec));
        let read = Read {
            partition: record.partition,
            offset: *end,
            timestamp: record.timestamp,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record.headers.iter().map(header).collect(),
        };
        *end += 1;
        self.topics.entry(record.topic.to_owned()).or_default().push(read);
        Ok(())
    }
}

/// A topology under test: [`TestDriver::send`] what comes in, [`TestDriver::read`] what comes
/// out. Each record is decided before the next one is sent; what is written to a topic that is read,
/// moved records among it, comes in as on a broker.
pub struct TestDriver {
    env: Arc<TaskEnv>,
    tasks: Vec<Task>,
    out: Collected,
    read: BTreeMap<String, usize>,
    /// How many records of those that were written to an input have come in.
    delivered: BTreeMap<usize, usize>,
    counters: BTreeMap<&'static str, u64>,
    now: Now,
    asked: u64,
}

/// Partitions of every topic, unless said otherwise.
const PARTITIONS: u32 = 4;

impl TestDriver {
    /// A driver with four partitions, whose clock stands at the largest possible time.
    pub fn new(topology: Topology) -> TestDriver {
        Self::with_partitions(topology, PARTITIONS)
    }

    /// As [`TestDriver::new`], with this many partitions (at least one).
    pub fn with_partitions(topology: Topology, partitions: u32) -> TestDriver {
        let count = partitions.max(1);
        let topics = Layout { partitions: count, dead_letter_partitions: count };
        let store = Arc::new(MemoryStore::default());
        let env = Arc::new(TaskEnv::new(Arc::new(topology), store, topics));
        let begin = Progress { positions: vec![0; env.inputs.len()], ..Progress::default() };
        let tasks = (0..env.partitions).map(|p| Task::new(env.clone(), p, 1, begin.clone()));
        TestDriver {
            tasks: tasks.collect(),
            out: Collected::default(),
            read: BTreeMap::new(),
            delivered: BTreeMap::new(),
            counters: BTreeMap::new(),
            now: Now { monotonic_ms: 0, wall_ms: i64::MAX },
            asked: 0,
            env,
        }
    }

    /// Sets the clock that records from the future are measured by (ms since 1970).
    pub fn set_clock(&mut self, wall_ms: i64) {
        self.now.wall_ms = wall_ms;
    }

    /// Appends a record to the partition of its key and lets everything be decided.
    ///
    /// # Errors
    /// As a running task.
    pub fn send(&mut self, topic: &str, key: &[u8], value: &[u8], at: i64) -> Result<()> {
        let partition = partition_of(key, self.env.partitions);
        self.send_to(topic, partition, Some(key), Some(value), at)
    }

    /// As [`TestDriver::send`], to a partition of the caller's choice.
    ///
    /// # Errors
    /// As [`TestDriver::send`]; and when the topology does not read the topic.
    pub fn send_to(
        &mut self,
        topic: &str,
        partition: u32,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        at: i64,
    ) -> Result<()> {
        self.append(topic, partition, key, value, at)?;
        self.run()
    }

    /// Appends a record without deciding anything: for tests of the order between inputs.
    ///
    /// # Errors
    /// When the topology does not read the topic.
    pub fn append(
        &mut self,
        topic: &str,
        partition: u32,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        at: i64,
    ) -> Result<()> {
        self.append_with_headers(topic, partition, key, value, &[], at)
    }

    /// As [`TestDriver::append`], with headers.
    ///
    /// # Errors
    /// As [`TestDriver::append`].
    pub fn append_with_headers(
        &mut self,
        topic: &str,
        partition: u32,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
        at: i64,
    ) -> Result<()> {
        let unknown = || BrokerError::Fatal {
            what: "send",
            cause: format!("the topology does not read {topic}"),
        };
        let input = self.env.inputs.iter().position(|t| t == topic).ok_or_else(unknown)?;
        self.push(input, partition, |offset, batch| {
            batch.push(offset, at, key, value, headers.iter().copied());
        });
        Ok(())
    }

    fn push(&mut self, input: usize, partition: u32, add: impl FnOnce(u64, &mut Batch)) {
        let queue = &mut self.tasks[partition as usize].queues[input];
        let offset = queue.fetched();
        let mut batch = Batch::default();
        add(offset, &mut batch);
        queue.push(batch, offset + 1, self.asked);
    }

    /// Decides everything that was appended, and what comes of it.
    ///
    /// # Errors
    /// As a running task.
    pub fn run(&mut self) -> Result<()> {
        loop {
            self.asked += 1;
            let mut worked = false;
            for task in &mut self.tasks {
                for queue in &mut task.queues {
                    queue.answer(self.asked, queue.fetched());
                }
                task.hear_ends();
                while task.take_next(self.now, &mut self.out)? {
                    worked = true;
                }
            }
            if !worked {
                return Ok(());
            }
            self.commit()?;
            self.deliver();
        }
    }

    /// Lets the clock come to this time (ms since 1970) in every partition, by ticks, and decides what comes
    /// of it. Time goes on in no other way than by this and by records.
    ///
    /// # Errors
    /// As a running task; and when the topology has no ticks.
    pub fn advance(&mut self, to: u64) -> Result<()> {
        let none = || BrokerError::Fatal {
            what: "advance",
            cause: "the topology has no ticks".to_owned(),
        };
        let input = self.env.topology.tick_input().ok_or_else(none)?;
        let clocks = self.tasks.iter().map(|task| task.state.progress.clocks.due_ms);
        let mut time = clocks.max().unwrap_or(0);
        // The running clock believes no longer steps.
        let step = TICK_SPAN_MAX.as_millis() as u64;
        loop {
            let ticks: Vec<String> =
                self.tasks.iter().map(|task| task.tick_at(time).write()).collect();
            for (partition, tick) in ticks.iter().enumerate() {
                self.push(input, partition as u32, |offset, batch| {
                    batch.push(offset, time as i64, None, Some(tick.as_bytes()), []);
                });
            }
            self.run()?;
            if time >= to {
                return Ok(());
            }
            time = match self.tasks.iter().any(Task::waits_for_running) {
                true => to.min(time + step),
                false => to,
            };
        }
    }

    fn commit(&mut self) -> Result<()> {
        for task in self.tasks.iter_mut().filter(|t| t.pending > 0) {
            task.write_changelogs(&mut self.out)?;
            drop(task.offsets("test-driver"));
            let mut batch = StoreBatch::default();
            task.stage(Vec::new(), &mut batch);
            self.env.store.apply(&batch)?;
            task.state.add_counters(&mut self.counters);
            task.committed();
        }
        Ok(())
    }

    /// What was written to an input comes in: what was moved, and what a loop sends.
    fn deliver(&mut self) {
        for (input, topic) in self.env.inputs.clone().into_iter().enumerate() {
            let written = self.out.topics.get(&topic).cloned().unwrap_or_default();
            let from = self.delivered.insert(input, written.len()).unwrap_or(0);
            for record in &written[from..] {
                self.push(input, record.partition, |offset, batch| {
                    let headers = record.headers.iter().map(|(n, v)| (n.as_str(), v.as_deref()));
                    let (key, value) = (record.key.as_deref(), record.value.as_deref());
                    batch.push(offset, record.timestamp, key, value, headers);
                });
            }
        }
    }

    /// The records written to `topic` since the last read of it, in the order of writing.
    pub fn read(&mut self, topic: &str) -> Vec<Read> {
        let written = self.out.topics.get(topic).map_or(&[][..], Vec::as_slice);
        let from = self.read.insert(topic.to_owned(), written.len()).unwrap_or(0);
        written[from..].to_vec()
    }

    /// A committed row: its sequence and value.
    ///
    /// # Errors
    /// When the topology has no store of this name.
    pub fn row(&self, store: &str, key: &[u8]) -> Result<Option<(u64, Vec<u8>)>> {
        let unknown = || {
            Error::Broker(BrokerError::Fatal {
                what: "row",
                cause: format!("the topology has no store {store}"),
            })
        };
        let table = self.env.topology.store_index(store).ok_or_else(unknown)?;
        let mut row = Vec::new();
        for partition in 0..self.env.partitions {
            if self.env.store.get(table, partition, key, &mut row)? {
                return Ok(Row::decode(&row).ok().map(|row| (row.sequence, row.value.to_vec())));
            }
        }
        Ok(None)
    }

    /// What the processors counted under this name.
    pub fn counted(&self, name: &str) -> u64 {
        self.counters.get(name).copied().unwrap_or(0)
    }
}
