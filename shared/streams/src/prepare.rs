//! Topics as a topology needs them: created where they are missing, checked where they are there.

use crate::broker::{Broker, CleanupPolicy, TopicDescription};
use crate::error::{Error, Result};
use crate::topology::{Backing, Topology};

/// What the cluster holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// Partitions of all topics but the dead letters'.
    pub partitions: u32,
    /// Partitions of the topic of dead letters.
    pub dead_letter_partitions: u32,
}

/// Creates the topology's topics that are missing (with the partition count of those that exist,
/// else `partitions`), and checks the others.
///
/// # Errors
/// A topic that cannot serve, by name, and what mends it.
pub fn prepare_topics(
    broker: &dyn Broker,
    topology: &Topology,
    partitions: u32,
) -> Result<Prepared> {
    let wanted = topology.topics(partitions);
    let names: Vec<&str> = wanted.iter().map(|t| t.name.as_str()).collect();
    let found = broker.describe_topics(&names)?;
    let is_dead = |name: &str| topology.dead_letters.as_deref() == Some(name);
    let mut count = None;
    for topic in found.iter().flatten().filter(|t| !is_dead(&t.name)) {
        match count {
            None => count = Some((topic.partitions, topic.name.clone())),
            Some((n, ref other)) if n != topic.partitions => {
                let cause = format!(
                    "it has {} partitions, {other} has {n}: all topics of {} must have the same \
                     number; recreate the one that holds nothing yet",
                    topic.partitions, topology.name
                );
                return Err(Error::Topic { topic: topic.name.clone(), cause });
            }
            Some(_) => {}
        }
    }
    let count = count.map_or(partitions, |(n, _)| n);
    let mut dead_letter_partitions = count;
    for (wanted, found) in wanted.iter().zip(&found) {
        match found {
            Some(found) => {
                check_policy(topology, found)?;
                if is_dead(&found.name) {
                    dead_letter_partitions = found.partitions;
                }
            }
            None => {
                tracing::info!(topic = %wanted.name, partitions = count, "creates topic");
                let mut topic = wanted.clone();
                topic.partitions = count;
                broker.create_topic(&topic)?;
            }
        }
    }
    Ok(Prepared { partitions: count, dead_letter_partitions })
}

fn check_policy(topology: &Topology, found: &TopicDescription) -> Result<()> {
    let topic = &found.name;
    let changelog = topology
        .stores
        .iter()
        .any(|s| matches!(&s.backing, Backing::Changelog { topic: t, .. } if t == topic));
    match (&found.cleanup, changelog) {
        (CleanupPolicy::Compact, true) => Ok(()),
        (policy, true) => {
            let cause = format!(
                "its cleanup policy is {policy}, but it is a changelog: set cleanup.policy=compact"
            );
            Err(Error::Topic { topic: topic.clone(), cause })
        }
        (CleanupPolicy::Compact, false) => {
            let cause = "its cleanup policy is compact, but every record of it counts: set \
                         cleanup.policy=delete and retention.ms=-1";
            Err(Error::Topic { topic: topic.clone(), cause: cause.to_owned() })
        }
        (CleanupPolicy::Delete { retention_ms: Some(ms) }, false) => {
            tracing::warn!(
                "topic {topic} keeps its records for {ms} ms only: decisions cannot be replayed \
                 after that. To keep them: kafka-configs.sh --bootstrap-server HOST:PORT --alter \
                 --entity-type topics --entity-name {topic} --add-config retention.ms=-1"
            );
            Ok(())
        }
        (CleanupPolicy::Delete { retention_ms: None }, false) => Ok(()),
    }
}
