//! A record of an input as the rule meets it: what it requests, under which id, from where.

use std::borrow::Cow;

use bps_streams::Record;

use crate::outputs::fingerprint;
use crate::request::Request;
use crate::stream::{stream_of, used};

/// A request that is due an answer.
#[derive(Clone)]
pub(crate) struct Decoded<'a> {
    pub(crate) request: Request<'a>,
    /// Its own, or the place it came from.
    pub(crate) id: Cow<'a, str>,
    /// Its timestamp (ms since 1970).
    pub(crate) at: i64,
    pub(crate) fingerprint: u128,
}

/// Which stream a record is of, and where it came from; `None` for a moved one that does not say.
pub(crate) fn origin<'a>(input: usize, record: &Record<'a>) -> Option<(usize, &'a str, u32, u64)> {
    if let Some(stream) = stream_of(input) {
        return Some((stream, record.topic, record.partition, record.offset));
    }
    let header = |name| std::str::from_utf8(record.headers.get(name)?).ok();
    let source = header("kind")?;
    let stream = used().iter().position(|stream| stream.source == source)?;
    let (partition, offset) = (header("partition")?, header("offset")?);
    Some((stream, header("topic")?, partition.parse().ok()?, offset.parse().ok()?))
}

impl<'a> Decoded<'a> {
    /// Reads a record of input number `input`; `None` where no request can be read.
    pub(crate) fn read(input: usize, record: &Record<'a>) -> Option<Decoded<'a>> {
        let (stream, topic, partition, offset) = origin(input, record)?;
        let request = Request::read(stream, record.value)?;
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
