//! `bps topology`: how the topologies of the purchase processor are wired.

use purchase_processor::Settings;

use crate::error::Error;
use crate::exit::{self, Outcome};
use crate::log::Prefixes;
use crate::out;
use crate::selection::Selection;

const EXAMPLES: &str = "  \
bps topology
  bps topology --topology stock --mermaid > topology.mmd";

/// Arguments of `bps topology`.
#[derive(Debug, clap::Args)]
#[command(about = "Print how the topologies of the purchase processor are wired")]
#[command(after_help = exit::help(EXAMPLES))]
pub(crate) struct TopologyArgs {
    /// As a Mermaid flowchart
    #[arg(long)]
    mermaid: bool,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    prefixes: Prefixes,
}

/// Runs the command.
pub(crate) fn run(args: &TopologyArgs) -> Result<Outcome, Error> {
    let settings = Settings::new(&args.prefixes.input_prefix, &args.prefixes.output_prefix);
    for (index, one) in args.selection.topologies()?.into_iter().enumerate() {
        if index > 0 {
            out::result("")?;
        }
        let topology = (one.topology)(&settings)?;
        let text = if args.mermaid { topology.mermaid() } else { topology.to_string() };
        out::result(text.trim_end())?;
    }
    Ok(Outcome::Done)
}
