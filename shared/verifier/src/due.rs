//! A record of an input as the rule meets it: what it wishes, under which id, from where.

use std::borrow::Cow;

use bps_streams::Record;

use crate::traces::KINDS;
use crate::wish::{Kind, Wish};
use crate::written::fingerprint;

/// Number of the input of moved records.
pub(crate) const MOVED: usize = 2;

/// A wish that is due an answer.
#[derive(Clone, Debug)]
pub(crate) struct Due<'a> {
    pub(crate) wish: Wish<'a>,
    /// Its own, or the place it came from.
    pub(crate) id: Cow<'a, str>,
    /// Its timestamp (ms since 1970).
    pub(crate) at: i64,
    pub(crate) fingerprint: u128,
}

/// Which kind a record is, and where it came from; `None` for a moved one that does not say.
pub(crate) fn origin<'a>(input: usize, record: &Record<'a>) -> Option<(Kind, &'a str, u32, u64)> {
    let kind = |input| if input == 0 { Kind::Restock } else { Kind::Purchase };
    if input < MOVED {
        return Some((kind(input), record.topic, record.partition, record.offset));
    }
    let header = |name| std::str::from_utf8(record.headers.get(name)?).ok();
    let name = header("kind")?;
    let source = KINDS.iter().position(|k| *k == name)?;
    let (partition, offset) = (header("partition")?, header("offset")?);
    Some((kind(source), header("topic")?, partition.parse().ok()?, offset.parse().ok()?))
}

impl<'a> Due<'a> {
    /// Reads a record of input number `input`; `None` where no wish can be read.
    pub(crate) fn read(input: usize, record: &Record<'a>) -> Option<Due<'a>> {
        let (kind, topic, partition, offset) = origin(input, record)?;
        let wish = Wish::read(kind, record.value)?;
        let id = match &wish.id {
            Some(id) => id.clone(),
            None => Cow::Owned(format!("{topic}-{partition}-{offset}")),
        };
        let fingerprint = fingerprint(&wish.item, &id);
        Some(Due { wish, id, at: record.timestamp, fingerprint })
    }

    /// A copy that borrows nothing.
    pub(crate) fn into_owned(self) -> Due<'static> {
        let Due { wish, id, at, fingerprint } = self;
        Due { wish: wish.into_owned(), id: Cow::Owned(id.into_owned()), at, fingerprint }
    }
}
