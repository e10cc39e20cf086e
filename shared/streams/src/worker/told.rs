//! What ledgers tell of rows, kept through a restore. A ledger's record says how often the row that
//! it speaks of had changed; the row must have been found on its changelog at least as often
//! changed. If not, the changelog was made anew or has lost its end.

use std::collections::HashMap;

use crate::broker::TopicPartition;
use crate::error::{Error, Result};
use crate::partitioner::murmur2;
use crate::record::Record;
use crate::stamp::Stamp;
use crate::store::{Row, unreadable};
use crate::task::TaskEnv;

/// What an operator may do where a changelog has lost rows.
pub(super) const REBUILD: &str = "`reset --rebuild-rows` writes them anew, from the inputs";

/// The last that was told of each row, by a hash of its key: of two with the same one, the later
/// one stays, so that there is a bound (8,192 rows of a partition).
#[derive(Default)]
pub(super) struct Told(HashMap<u16, Telling>);

struct Telling {
    /// Which of the topology's tellings.
    which: usize,
    table: usize,
    key: Vec<u8>,
    sequence: u64,
    offset: u64,
}

impl Told {
    /// Takes in what a record tells.
    pub(super) fn hear(&mut self, env: &TaskEnv, record: &Record<'_>, stamp: &Stamp) {
        for (which, tells) in env.topology.tells.iter().enumerate() {
            if tells.topic != record.topic || stamp.sequence == 0 {
                continue;
            }
            let table = env.topology.store_index(&tells.store);
            let (Some(table), Some(key)) = (table, (tells.row)(record)) else {
                continue;
            };
            // Keys of one partition share the low bits of their hash, or what is left of a division.
            let place = (murmur2(&key).wrapping_mul(0x9e37_79b1) >> 19) as u16;
            let (sequence, offset) = (stamp.sequence, record.offset);
            match self.0.get_mut(&place) {
                Some(told) if told.table == table && told.key == *key => {
                    if told.sequence <= sequence {
                        (told.which, told.sequence, told.offset) = (which, sequence, offset);
                    }
                }
                _ => {
                    let key = key.into_owned();
                    self.0.insert(place, Telling { which, table, key, sequence, offset });
                }
            }
        }
    }

    /// Compares it with the rows, once all of them are there.
    pub(super) fn check(&self, env: &TaskEnv, partition: u32) -> Result<()> {
        let (store, mut row) = (&*env.store, Vec::new());
        // Which one is named must not depend on the map's order.
        let mut first: Option<(&Telling, u64)> = None;
        for told in self.0.values() {
            let there = store.get(told.table, partition, &told.key, &mut row)?;
            let found = match there {
                true => {
                    Row::decode(&row)
                        .map_err(|error| unreadable(store, told.table, error))?
                        .sequence
                }
                false => 0,
            };
            let is_first = |(other, _): &(&Telling, u64)| {
                (told.which, told.offset) < (other.which, other.offset)
            };
            if found < told.sequence && first.as_ref().is_none_or(is_first) {
                first = Some((told, found));
            }
        }
        let Some((told, found)) = first else {
            return Ok(());
        };
        let Telling { which, table, sequence, offset, .. } = told;
        let spec = &env.topology.stores[*table];
        let changelog = TopicPartition::new(spec.backing.topic(), partition);
        let key = String::from_utf8_lossy(&told.key);
        let found = match found {
            0 => "there is none".to_owned(),
            found => format!("there is change {found}"),
        };
        let cause = format!(
            "the record at offset {offset} tells of change {sequence} of row {key:?} of store \
             {}, and on {changelog} {found}",
            spec.name
        );
        let partition = TopicPartition::new(&env.topology.tells[*which].topic, partition);
        Err(Error::RowsGone { partition, cause, remedy: REBUILD })
    }
}
