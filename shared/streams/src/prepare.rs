//! Topics as a topology needs them: created where they are missing, checked where they are there.

use crate::broker::Broker;
use crate::error::{Error, Result};
use crate::policy::{self, Found, wider};
use crate::topology::{Layout, Topology};

/// Creates the topology's topics that are missing (with the partition count of those that exist,
/// else `partitions`), and checks the others.
///
/// # Errors
/// A topic that cannot serve, by name, and what mends it.
pub fn prepare_topics(broker: &dyn Broker, topology: &Topology, partitions: u32) -> Result<Layout> {
    let wanted = topology.topics(partitions);
    let names: Vec<&str> = wanted.iter().map(|t| t.name.as_str()).collect();
    let found = broker.describe_topics(&names)?;
    let is_dead = |name: &str| topology.dead_letters.as_deref() == Some(name);
    let mut count = None;
    for topic in found.iter().flatten().filter(|t| !is_dead(&t.name)) {
        match count {
            None => count = Some((topic.partitions, topic.name.clone())),
            Some((n, ref other)) if n != topic.partitions => {
                let cause = wider(topic.partitions, &format!("{other} has {n}"));
                return Err(Error::Topic { topic: topic.name.clone(), cause });
            }
            Some(_) => {}
        }
    }
    let count = count.map_or(partitions, |(n, _)| n);
    let there: Vec<_> = found.iter().flatten().collect();
    let there_names: Vec<&str> = there.iter().map(|t| t.name.as_str()).collect();
    let settings = broker.topic_settings(&there_names)?;
    let there = there.into_iter().zip(&settings);
    let there = there.map(|(topic, settings)| Found { topic, settings });
    policy::check(topology, &there.collect::<Vec<_>>())?;
    let mut dead_letter_partitions = count;
    for (wanted, found) in wanted.iter().zip(&found) {
        match found {
            Some(found) if is_dead(&found.name) => dead_letter_partitions = found.partitions,
            Some(_) => {}
            None => {
                tracing::info!(topic = %wanted.name, partitions = count, "creates topic");
                let mut topic = wanted.clone();
                topic.partitions = count;
                broker.create_topic(&topic)?;
            }
        }
    }
    Ok(Layout { partitions: count, dead_letter_partitions })
}
