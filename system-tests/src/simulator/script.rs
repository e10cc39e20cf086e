//! A crash at every step: a short script whose effects are numbered by the engine itself, played
//! once for each of them, and once for each pair of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bps_events::Topics;
use bps_streams::Outgoing;
use bps_streams::broker::Broker;
use bps_streams::partitioner::partition_of;
use bps_streams::prepare_topics;
use bps_streams::simulation::{Cluster, Effect, Fault, Plan};
use bps_streams::worker::WorkerConfig;

use super::cluster_run::ClusterRun;
use super::{BEGIN_MS, OUTSIDE, QUEUE_BYTES};

/// Two, so that something can lie in the wrong one.
const PARTITIONS: u32 = 2;
/// Everything must be decided within this many rounds.
const ROUNDS_MAX: u32 = 4_000;

/// Longer than a session (ms).
const AWAY_MS: u64 = 15_000;

/// What befalls an effect in turn: the process dies before it, after it, or goes on without
/// knowing that it happened.
pub const KINDS: [Fault; 3] = [Fault::CrashBefore, Fault::CrashAfter, Fault::Unacknowledged];

/// What is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// One process decides, loses power, restores, and decides again.
    Alone,
    /// A second process joins, takes its share, and leaves.
    HandOver,
    /// A second process joins, takes its share, and dies in an open transaction for longer than its
    /// session.
    TakeOver,
}

/// How a play went.
#[derive(Debug)]
pub struct Play {
    /// What is wrong, if anything.
    pub violation: Option<String>,
    /// The effects of the processes, in order: number 1 first.
    pub effects: Vec<&'static str>,
    /// Which of the planned faults were met.
    pub met: Vec<u64>,
}

/// Faults at given effects.
struct At {
    faults: BTreeMap<u64, Fault>,
    seen: Arc<Mutex<(Vec<&'static str>, Vec<u64>)>>,
}

impl Plan for At {
    fn fault(&mut self, effect: &Effect) -> Fault {
        // The last process is the one that judges the others.
        if effect.process > 1 {
            return Fault::None;
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.0.push(effect.name);
        let number = seen.0.len() as u64;
        let fault = self.faults.get(&number).copied().unwrap_or_default();
        if fault != Fault::None {
            seen.1.push(number);
        }
        fault
    }

    fn choose(&mut self, _: &'static str, _: u32) -> u32 {
        0
    }
}

/// Plays a script with these faults, by the number of the effect that they befall.
pub fn play(script: Script, faults: &[(u64, Fault)], configure: fn(&mut WorkerConfig)) -> Play {
    let seen = Arc::<Mutex<_>>::default();
    let plan = At { faults: faults.iter().copied().collect(), seen: seen.clone() };
    let cluster = Cluster::new(plan);
    let mut cluster_run =
        ClusterRun::new(cluster.clone(), BEGIN_MS, PARTITIONS, QUEUE_BYTES[0], configure);
    let (outside, _) = cluster.boot(OUTSIDE);
    prepare_topics(&*outside, cluster_run.topology(), PARTITIONS).unwrap();
    let violation = perform(script, &cluster, &mut cluster_run, &*outside).err();
    let (effects, met) = std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner));
    Play { violation, effects, met }
}

fn perform(
    script: Script,
    cluster: &Cluster,
    cluster_run: &mut ClusterRun,
    outside: &dyn Broker,
) -> Result<(), String> {
    let mut workload = Stall { broker: outside, topics: cluster_run.settings().topics.clone() };
    workload.restock("r-1", "item-1", 5);
    workload.purchase("p-1", "item-1", 2, false);
    settle(cluster_run, outside)?;
    match script {
        Script::Alone => {
            cluster_run.end(0, 20);
            cluster.lose_power(0, 1);
        }
        Script::HandOver => cluster_run.boot(1),
        Script::TakeOver => {
            cluster_run.boot(1);
            settle(cluster_run, outside)?;
            // It commits where it is the owner now.
            for item in 2..6 {
                workload.restock(&format!("r-0-{item}"), &format!("item-{item}"), 1);
            }
            settle(cluster_run, outside)?;
        }
    }
    // One anew, one in the wrong partition, one that is more than there is.
    workload.purchase("p-1", "item-1", 2, false);
    workload.purchase("p-2", "item-2", 1, true);
    workload.purchase("p-3", "item-1", 4, false);
    if script == Script::TakeOver {
        // A step of its two workers is half a commit.
        until(cluster_run, |cluster_run| {
            cluster_run.is_open(outside) || cluster_run.is_settled(outside)
        })?;
        cluster_run.end(1, AWAY_MS);
    }
    settle(cluster_run, outside)?;
    if script == Script::HandOver {
        workload.restock("r-2", "item-2", 1);
        cluster_run.scale_down(1);
        settle(cluster_run, outside)?;
    }
    cluster_run.heal();
    cluster_run.audit(outside, &[])
}

/// Lets everything be decided.
fn settle(cluster_run: &mut ClusterRun, outside: &dyn Broker) -> Result<(), String> {
    until(cluster_run, |cluster_run| cluster_run.is_settled(outside))
}

fn until(cluster_run: &mut ClusterRun, done: impl Fn(&ClusterRun) -> bool) -> Result<(), String> {
    for _ in 0..ROUNDS_MAX {
        cluster_run.rounds(1);
        if let Some(violation) = cluster_run.violation() {
            return Err(violation);
        }
        if done(cluster_run) {
            return Ok(());
        }
    }
    Err(format!("not settled within {ROUNDS_MAX} rounds"))
}

/// Writes the inputs.
struct Stall<'a> {
    broker: &'a dyn Broker,
    topics: Topics,
}

impl Stall<'_> {
    fn restock(&mut self, id: &str, item: &str, quantity: u64) {
        let value = format!(r#"{{"restockId":"{id}","itemId":"{item}","quantity":{quantity}}}"#);
        let topic = self.topics.items_added.clone();
        self.append(&topic, item, &value, false);
    }

    fn purchase(&mut self, id: &str, item: &str, quantity: u64, astray: bool) {
        let value = format!(
            r#"{{"purchaseId":"{id}","itemId":"{item}","quantity":{quantity},"purchasedBy":"b"}}"#
        );
        let topic = self.topics.purchase_created.clone();
        self.append(&topic, item, &value, astray);
    }

    fn append(&mut self, topic: &str, item: &str, value: &str, astray: bool) {
        let partition = partition_of(item.as_bytes(), PARTITIONS);
        let partition = if astray { (partition + 1) % PARTITIONS } else { partition };
        let (key, value) = (Some(item.as_bytes()), Some(value.as_bytes()));
        let record = Outgoing { topic, partition, timestamp: BEGIN_MS, key, value, headers: &[] };
        let written = |outcome: Result<u64, _>| assert!(outcome.is_ok());
        self.broker.appender().unwrap().append(record, Box::new(written)).unwrap();
    }
}
