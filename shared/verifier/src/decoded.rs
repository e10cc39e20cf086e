//! A record of an input as the rule meets it: what it requests, under which id, from where.

use std::borrow::Cow;

use bps_streams::Record;

use crate::diverted::KINDS;
use crate::outputs::fingerprint;
use crate::request::{Request, RequestKind};

/// Number of the input of moved records.
pub(crate) const MOVED: usize = 2;

/// A request that is due an answer.
#[derive(Clone, Debug)]
pub(crate) struct Decoded<'a> {
    pub(crate) request: Request<'a>,
    /// Its own, or the place it came from.
    pub(crate) id: Cow<'a, str>,
    /// Its timestamp (ms since 1970).
    pub(crate) at: i64,
    pub(crate) fingerprint: u128,
}

/// Which kind a record is, and where it came from; `None` for a moved one that does not say.
pub(crate) fn origin<'a>(
    input: usize,
    record: &Record<'a>,
) -> Option<(RequestKind, &'a str, u32, u64)> {
    let kind = |input| if input == 0 { RequestKind::Restock } else { RequestKind::Purchase };
    if input < MOVED {
        return Some((kind(input), record.topic, record.partition, record.offset));
    }
    let header = |name| std::str::from_utf8(record.headers.get(name)?).ok();
    let name = header("kind")?;
    let source = KINDS.iter().position(|k| *k == name)?;
    let (partition, offset) = (header("partition")?, header("offset")?);
    Some((kind(source), header("topic")?, partition.parse().ok()?, offset.parse().ok()?))
}

impl<'a> Decoded<'a> {
    /// Reads a record of input number `input`; `None` where no request can be read.
    pub(crate) fn read(input: usize, record: &Record<'a>) -> Option<Decoded<'a>> {
        let (kind, topic, partition, offset) = origin(input, record)?;
        let request = Request::read(kind, record.value)?;
        let id = match &request.id {
            Some(id) => id.clone(),
            None => Cow::Owned(format!("{topic}-{partition}-{offset}")),
        };
        let fingerprint = fingerprint(&request.item, &id);
        Some(Decoded { request, id, at: record.timestamp, fingerprint })
    }

    /// A copy that borrows nothing.
    pub(crate) fn into_owned(self) -> Decoded<'static> {
        let Decoded { request, id, at, fingerprint } = self;
        Decoded { request: request.into_owned(), id: Cow::Owned(id.into_owned()), at, fingerprint }
    }
}
