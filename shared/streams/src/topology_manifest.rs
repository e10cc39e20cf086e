//! What topology a state folder was last used with. A start compares, and says in words what has
//! changed and what follows; it refuses nothing, since whatever is known by another name or number
//! than before is not taken for the former.

use std::fmt::Write;
use std::path::Path;

use crate::error::Result;
use crate::state_folder::{read, write};
use crate::topology::{Backing, Topology};

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
    for (number, topic) in topology.inputs().iter().enumerate() {
        let source = topology.source_of(number);
        let other = if topology.tick_input() == Some(number) { TICKS } else { MOVED };
        let name = source.map_or(other, |source| &topology.sources[source].name);
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
const TICKS: &str = "(ticks)";

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

    /// Whether it is the same part: the group and the store know inputs by their topics.
    fn is(&self, other: &Part<'_>) -> bool {
        let is_same = match self.kind {
            "input" => self.topic == other.topic,
            _ => self.name == other.name,
        };
        self.kind == other.kind && is_same
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
            told.push(format!(
                "{shown} was built from {former}: it is built anew, from its new topic"
            ));
        }
        if former.kind == "input" && (former.place, former.name) != (part.place, part.name) {
            told.push(format!(
                "{shown} was number {}, {}, and is number {}: what was written before does not tell \
                 its position any more, the group's offsets and this folder do. Whoever adds an \
                 input gives it the next number",
                former.place, former.name, part.place
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
        let moved = "input (moved) (tm) was number 1, (moved), and is number 2";
        check(shifted, &["input b (tb) is new", moved]);
        let renamed = BEFORE.replace("\ta\tta", "\tz\tta");
        check(&renamed, &["input z (ta) was number 0, a, and is number 0"]);
        let other = BEFORE.replace("\tta", "\tt2").replace("\tts", "\tt3");
        let gone = "input a (ta) is not there any more";
        check(&other, &["input a (t2) is new", "store s (t3) was built from ts", gone]);
    }

    #[test]
    fn a_folder_tells_of_the_topology_that_it_was_last_used_with() {
        use crate::topology::nothing::node;
        use crate::topology::{Source, Store, as_it_is};
        let topology = |rows: &'static str| {
            let node = node("n", |wiring| _ = wiring.store("s"));
            let node = node.reads(Source::new("a", "ta", as_it_is));
            let topology = Topology::named("t").store(Store::new("s", rows)).processor(node);
            topology.rekey("tm").build().expect("well wired")
        };
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(FILE);
        compare(folder.path(), &topology("ts")).expect("new");
        let text = std::fs::read_to_string(&path).expect("written");
        let lines = "input\t0\ta\tta\ninput\t1\t(moved)\ttm\nstore\tchangelog\ts\tts, check ";
        assert!(text.starts_with(lines), "{text}");
        compare(folder.path(), &topology("ts")).expect("the same");
        compare(folder.path(), &topology("other")).expect("told");
        assert!(std::fs::read_to_string(&path).expect("written").contains("\ts\tother"));
        std::fs::write(&path, "rubbish").expect("written");
        compare(folder.path(), &topology("ts")).expect("as if it were new");
        assert_eq!(std::fs::read_to_string(&path).expect("written"), text);
    }
}
