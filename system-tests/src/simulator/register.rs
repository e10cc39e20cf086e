//! A topology that deletes rows, as the product's does not yet: keys are put and deleted, over and
//! over. In the end the rows must be those that the inputs tell of, in the store and rebuilt.

use std::collections::BTreeMap;
use std::sync::Arc;

use bps_streams::broker::Broker;
use bps_streams::topology::as_it_is;
use bps_streams::{
    Context, Node, Outgoing, ProcessResult, Processor, Record, Source, Store, StoreId, Topology,
    TopologyError,
};

use super::audit::replay;
use super::cluster_run::ClusterRun;
use super::random::Random;
use super::{Inputs, Outcome, PARTITIONS, Scenario, run};
use crate::reading::each_committed;

/// The topic that is read: a key and what it is put to, or no value, which deletes it.
pub const CHANGES: &str = "changes";
/// The store.
pub const ROWS: &str = "rows";
/// Its changelog.
pub const CHANGELOG: &str = "rows-changelog";
/// Keys of each partition.
const KEYS: u64 = 3;
/// Bytes in front of a stored row's value: sequence and time.
const ROW_HEAD: usize = 16;

/// Puts and deletes rows.
struct Register(StoreId);

impl Processor for Register {
    type Input<'a> = Record<'a>;

    fn process(&mut self, record: Record<'_>, context: &mut Context<'_>) -> ProcessResult {
        let key = record.key.unwrap_or_default();
        match record.value {
            Some(value) => drop(context.put(self.0, key, value)?),
            None => context.delete(self.0, key)?,
        }
        Ok(())
    }
}

/// The topology.
///
/// # Errors
/// Never: it is wired rightly.
pub fn topology() -> Result<Topology, TopologyError> {
    let register = Node::new("register", |wiring| Register(wiring.store(ROWS)));
    Topology::named("register")
        .store(Store::new(ROWS, CHANGELOG))
        .processor(register.reads(Source::new("changes", CHANGES, as_it_is)))
        .build()
}

/// The scenario of a seed.
pub fn scenario(seed: u64) -> Scenario {
    // Short: what matters happens between one restart and the next.
    let steps = 100 + Random::new(!seed).below(900) as u32;
    Scenario { steps, play, ..Scenario::new(seed) }
}

fn play(scenario: &Scenario) -> Outcome {
    let writer = |broker| Writer { broker, written: 0 };
    run(scenario, topology().unwrap(), writer)
}

/// Puts and deletes at random. What is not acknowledged may be there or not: the topic says.
struct Writer {
    broker: Arc<dyn Broker>,
    written: u64,
}

impl Inputs for Writer {
    fn reconnect(&mut self, broker: Arc<dyn Broker>) {
        self.broker = broker;
    }

    fn act(&mut self, random: &mut Random, wall_ms: i64) {
        self.written += 1;
        let key = key_of(random.below(u64::from(PARTITIONS)) as u32, random.below(KEYS));
        let value = self.written.to_string();
        let record = Outgoing {
            topic: CHANGES,
            partition: home_of(&key),
            timestamp: wall_ms,
            key: Some(key.as_bytes()),
            value: (!random.chance(2, 5)).then_some(value.as_bytes()),
            headers: &[],
        };
        drop(self.broker.appender().unwrap().append(record, Box::new(drop)));
    }

    fn settle(&mut self) -> bool {
        true
    }

    fn judge(&self, cluster_run: &mut ClusterRun, broker: &dyn Broker) -> Result<(), String> {
        let owners = cluster_run.owners();
        for (partition, owner) in &owners {
            let wanted = wanted(broker, *partition);
            let rows = cluster_run.cluster.rows(*owner, 1, *partition);
            let value = |row: Vec<u8>| String::from_utf8(row[ROW_HEAD..].to_vec()).unwrap();
            let sequence = |row: &[u8]| u64::from_le_bytes(*row.first_chunk().unwrap());
            let found: BTreeMap<Vec<u8>, (u64, String)> =
                rows.into_iter().map(|(_, key, row)| (key, (sequence(&row), value(row)))).collect();
            if found != wanted {
                return Err(format!(
                    "partition {partition}: wanted {wanted:?}, there is {found:?}"
                ));
            }
        }
        cluster_run.audit_rows()?;
        replay(broker, topology().unwrap())
    }
}

/// The rows that the inputs of a partition tell of: how often each was put since it was last not
/// there, and its value.
fn wanted(broker: &dyn Broker, partition: u32) -> BTreeMap<Vec<u8>, (u64, String)> {
    let mut rows: BTreeMap<Vec<u8>, (u64, String)> = BTreeMap::new();
    each_committed(broker, CHANGES, partition, |record| {
        let key = record.key.unwrap_or_default();
        match record.value {
            Some(value) => {
                let row = rows.entry(key.to_vec()).or_default();
                *row = (row.0 + 1, String::from_utf8(value.to_vec()).unwrap());
            }
            None => drop(rows.remove(key)),
        }
    });
    rows
}

fn home_of(key: &str) -> u32 {
    bps_streams::partitioner::partition_of(key.as_bytes(), PARTITIONS)
}

/// A key of a partition.
fn key_of(partition: u32, number: u64) -> String {
    let mut keys = (0_u64..).map(|n| format!("key-{n}")).filter(|key| home_of(key) == partition);
    keys.nth(number as usize).unwrap_or_default()
}
