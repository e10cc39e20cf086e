//! What a reset does to a state folder, before it is done. Nothing is deleted: what is forgotten is
//! moved aside.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bps_streams::SKIP_GAP;

use crate::error::Error;

/// What the processor keeps of an application in its state folder.
const KEPT: [&str; 2] = ["store", "identity"];

/// What will be done, before it is done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// From where to where.
    pub(super) moves: Vec<(PathBuf, PathBuf)>,
    /// A file to be made.
    pub(super) marker: Option<PathBuf>,
    /// What follows from it, in words.
    pub(super) consequence: String,
}

impl Plan {
    /// Whether there is nothing to be done.
    pub(super) fn is_empty(&self) -> bool {
        self.moves.is_empty() && self.marker.is_none()
    }
}

/// The store goes; it comes back from its topics.
pub(super) fn forget(state: &Path, sources: &str) -> Result<Plan, Error> {
    if !state.join("store").exists() {
        return Ok(Plan::default());
    }
    let moves = KEPT.iter().filter_map(|name| aside(state, name).transpose());
    let moves = moves.collect::<Result<_, _>>()?;
    let consequence = format!("the next start rebuilds the store from {sources}");
    Ok(Plan { moves, marker: None, consequence })
}

/// State of another application goes; that of the new one is not there yet.
pub(super) fn anew(state: &Path, application: &str, start: &str) -> Result<Plan, Error> {
    let path = state.join("identity");
    let own = format!("application {application},");
    let moves = match fs::read_to_string(&path) {
        Ok(found) if found.starts_with(&own) => Vec::new(),
        Ok(_) => {
            let moves = KEPT.iter().filter_map(|name| aside(state, name).transpose());
            moves.collect::<Result<_, _>>()?
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(source) => return Err(Error::File { path, source }),
    };
    let consequence = format!("{application} decides all inputs from their beginning: {start}");
    Ok(Plan { moves, marker: None, consequence })
}

/// Where `name` is moved to: the first number that is free.
fn aside(state: &Path, name: &str) -> Result<Option<(PathBuf, PathBuf)>, Error> {
    let from = state.join(name);
    let is_there = |path: &Path| {
        path.try_exists().map_err(|source| Error::File { path: path.to_owned(), source })
    };
    if !is_there(&from)? {
        return Ok(None);
    }
    let mut number = 1_u32;
    loop {
        let to = state.join(format!("{name}.reset-{number}"));
        if !is_there(&to)? {
            return Ok(Some((from, to)));
        }
        number += 1;
    }
}

/// The next start goes on at a gap.
pub(super) fn skip_gap(state: &Path) -> Plan {
    Plan {
        marker: Some(state.join(SKIP_GAP)),
        consequence: "the next start goes on behind every gap that it finds, once, and at later \
                      offsets that others have set; what is passed over is never decided"
            .to_owned(),
        ..Plan::default()
    }
}

/// Does what was planned.
pub(super) fn carry_out(plan: &Plan) -> Result<(), Error> {
    for (from, to) in &plan.moves {
        fs::rename(from, to).map_err(|source| Error::File { path: from.clone(), source })?;
    }
    if let Some(path) = &plan.marker {
        let written = fs::write(path, "made by `bps reset --skip-gap`; counts for one start\n");
        written.map_err(|source| Error::File { path: path.clone(), source })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(plan: &Plan) -> Vec<String> {
        let name = |path: &Path| path.file_name().map(|n| n.to_string_lossy().into_owned());
        plan.moves.iter().filter_map(|(_, to)| name(to)).collect()
    }

    #[test]
    fn what_is_forgotten_is_moved_to_the_first_free_number() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = folder.path();
        assert_eq!(forget(state, "topics").expect("readable"), Plan::default());
        for expected in ["store.reset-1", "store.reset-2"] {
            fs::create_dir(state.join("store")).expect("made");
            let plan = forget(state, "topics").expect("readable");
            assert_eq!(names(&plan), [expected]);
            carry_out(&plan).expect("moved");
            assert!(state.join(expected).is_dir() && !state.join("store").exists());
        }
    }

    #[test]
    fn anew_moves_only_what_belongs_to_another_application() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = folder.path();
        let plan = |application: &str| anew(state, application, "start").expect("readable");
        assert!(plan("a-p").moves.is_empty());
        fs::create_dir(state.join("store")).expect("made");
        fs::write(state.join("identity"), "application a-p, cluster c").expect("written");
        assert!(plan("a-p").moves.is_empty());
        assert_eq!(names(&plan("a")), ["store.reset-1", "identity.reset-1"]);
    }

    #[test]
    fn what_another_topology_keeps_below_stays_where_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let (root, below) = (folder.path(), folder.path().join("below"));
        for store in [root.join("store"), below.join("store")] {
            fs::create_dir_all(store).expect("made");
        }
        carry_out(&forget(root, "topics").expect("readable")).expect("moved");
        assert!(root.join("store.reset-1").is_dir() && below.join("store").is_dir());
        assert_eq!(skip_gap(&below).marker, Some(below.join("skip-gap")));
        carry_out(&forget(&below, "topics").expect("readable")).expect("moved");
        assert!(below.join("store.reset-1").is_dir() && !root.join("store.reset-2").exists());
    }
}
