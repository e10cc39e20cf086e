//! A program that runs topologies: each of them is an application with a group, workers, numbers and
//! state of its own, all in one process. What fails in one of them ends all.
//!
//! It never decides anything, and knows no topology by name: a program hands it a list. Reading
//! order: this file (the list), [`flags`] with `workers` and `memory` (what they are set to), [`run()`]
//! with `progress` (from the start to the end), [`trouble()`] and `numbers` (what operators ask),
//! `program` (all of it as a main function).

pub mod flags;
mod memory;
mod numbers;
mod program;
mod progress;
mod run;
mod trouble;
mod workers;

use std::fmt;
use std::path::{Path, PathBuf};

use bps_streams::{ApplicationConfig, Observer, Topology, TopologyError};

pub use self::flags::{ApplicationFlags, ApplicationSettings, Ticks};
pub use self::numbers::watch;
pub use self::program::{About, Rules, command, main};
pub use self::run::{Failure, run};
pub use self::trouble::trouble;
pub use self::workers::{Workers, WorkersError};

/// A topology that a program can run, made from settings `S`.
pub struct NamedTopology<S> {
    /// What people call it: in flags, metrics, and the name of its folder.
    pub name: &'static str,
    /// Its threads, unless set.
    pub workers: u32,
    /// Makes it.
    pub topology: fn(&S) -> Result<Topology, TopologyError>,
}

/// The topologies of a program. The first keeps its state in the root of the state folder, the others
/// in folders of their names below it.
pub struct Topologies<S: 'static>(pub &'static [NamedTopology<S>]);

/// A topology that is to run, and what its application is set to.
pub struct NamedApplication {
    /// The topology's name.
    pub name: &'static str,
    /// The topology.
    pub topology: Topology,
    /// What its application is set to.
    pub config: ApplicationConfig,
}

/// An application that can be looked at.
#[derive(Clone)]
pub struct Watched {
    /// Its topology's name.
    pub name: &'static str,
    /// Looks at it.
    pub observer: Observer,
}

/// Names of topologies that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct SelectionError {
    name: String,
    is_twice: bool,
    known: Vec<&'static str>,
}

impl fmt::Display for SelectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.is_twice { "is named twice" } else { "does not exist" };
        write!(f, "topology {:?} {what}; there are: {}", self.name, self.known.join(", "))
    }
}

impl<S> Topologies<S> {
    /// Their names, in the order of the list.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|topology| topology.name)
    }

    /// Those of these names, in the order of the list.
    ///
    /// # Errors
    /// The first name that no topology has, or that stands there twice.
    pub fn select(&self, names: &[&str]) -> Result<Vec<&'static NamedTopology<S>>, SelectionError> {
        let wrong = |name: &str, is_twice| {
            let (name, known) = (name.to_owned(), self.names().collect());
            SelectionError { name, is_twice, known }
        };
        for (index, name) in names.iter().enumerate() {
            if names[..index].contains(name) {
                return Err(wrong(name, true));
            }
            if !self.names().any(|known| known == *name) {
                return Err(wrong(name, false));
            }
        }
        Ok(self.0.iter().filter(|topology| names.contains(&topology.name)).collect())
    }

    /// Where the topology of this name keeps its state, in the state folder of a process.
    pub fn folder(&self, root: &Path, name: &str) -> PathBuf {
        match self.names().next() == Some(name) {
            true => root.to_owned(),
            false => root.join(name),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use bps_streams::TopologyError;

    use super::*;

    fn none(_: &()) -> Result<Topology, TopologyError> {
        Topology::named("none").build()
    }

    /// Two topologies that nobody makes.
    pub(crate) static TWO: Topologies<()> = Topologies(&[
        NamedTopology { name: "one", workers: 2, topology: none },
        NamedTopology { name: "two", workers: 1, topology: none },
    ]);

    #[test]
    fn topologies_are_selected_by_name_in_the_order_of_the_list() {
        let check = |names: &[&str], expected: Result<&[&str], &str>| {
            let found = TWO.select(names).map(|all| all.iter().map(|t| t.name).collect::<Vec<_>>());
            let found = found.map_err(|error| error.to_string());
            assert_eq!(found, expected.map(<[&str]>::to_vec).map_err(str::to_owned), "{names:?}");
        };
        check(&["two", "one"], Ok(&["one", "two"]));
        check(&["two"], Ok(&["two"]));
        check(&["three"], Err("topology \"three\" does not exist; there are: one, two"));
        check(&[""], Err("topology \"\" does not exist; there are: one, two"));
        check(&["one", "one"], Err("topology \"one\" is named twice; there are: one, two"));
    }

    #[test]
    fn the_first_keeps_its_state_in_the_root() {
        let root = Path::new("state");
        assert_eq!(TWO.folder(root, "one"), root);
        assert_eq!(TWO.folder(root, "two"), root.join("two"));
    }
}
