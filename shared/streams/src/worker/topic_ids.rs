//! Whether the topics are the ones that what is known of them is about. One that was deleted and made
//! anew has the same name and other records, and its offsets begin anew: a position in the former
//! one would pass over what was never read.
//!
//! So their ids are kept beside their positions: in the store's checkpoint, and beside the group's
//! offsets. Where a cluster deletes a topic, what groups have committed of it goes too: offsets of
//! some inputs of a partition without those of others are the sign where no id is known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Worker;
use super::open::Known;
use crate::broker::{BrokerError, TopicPartition};
use crate::error::{Error, Result};
use crate::policy::made_anew;
use crate::store::{Checkpoint, Claim, StoreBatch, TopicIds};
use crate::task::Metadata;

impl Worker {
    /// Ids of the topics of which positions are kept.
    pub(super) fn topic_ids(&self) -> Result<TopicIds> {
        let topics = self.env.topology.topics_with_positions();
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        let mut ids = BTreeMap::new();
        for (topic, found) in topics.iter().zip(self.broker.identify_topics(&names)?) {
            let found = found.ok_or_else(|| BrokerError::Unavailable {
                what: "topics",
                cause: format!("{topic} is not there now"),
            })?;
            if !found.id.is_empty() {
                ids.insert(topic.clone(), found.id);
            }
        }
        Ok(Arc::new(ids))
    }

    /// Whether what the store and the group know is about the topics that there are.
    pub(super) fn check_ids(&self, known: &Known) -> Result<()> {
        let stored = known.checkpoint.iter().flat_map(|checkpoint| &*checkpoint.ids);
        let stored = stored.map(|(topic, id)| (topic, id.clone()));
        let committed = self.env.inputs.iter().zip(&known.group);
        let committed = committed.filter_map(|(topic, committed)| {
            let metadata = Metadata::parse(&committed.as_ref()?.metadata)?;
            Some((topic, metadata.topic_id?))
        });
        for (topic, former) in stored.chain(committed) {
            if let Some(id) = known.ids.get(topic).filter(|id| **id != former) {
                return Err(made_anew(topic, &former, id));
            }
        }
        Ok(())
    }

    /// Notes the ids beside the positions of a store that was written before they were known.
    pub(super) fn learn_ids(&self, partition: u32, claim: Claim, ids: &TopicIds) -> Result<()> {
        let Some(mut checkpoint) = self.env.store.checkpoint(partition)? else {
            return Ok(());
        };
        if checkpoint.ids == *ids {
            return Ok(());
        }
        checkpoint.ids = ids.clone();
        let mut batch = StoreBatch::default();
        batch.checkpoint(partition, checkpoint);
        batch.hold(partition, claim);
        self.env.store.apply(&batch)?;
        Ok(())
    }

    /// What it means that the offset of an input is gone while those of others are there, where it is
    /// not known to be the same topic nevertheless. `read` is the position that is known of it.
    pub(super) fn sign(&self, at: &TopicPartition, read: u64, by: KnownBy) -> Error {
        let (partition, group) = (at.partition, &self.group);
        let (knows, or_else) = match by {
            KnownBy::Name => ("", ""),
            KnownBy::Number => (
                ", as its rows tell by the number of the input",
                ". If it stands in the place of another input, and was never read, set an offset of \
                 it by that tool (--reset-offsets): `reset --skip-gap` takes it once",
            ),
        };
        let cause = format!(
            "partition {partition} was read up to offset {read}{knows}, and the group {group} has \
             offsets of the other inputs, but none of it: it was deleted and made anew, so that \
             what lies in it was never read. Nothing is passed over silently: `reset --anew \
             --output-prefix NEW` decides what there is, into empty topics. If only its offsets \
             were deleted, delete those of the whole group (kafka-consumer-groups.sh \
             --bootstrap-server HOST:PORT --delete --group {group}): it then goes on from its own \
             positions{or_else}"
        );
        Error::Topic { topic: at.topic.clone(), cause }
    }
}

/// How a position is known that is not the group's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KnownBy {
    /// A store has it beside the input's name.
    Name,
    /// Stamps have it, at the number that the input has now.
    Number,
}

impl Known {
    /// Notes which topics the positions of a restore are of.
    pub(super) fn name_backing(&self, checkpoint: &mut Checkpoint) {
        let backing: BTreeSet<&String> = self.backing.iter().map(|(topic, ..)| topic).collect();
        let named = self.ids.iter().filter(|(topic, _)| backing.contains(topic));
        let named = named.map(|(topic, id)| (topic.clone(), id.clone()));
        Arc::make_mut(&mut checkpoint.ids).extend(named);
    }
}
