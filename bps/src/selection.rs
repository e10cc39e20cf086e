//! Which topologies a command is about.

use std::path::{Path, PathBuf};

use bps_service::applications::NamedTopology;
use purchase_processor::{Settings, TOPOLOGIES};

use crate::error::Error;
use crate::out;

/// The argument that names topologies.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Selection {
    /// The topologies it is about, separated by commas [default: all that there are]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    topology: Vec<String>,
}

impl Selection {
    /// The topologies that are meant, in the order of the list.
    pub(crate) fn topologies(&self) -> Result<Vec<&'static NamedTopology<Settings>>, Error> {
        let named: Vec<&str> = self.topology.iter().map(|name| name.trim()).collect();
        let all = || TOPOLOGIES.names().collect();
        let names = if named.is_empty() { all() } else { named };
        TOPOLOGIES.select(&names).map_err(|error| Error::Usage(format!("--topology: {error}")))
    }

    /// The names that were told, as `--run` takes them.
    pub(crate) fn told(&self) -> Option<String> {
        (!self.topology.is_empty()).then(|| self.topology.join(","))
    }
}

/// Where a topology keeps its state, in the state folder of a process.
pub(crate) fn state_of(root: &Path, topology: &NamedTopology<Settings>) -> PathBuf {
    TOPOLOGIES.folder(root, topology.name)
}

/// Says of several topologies which one the next lines are about; of one there is nothing to say.
pub(crate) fn heading(
    selected: &[&'static NamedTopology<Settings>],
    index: usize,
) -> Result<(), Error> {
    if selected.len() == 1 {
        return Ok(());
    }
    if index > 0 {
        out::result("")?;
    }
    out::result(format_args!("topology {}", selected[index].name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_meant_unless_some_are_named() {
        let of = |names: &[&str]| {
            let topology = names.iter().map(|name| (*name).to_owned()).collect();
            let selected = Selection { topology }.topologies();
            selected.map(|all| all.iter().map(|one| one.name).collect::<Vec<_>>())
        };
        assert_eq!(of(&[]).expect("all"), TOPOLOGIES.names().collect::<Vec<_>>());
        assert_eq!(of(&["stock"]).expect("one"), ["stock"]);
        for (names, told) in [
            (&["stocks"][..], "--topology: topology \"stocks\" does not exist; there are: stock"),
            (
                &["stock", "stock"],
                "--topology: topology \"stock\" is named twice; there are: stock",
            ),
        ] {
            let error = of(names).expect_err(told);
            assert_eq!(error.code(), crate::exit::USAGE);
            assert!(error.to_string().starts_with(told), "{error}");
        }
    }
}
