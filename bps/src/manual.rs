//! `bps manual`: man pages and shell completions of all programs, out of their own flags.

use std::path::{Path, PathBuf};

use bps_service::{applications, service};
use clap::CommandFactory as _;
use clap_complete::Shell;
use purchase_processor::flags::RuleFlags;

use crate::error::Error;
use crate::exit::{self, Outcome};
use crate::out;

const EXAMPLES: &str = "  \
bps manual ~/.local/share
  bps manual /usr/local/share
  bps manual . && man -l man/man1/bps-import.1";

/// Where a shell looks for completions, below a folder as /usr/share.
const SHELLS: [(Shell, &str); 3] = [
    (Shell::Bash, "bash-completion/completions"),
    (Shell::Zsh, "zsh/site-functions"),
    (Shell::Fish, "fish/vendor_completions.d"),
];
/// Where `man` looks.
const PAGES: &str = "man/man1";

/// Arguments of `bps manual`.
#[derive(Debug, clap::Args)]
#[command(about = "Write man pages and shell completions of all programs to a folder")]
#[command(after_help = exit::help(EXAMPLES))]
pub(crate) struct ManualArgs {
    /// Where to: a folder such as /usr/local/share
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

/// Runs the command.
pub(crate) fn run(args: &ManualArgs) -> Result<Outcome, Error> {
    let pages = create(&args.folder, PAGES)?;
    for program in programs() {
        clap_mangen::generate_to(program, &pages).map_err(|e| failed(&pages, e))?;
    }
    for (shell, place) in SHELLS {
        let folder = create(&args.folder, place)?;
        for mut program in programs() {
            let name = program.get_name().to_owned();
            let written = clap_complete::generate_to(shell, &mut program, name, &folder);
            let path = written.map_err(|e| failed(&folder, e))?;
            if shell == Shell::Bash {
                // It finds a completion by the command's name alone.
                let found = path.with_extension("");
                std::fs::rename(&path, found).map_err(|e| failed(&path, e))?;
            }
        }
    }
    let shells = SHELLS.map(|(_, place)| place).join(", ");
    out::note(format_args!("written to {}: {PAGES}, {shells}", args.folder.display()));
    Ok(Outcome::Done)
}

/// The command lines of all programs.
fn programs() -> [clap::Command; 4] {
    [
        crate::Cli::command(),
        applications::command::<RuleFlags>(&purchase_processor::ABOUT),
        service::command(&items_service::ABOUT),
        service::command(&purchase_service::ABOUT),
    ]
}

fn create(folder: &Path, place: &str) -> Result<PathBuf, Error> {
    let path = folder.join(place);
    std::fs::create_dir_all(&path).map_err(|e| failed(&path, e))?;
    Ok(path)
}

fn failed(path: &Path, source: std::io::Error) -> Error {
    Error::File { path: path.to_owned(), source }
}
