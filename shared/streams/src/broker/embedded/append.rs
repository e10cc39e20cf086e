//! How a batch gets into the log, in four steps: (1) under the lock it is admitted, and has its turn
//! in each of its partitions; (2) without the lock, offsets are given out and it is written,
//! unsynced, beside batches to other partitions; (3) the write-ahead log is synced, one sync for all
//! that wait; (4) under the lock, the new ends become visible. What a reader sees is durable, and so
//! is all before it: the next turn in a partition begins after (2).

use std::sync::PoisonError;

use super::damage::failed;
use super::log::{Log, State, bounds, bounds_mut};
use super::staged::Portion;
use super::write::{Turn, Writing};
use crate::broker::{OffsetCommit, Result, TopicPartition};

impl Log {
    /// Appends records and commits offsets in one synced batch: all of it or nothing.
    /// `admit` runs under the lock, when it is the batch's turn in all of its partitions, and may
    /// refuse. Returns the offset of the first record of each portion, and the end of each partition
    /// in `ends`.
    pub(super) fn append(
        &self,
        portions: &[Portion],
        commit: Option<(&str, &[OffsetCommit])>,
        ends: &[TopicPartition],
        admit: impl FnOnce(&State) -> Result<()>,
    ) -> Result<(Vec<u64>, Vec<u64>)> {
        let (number, turns) = self.take_turns(portions, admit)?;
        let mut writing = Writing::new(&self.db, turns);
        let written = self.write(&mut writing, portions, commit);
        let turns = writing.turns;
        let mut state = self.state();
        for turn in &turns {
            state.turns.remove(&turn.at);
            if written.is_ok() {
                bounds_mut(&mut state, &turn.at)?.next = turn.next;
            }
        }
        self.turn_over.notify_all();
        let firsts = match written {
            Ok(firsts) => firsts,
            Err(error) => {
                state.unpublished.remove(&number);
                drop(state);
                self.notify();
                return Err(error);
            }
        };
        state.written += 1;
        let written = state.written;
        let ends = ends.iter().map(|at| bounds(&state, at).map(|b| b.next));
        let ends = ends.collect::<Result<Vec<u64>>>()?;
        drop(state);
        self.sync(written)?;
        self.publish(number, &turns, commit)?;
        Ok((firsts, ends))
    }

    /// Waits until nobody else writes to these partitions, and is admitted; under which number.
    fn take_turns(
        &self,
        portions: &[Portion],
        admit: impl FnOnce(&State) -> Result<()>,
    ) -> Result<(u64, Vec<Turn>)> {
        let partitions = || portions.iter().map(|portion| &portion.at);
        let taken = |state: &mut State| partitions().any(|at| state.turns.contains(at));
        let state = self.turn_over.wait_while(self.state(), taken);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        self.check_alive()?;
        admit(&state)?;
        let turn = |at: &TopicPartition| {
            let next = bounds(&state, at)?.next;
            Ok(Turn { at: at.clone(), topic: state.topics[&at.topic].id, next })
        };
        let turns = partitions().map(turn).collect::<Result<Vec<_>>>()?;
        state.turns.extend(partitions().cloned());
        state.admitted += 1;
        let number = state.admitted;
        state.unpublished.insert(number);
        Ok((number, turns))
    }

    /// Puts a batch together and writes it, unsynced; the first offset of each portion.
    fn write(
        &self,
        writing: &mut Writing<'_>,
        portions: &[Portion],
        commit: Option<(&str, &[OffsetCommit])>,
    ) -> Result<Vec<u64>> {
        let firsts =
            portions.iter().enumerate().map(|(place, portion)| writing.add(portion, place));
        let firsts = firsts.collect::<Result<Vec<u64>>>()?;
        if let Some((group, commits)) = commit {
            writing.add_offsets(group, commits)?;
        }
        self.db.write(std::mem::take(&mut writing.batch)).map_err(|error| {
            let error = failed(&self.db, "append")(error);
            self.end(&error);
            error
        })?;
        Ok(firsts)
    }

    fn publish(
        &self,
        number: u64,
        turns: &[Turn],
        commit: Option<(&str, &[OffsetCommit])>,
    ) -> Result<()> {
        let mut state = self.state();
        for turn in turns {
            let bounds = bounds_mut(&mut state, &turn.at)?;
            bounds.end = bounds.end.max(turn.next);
        }
        if let Some((group, commits)) = commit {
            for OffsetCommit { partition, committed } in commits {
                state.coordinator.set_offset(group, partition.clone(), committed.clone());
            }
        }
        state.unpublished.remove(&number);
        drop(state);
        self.notify();
        Ok(())
    }
}
