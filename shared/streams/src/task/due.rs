//! Rows that fall due, one at a time, in the open transaction.

use super::due_index::parts;
use super::scope::{Scope, Subject};
use super::{Output, Task, TaskEnv, TaskState};
use crate::broker::TopicPartition;
use crate::due::Due;
use crate::error::{Error, Result};
#[cfg(feature = "mutants")]
use crate::mutant::Mutant;
use crate::processor::{Context, DueRow, ProcessError, StoreId};
use crate::store::Row;
use crate::topology::NodeSpec;

/// What an error names of a row that falls due.
#[derive(Clone, Copy)]
pub(super) struct Fallen<'a> {
    pub(super) table: usize,
    pub(super) key: &'a [u8],
}

impl Fallen<'_> {
    /// The error that stops the task.
    pub(super) fn broken(self, env: &TaskEnv, partition: u32, cause: String) -> Error {
        let spec = &env.topology.stores[self.table];
        let (store, key) = (spec.name.clone(), String::from_utf8_lossy(self.key).into_owned());
        let partition = TopicPartition::new(spec.backing.topic(), partition);
        Error::DueRow { store, partition, key, cause }
    }
}

impl TaskState {
    /// Moves the due clock on with a record of this time; whether rows fall due before it.
    pub(super) fn holds_up(&mut self, time: i64) -> bool {
        if self.due.is_none() {
            return false;
        }
        let clocks = &mut self.progress.clocks;
        #[cfg(feature = "mutants")]
        let before = *clocks;
        clocks.due_ms = clocks.due_ms.max(u64::try_from(time).unwrap_or(0));
        #[cfg(feature = "mutants")]
        if self.mutant == Some(Mutant::RunningByRecords) {
            clocks.running_ms += clocks.due_ms.saturating_sub(before.due_ms).min(2_000);
        }
        #[cfg(feature = "mutants")]
        if self.mutant == Some(Mutant::DueAfterRecord) {
            return false;
        }
        self.has_due()
    }

    /// Whether rows may have fallen due that have not been taken.
    pub(super) fn has_due(&self) -> bool {
        self.due.as_ref().is_some_and(|due| due.is_reached(self.progress.clocks))
    }
}

impl Task {
    /// Whether rows may have fallen due that have not been taken.
    pub(crate) fn has_due(&self) -> bool {
        self.state.has_due()
    }

    /// Lets the next row fall due whose time has come.
    pub(crate) fn fall_due(&mut self, out: &mut dyn Output) -> Result<()> {
        let Self { env, state, processors, .. } = self;
        let (partition, clocks) = (state.partition, state.progress.clocks);
        let Some(due) = &mut state.due else {
            return Ok(());
        };
        let Some(entry) = due.take(&*env.store, partition, clocks)? else {
            return Ok(());
        };
        // An entry that is dropped is a change too: the policy of commits bounds those.
        self.pending += 1;
        let Some((due, table, key)) = parts(&entry) else {
            return Ok(());
        };
        let Some((spec, of)) =
            env.topology.stores.get(table).and_then(|spec| Some((spec, spec.due?.of)))
        else {
            return Ok(());
        };
        let Some(row) = state.tables[table].get(&*env.store, table, partition, key)? else {
            return Ok(());
        };
        let is_its = of(row.value) == Some(due);
        #[cfg(feature = "mutants")]
        let is_its = is_its || state.mutant == Some(Mutant::StaleDueBelieved);
        if !is_its {
            return Ok(());
        }
        let (value, sequence, timestamp) = (row.value.to_vec(), row.sequence, row.timestamp);
        let row = Row { sequence, timestamp, value: &value };
        if let Due::At(at) = due {
            let time = &mut state.progress.stream_time;
            *time = (*time).max(i64::try_from(at).unwrap_or(i64::MAX));
        }
        let fallen = Fallen { table, key };
        let is_kept = |node: &NodeSpec| node.keeps.contains(&table);
        let Some(node) = env.topology.nodes.iter().position(is_kept) else {
            return Err(fallen.broken(env, partition, format!("nobody keeps {}", spec.name)));
        };
        let mut scope = Scope::new(env, state, out, Subject::Row(fallen));
        let taken = processors[node].due(
            DueRow { store: StoreId(table), key, row, due },
            &mut Context { host: &mut scope, origin: None },
        );
        let untold = scope.untold();
        match taken {
            Ok(()) => {}
            Err(ProcessError::Engine(error)) => return Err(error),
            Err(other) => return Err(fallen.broken(env, partition, other.to_string())),
        }
        let broken = |cause: &str| Err(fallen.broken(env, partition, cause.to_owned()));
        if untold {
            return broken(
                "the processor changed something and told it in no topic that backs a ledger",
            );
        }
        let left = state.tables[table].get(&*env.store, table, partition, key)?;
        let is_no_later = |left: Due| match (left, due) {
            (Due::At(left), Due::At(due)) | (Due::Running(left), Due::Running(due)) => left <= due,
            (Due::At(left), Due::Running(_)) => left <= clocks.due_ms,
            (Due::Running(left), Due::At(_)) => left <= clocks.running_ms,
        };
        if left.and_then(|row| of(row.value)).is_some_and(is_no_later) {
            return broken("the processor left it with a due that is no later");
        }
        Ok(())
    }
}
