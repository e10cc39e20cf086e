//! A topology that talks to itself: a token goes from key to key, over all partitions, by a keyed sink
//! whose topic it reads. Whatever fails, each token takes just as many steps as it was given.

use std::collections::BTreeMap;
use std::sync::Arc;

use bps_streams::broker::Broker;
use bps_streams::partitioner::partition_of;
use bps_streams::{
    Context, DeadLetter, Keyed, Message, Node, Outgoing, ProcessResult, Processor, Record, STAMP,
    Sink, SinkId, Source, Stamp, Store, StoreId, Topology, TopologyError,
};

use super::audit::replay;
use super::cluster_run::ClusterRun;
use super::random::Random;
use super::{Inputs, Outcome, PARTITIONS, Scenario, run};
use crate::reading::each_committed;

/// Where tokens begin.
pub const BEGUN: &str = "begun";
/// Where they go on.
pub const STEPS: &str = "steps";
/// Each step that was taken, in the partition where it was: so a replay knows the order of those that
/// come by two topics.
pub const TAKEN: &str = "taken";
/// The store: how many steps were taken at each key.
pub const SEEN: &str = "seen";
/// Its changelog.
pub const SEEN_TOPIC: &str = "seen-changelog";
/// Keys that tokens go over.
const KEYS: u64 = 12;

/// A token, and how many steps it has left.
struct Token<'a> {
    key: &'a [u8],
    name: u64,
    left: u64,
}

impl Keyed for Token<'_> {
    fn key(&self) -> &[u8] {
        self.key
    }
}

/// A value is `name left`.
fn read<'a>(record: &Record<'a>) -> Result<Token<'a>, DeadLetter> {
    let token = || {
        let (name, left) = std::str::from_utf8(record.value?).ok()?.split_once(' ')?;
        Some(Token { key: record.key?, name: name.parse().ok()?, left: left.parse().ok()? })
    };
    token().ok_or_else(|| DeadLetter::new("NO_TOKEN", "it is no token"))
}

struct Relay {
    seen: StoreId,
    steps: SinkId,
    taken: SinkId,
}

impl Processor for Relay {
    type Input<'a> = Token<'a>;

    fn process(&mut self, token: Token<'_>, context: &mut Context<'_>) -> ProcessResult {
        let Token { key, name, left } = token;
        let row = context.get(self.seen, key)?;
        let before = row.and_then(|row| std::str::from_utf8(row.value).ok()?.parse::<u64>().ok());
        let seen = (before.unwrap_or(0) + 1).to_string();
        context.put(self.seen, key, seen.as_bytes())?;
        context.send(self.taken, Message::new(key, seen.as_bytes()))?;
        if let Some(left) = left.checked_sub(1) {
            let (key, value) = (key_of(name, left), format!("{name} {left}"));
            context.send(self.steps, Message::new(key.as_bytes(), value.as_bytes()))?;
        }
        Ok(())
    }
}

/// Where a token is that has so many steps left.
fn key_of(name: u64, left: u64) -> String {
    format!("key-{}", (name * 5 + left * 7) % KEYS)
}

/// The topology.
///
/// # Errors
/// Never: it is wired rightly.
pub fn topology() -> Result<Topology, TopologyError> {
    let relay = Node::new("relay", |wiring| Relay {
        seen: wiring.store(SEEN),
        steps: wiring.sink("steps"),
        taken: wiring.sink("taken"),
    });
    Topology::named("relay")
        .store(Store::new(SEEN, SEEN_TOPIC))
        .sink(Sink::new("steps", STEPS).keyed())
        .sink(Sink::new("taken", TAKEN))
        .processor(
            relay.reads(Source::new("begun", BEGUN, read)).reads(Source::new("steps", STEPS, read)),
        )
        .build()
}

/// The scenario of a seed.
pub fn scenario(seed: u64) -> Scenario {
    let steps = 100 + Random::new(!seed).below(900) as u32;
    Scenario { steps, play, ..Scenario::new(seed) }
}

