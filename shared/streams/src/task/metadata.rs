//! What stands beside every committed offset, so that a worker that knows nothing goes on rightly.

use std::fmt;

/// `v1:incarnation:sequence:stream-time:owner topic=id`; the first ones had no id of the topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Metadata {
    pub(crate) incarnation: u64,
    pub(crate) sequence: u64,
    pub(crate) stream_time: i64,
    /// Id of the worker that wrote it.
    pub(crate) owner: String,
    /// Which topic of that name the offset is of.
    pub(crate) topic_id: Option<String>,
}

/// Between the owner and the topic's id.
const TOPIC: &str = " topic=";

impl fmt::Display for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { incarnation, sequence, stream_time, owner, topic_id } = self;
        write!(f, "v1:{incarnation}:{sequence}:{stream_time}:{owner}")?;
        topic_id.as_ref().map_or(Ok(()), |id| write!(f, "{TOPIC}{id}"))
    }
}

impl Metadata {
    pub(crate) fn parse(text: &str) -> Option<Metadata> {
        let mut words = text.strip_prefix("v1:")?.splitn(4, ':');
        let incarnation = words.next()?.parse().ok()?;
        let sequence = words.next()?.parse().ok()?;
        let stream_time = words.next()?.parse().ok()?;
        let last = words.next().unwrap_or_default();
        let (owner, topic_id) = match last.rsplit_once(TOPIC) {
            Some((owner, id)) => (owner.to_owned(), Some(id.to_owned())),
            None => (last.to_owned(), None),
        };
        Some(Metadata { incarnation, sequence, stream_time, owner, topic_id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_ever_written_is_read() {
        let of = |owner: &str, id: Option<&str>| Metadata {
            incarnation: 3,
            sequence: 41,
            stream_time: -7,
            owner: owner.to_owned(),
            topic_id: id.map(str::to_owned),
        };
        let rows = [
            ("v1:3:41:-7", of("", None)),
            ("v1:3:41:-7:", of("", None)),
            ("v1:3:41:-7:a-p-1-0", of("a-p-1-0", None)),
            ("v1:3:41:-7:a-p-1-0 topic=x_Y-9", of("a-p-1-0", Some("x_Y-9"))),
            ("v1:3:41:-7:a b:c@d topic=x", of("a b:c@d", Some("x"))),
        ];
        for (text, expected) in rows {
            assert_eq!(Metadata::parse(text), Some(expected.clone()), "{text}");
            let again = expected.to_string();
            assert_eq!(Metadata::parse(&again), Some(expected), "{again}");
        }
        for text in ["", "v1:", "v1:3:41", "v2:3:41:-7:a", "7"] {
            assert_eq!(Metadata::parse(text), None, "{text}");
        }
    }
}
