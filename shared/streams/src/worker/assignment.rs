//! What was assigned, and what becomes of an assignment that lacks an input.

use std::collections::BTreeMap;

use super::open::Assigned;
use super::standstill::Standstill;
use super::{Worker, consumer_options};
use crate::broker::{BrokerError, Now, TopicPartition};
use crate::error::Result;

/// How long an assignment may lack an input before it is taken for the work of another assignor.
const INCOMPLETE_MS_MAX: u64 = 30_000;
/// And before it is taken for one of before, with a member that is gone (decision 0038).
const OUTDATED_MS: u64 = 10_000;

impl Worker {
    /// Partition numbers of the assignment; every input must have each of them.
    pub(super) fn co_partitions(&self, partitions: &[TopicPartition]) -> Result<Vec<u32>, String> {
        let mut inputs: BTreeMap<u32, usize> = BTreeMap::new();
        for at in partitions {
            *inputs.entry(at.partition).or_default() += 1;
        }
        if let Some((number, count)) = inputs.iter().find(|(_, n)| **n != self.env.inputs.len()) {
            return Err(format!(
                "partition {number} was assigned of {count} of {} inputs only: every member of \
                 the group must use the assignor `range`",
                self.env.inputs.len()
            ));
        }
        Ok(inputs.into_keys().collect())
    }

    /// The member that assigns may not have heard yet of a topic that was made a moment ago: as
    /// soon as it has, it assigns anew.
    pub(super) fn wait_for_inputs(
        &mut self,
        cause: String,
        now: Now,
    ) -> Result<Option<BTreeMap<u32, Assigned>>> {
        let what = "assignment";
        let standstill = self.incomplete.get_or_insert_with(|| Standstill::new(now));
        if standstill.is_silent(now) {
            let names: Vec<_> = self.env.inputs.iter().map(String::as_str).collect();
            if let Err(away) = self.broker.describe_topics(&names) {
                self.incomplete = None;
                return Err(away.into());
            }
            match standstill.count(now) {
                INCOMPLETE_MS_MAX.. => return Err(BrokerError::Fatal { what, cause }.into()),
                OUTDATED_MS.. if !self.has_joined_anew => {
                    self.join_anew(&cause, now)?;
                    return Ok(Some(BTreeMap::new()));
                }
                _ => {}
            }
        }
        Err(BrokerError::Unavailable { what, cause }.into())
    }

    /// Joins the group as a member that it does not know: so it rebalances, and those that are gone go
    /// out of it. One that it knows may be given its part of an assignment of before, for ever.
    fn join_anew(&mut self, cause: &str, now: Now) -> Result<()> {
        self.has_joined_anew = true;
        // No process before this one had the name.
        let instance = format!("{}.{}", self.config.id, now.wall_ms);
        tracing::warn!(cause, instance, "joins its group as another member");
        self.consumer =
            self.broker.consumer(consumer_options(&self.env, &self.config, instance))?;
        self.assignment.clear();
        self.close_tasks();
        Ok(())
    }
}
