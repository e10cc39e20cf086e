//! What stands beside every committed offset, so that a worker that knows nothing goes on rightly.

use std::fmt;

use crate::stamp::Clocks;

/// `v1:incarnation:sequence:stream-time:owner clocks=due,running topic=id`; the first ones had no id of
/// the topic, and only where rows fall due there are clocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Metadata {
    pub(crate) incarnation: u64,
    pub(crate) sequence: u64,
    pub(crate) stream_time: i64,
    pub(crate) clocks: Clocks,
    /// Id of the worker that wrote it.
    pub(crate) owner: String,
    /// Which topic of that name the offset is of.
    pub(crate) topic_id: Option<String>,
}

/// Before the clocks and the topic's id.
const CLOCKS: &str = " clocks=";
const TOPIC: &str = " topic=";

impl fmt::Display for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { incarnation, sequence, stream_time, clocks, owner, topic_id } = self;
        write!(f, "v1:{incarnation}:{sequence}:{stream_time}:{owner}")?;
        let Clocks { due_ms, running_ms } = clocks;
        if *clocks != Clocks::default() {
            write!(f, "{CLOCKS}{due_ms},{running_ms}")?;
        }
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
        let (rest, topic_id) = match last.rsplit_once(TOPIC) {
            Some((rest, id)) => (rest, Some(id.to_owned())),
            None => (last, None),
        };
        let (owner, clocks) = match rest.rsplit_once(CLOCKS) {
            Some((owner, clocks)) => {
                let (due, running) = clocks.split_once(',')?;
                (owner, Clocks { due_ms: due.parse().ok()?, running_ms: running.parse().ok()? })
            }
            None => (rest, Clocks::default()),
        };
        let owner = owner.to_owned();
        Some(Metadata { incarnation, sequence, stream_time, clocks, owner, topic_id })
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
            clocks: Clocks::default(),
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
        let clocks = Clocks { due_ms: 50, running_ms: 7 };
        for (id, text) in [(None, ""), (Some("x"), " topic=x")] {
            let with_clocks = Metadata { clocks, ..of("a-1", id) };
            let text = format!("v1:3:41:-7:a-1 clocks=50,7{text}");
            assert_eq!(with_clocks.to_string(), text);
            assert_eq!(Metadata::parse(&text), Some(with_clocks));
        }
        for text in ["", "v1:", "v1:3:41", "v2:3:41:-7:a", "7", "v1:3:41:-7:a clocks=5"] {
            assert_eq!(Metadata::parse(text), None, "{text}");
        }
    }
}
