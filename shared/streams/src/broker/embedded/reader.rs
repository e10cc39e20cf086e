//! Reads partitions of the embedded log, of this process or (followed) of another one.

use std::sync::Arc;
use std::time::Duration;

use super::log::Log;
use super::{Followed, Shared, log};
use crate::broker::{Reader, Result, TopicPartition};
use crate::record::Batch;

/// Time between two looks at a log that another process writes.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(20);

pub(super) enum Source {
    Owned(Arc<Shared>),
    Followed(Arc<Followed>),
}

impl Source {
    fn log(&self) -> &Log {
        match self {
            Self::Owned(shared) => &shared.log,
            Self::Followed(followed) => &followed.log,
        }
    }
}

pub(super) struct EmbeddedReader {
    source: Source,
    slots: Vec<(TopicPartition, u64)>,
}

impl EmbeddedReader {
    pub(super) fn new(source: Source, from: &[(TopicPartition, u64)]) -> Self {
        Self { source, slots: from.to_vec() }
    }

    fn readable(&self, state: &log::State) -> bool {
        self.slots.iter().any(|(at, from)| log::bounds(state, at).is_ok_and(|b| b.end > *from))
    }
}

impl Reader for EmbeddedReader {
    fn wait(&mut self, wait: Duration) -> Result<()> {
        match &self.source {
            Source::Owned(shared) => {
                shared.log.wait_until(wait, |state| self.readable(state));
            }
            Source::Followed(followed) => {
                followed.log.catch_up()?;
                if !self.readable(&followed.log.state()) {
                    std::thread::sleep(wait.min(FOLLOW_INTERVAL));
                }
            }
        }
        Ok(())
    }

    fn fetch(&mut self, slot: usize, bytes_max: usize, batch: &mut Batch) -> Result<u64> {
        let (at, from) = &mut self.slots[slot];
        *from = self.source.log().read(at, *from, bytes_max, batch)?;
        Ok(*from)
    }
}