fn play(scenario: &Scenario) -> Outcome {
    run(scenario, topology().unwrap(), |broker| Starter { broker, begun: 0 })
}

/// Sends tokens off. What is not acknowledged may be there or not: the topic says.
struct Starter {
    broker: Arc<dyn Broker>,
    begun: u64,
}

impl Inputs for Starter {
    fn reconnect(&mut self, broker: Arc<dyn Broker>) {
        self.broker = broker;
    }

    fn act(&mut self, random: &mut Random, wall_ms: i64) {
        if self.begun > 40 {
            return;
        }
        self.begun += 1;
        let (name, left) = (self.begun, random.below(9));
        let (key, value) = (key_of(name, left), format!("{name} {left}"));
        let record = Outgoing {
            topic: BEGUN,
            partition: partition_of(key.as_bytes(), PARTITIONS),
            timestamp: wall_ms,
            key: Some(key.as_bytes()),
            value: Some(value.as_bytes()),
            headers: &[],
        };
        drop(self.broker.appender().unwrap().append(record, Box::new(drop)));
    }

    fn settle(&mut self) -> bool {
        true
    }

    fn judge(&self, cluster_run: &mut ClusterRun, broker: &dyn Broker) -> Result<(), String> {
        // Each token that was begun, so often as it lies there.
        let (mut wanted, mut seen) = (BTreeMap::new(), BTreeMap::new());
        for (_, value) in committed(broker, BEGUN)? {
            let (name, left) = token(&value)?;
            for left in 0..left {
                *wanted.entry((name, left)).or_insert(0) += 1;
            }
            for left in 0..=left {
                *seen.entry(key_of(name, left)).or_insert(0) += 1;
            }
        }
        let mut found = BTreeMap::new();
        for (_, value) in committed(broker, STEPS)? {
            *found.entry(token(&value)?).or_insert(0) += 1;
        }
        if found != wanted {
            return Err(format!("steps: wanted {wanted:?}, there are {found:?}"));
        }
        let mut rows: BTreeMap<String, u64> = BTreeMap::new();
        for (partition, owner) in cluster_run.owners() {
            for (_, key, row) in cluster_run.cluster.rows(owner, 1, partition) {
                let count = String::from_utf8_lossy(&row[16..]).parse().unwrap_or(0);
                rows.insert(String::from_utf8_lossy(&key).into_owned(), count);
            }
        }
        if rows != seen {
            return Err(format!("rows: wanted {seen:?}, there are {rows:?}"));
        }
        cluster_run.audit_rows()?;
        replay(broker, topology().unwrap())
    }
}

fn token(value: &str) -> Result<(u64, u64), String> {
    let parse = || {
        let (name, left) = value.split_once(' ')?;
        Some((name.parse().ok()?, left.parse().ok()?))
    };
    parse().ok_or_else(|| format!("{value:?} is no token"))
}

/// Key and value of all that is committed on a topic; what a task wrote lies where its key belongs, and
/// says which task that was.
fn committed(broker: &dyn Broker, topic: &str) -> Result<Vec<(String, String)>, String> {
    let (mut found, mut wrong) = (Vec::new(), None);
    for partition in 0..PARTITIONS {
        each_committed(broker, topic, partition, |record| {
            let (key, value) = (record.key.unwrap_or_default(), record.value.unwrap_or_default());
            let stamp = record.headers.get(STAMP).and_then(Stamp::decode);
            let is_right = match topic == STEPS {
                true => stamp.is_some_and(|stamp| stamp.writer.is_some()),
                false => stamp.is_none(),
            };
            if partition_of(key, PARTITIONS) != partition || !is_right {
                wrong = Some(format!("{topic}-{partition}: {record:?} lies wrong"));
            }
            let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
            found.push((text(key), text(value)));
        });
    }
    wrong.map_or(Ok(found), Err)
}
