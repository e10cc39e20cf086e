//! What topology a state folder was last used with. A start compares, and says in words what has
//! changed and what follows; it refuses nothing, since whatever is known by another name or number
//! than before is not taken for the former.

use std::fmt::Write;
use std::path::Path;

use crate::error::Result;
use crate::state_folder::{read, write};
use crate::topology::{Backing, InputKind, Topology};

const FILE: &str = "topology";

/// Compares a topology with the one that the folder was last used with, and writes it down.
pub(crate) fn compare(folder: &Path, topology: &Topology) -> Result<()> {
    let path = folder.join(FILE);
    let now = written(topology);
    let before = read(&path, |text| text.lines().all(|line| Part::read(line).is_some()))?;
    if before.as_deref() == Some(now.as_str()) {
        return Ok(());
    }
    for change in before.iter().flat_map(|before| changes(before, &now)) {
        tracing::warn!(folder = %folder.display(), "the topology has changed: {change}");
    }
    write(&path, &now)
}

/// A topology as lines: kind, number or place, name, topic.
fn written(topology: &Topology) -> String {
    let mut lines = String::new();
    // Writing to a string cannot fail.
    for (number, kind) in topology.kinds.iter().enumerate() {
        let (name, topic) = match kind {
            InputKind::Source(source) => {
                let source = &topology.sources[*source];
                (source.name.as_str(), source.topic.as_str())
            }
            InputKind::Moved => (MOVED, topology.rekey.as_deref().unwrap_or_default()),
        };
        let _ = writeln!(lines, "input\t{number}\t{name}\t{topic}");
    }
    for store in &topology.stores {
        let backing = match &store.backing {
            Backing::Changelog { .. } => "changelog",
            Backing::Ledger { .. } => "ledger",
        };
        let _ = writeln!(lines, "store\t{backing}\t{}\t{}", store.name, store.backing.topic());
    }
    lines.trim_end().to_owned()
}

const MOVED: &str = "(moved)";

/// A line.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Part<'a> {
    kind: &'a str,
    /// An input's number, a store's backing.
    place: &'a str,
    name: &'a str,
    topic: &'a str,
}

impl<'a> Part<'a> {
    fn read(line: &'a str) -> Option<Part<'a>> {
        let mut words = line.splitn(4, '\t');
        let mut word = || words.next();
        Some(Part { kind: word()?, place: word()?, name: word()?, topic: word()? })
    }

    fn is(&self, other: &Part<'_>) -> bool {
        (self.kind, self.name) == (other.kind, other.name)
    }

    fn shown(&self) -> String {
        let Part { kind, name, topic, .. } = self;
        format!("{kind} {name} ({topic})")
    }
}

fn changes(before: &str, now: &str) -> Vec<String> {
    let parts = |text| -> Vec<Part<'_>> { str::lines(text).filter_map(Part::read).collect() };
    let (before, now) = (parts(before), parts(now));
    let mut told = Vec::new();
    for part in &now {
        let shown = part.shown();
        let Some(former) = before.iter().find(|former| former.is(part)) else {
            told.push(match part.kind {
                "input" => format!("{shown} is new: it is read from its beginning"),
                _ => format!("{shown} is new: it is built from its topic"),
            });
            continue;
        };
        if former.topic != part.topic {
            let former = former.topic;
            told.push(match part.kind {
                "input" => {
                    format!("{shown} was {former}: the new topic is read from its beginning")
                }
                _ => {
                    format!("{shown} was built from {former}: it is built anew, from its new topic")
                }
            });
        }
        if former.kind == "input" && former.place != part.place {
            told.push(format!(
                "{shown} had number {} and has {}: what was written before does not tell its \
                 position any more, the group's offsets and this folder do. Whoever adds an input \
                 gives it the next number",
                former.place, part.place
            ));
        }
    }
    for part in before.iter().filter(|part| !now.iter().any(|other| other.is(part))) {
        let shown = part.shown();
        told.push(match part.kind {
            "input" => format!("{shown} is not there any more: its records are not read"),
            _ => format!("{shown} is not there any more: its rows stay, and are not used"),
        });
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "input\t0\ta\tta\ninput\t1\t(moved)\ttm\nstore\tledger\ts\tts";

    #[track_caller]
    fn check(now: &str, expected: &[&str]) {
        let told = changes(BEFORE, now);
        assert_eq!(told.len(), expected.len(), "{told:?}");
        for (told, expected) in told.iter().zip(expected) {
            assert!(told.contains(expected), "{expected:?} is not in {told:?}");
        }
    }

    #[test]
    fn each_change_is_told_and_what_follows() {
        check(BEFORE, &[]);
        let added = format!("{BEFORE}\ninput\t2\tb\ttb\nstore\tchangelog\tr\ttr");
        check(
            &added,
            &["input b (tb) is new: it is read from", "store r (tr) is new: it is built from"],
        );
        check("input\t0\ta\tta\ninput\t1\t(moved)\ttm", &["store s (ts) is not there any more"]);
        let shifted =
            "input\t0\ta\tta\ninput\t1\tb\ttb\ninput\t2\t(moved)\ttm\nstore\tledger\ts\tts";
        check(shifted, &["input b (tb) is new", "input (moved) (tm) had number 1 and has 2"]);
        let other = BEFORE.replace("\tta", "\tt2").replace("\tts", "\tt3");
        check(&other, &["input a (t2) was ta: the new", "store s (t3) was built from ts"]);
    }
}
