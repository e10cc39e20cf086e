//! `bps replay`: decides everything again from topic history, by the same code in the recorded
//! order, into a fresh folder, and compares rows and results byte by byte.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use bps_service::applications::NamedTopology;
use bps_service::settings::Period;
use bps_streams::broker::Broker;
use bps_streams::replay::{Replay, ReplayReport};
use bps_streams::store::Store;
use bps_streams::store::rocks::{MemoryBounds, RocksStore};
use bps_streams::{FolderLock, Topology};
use purchase_processor::Settings;
use serde::Serialize;

use crate::error::Error;
use crate::exit::{self, Outcome};
use crate::interrupt::Interrupt;
use crate::log::{LogArgs, Prefixes};
use crate::selection::{Selection, heading, state_of};
use crate::{bar, out};

const ABOUT: &str = "\
Decide everything again from topic history, and compare byte by byte

The inputs are processed again in the order that the results record, by the code that decides, into
a store of its own. Every result and every answer to a restock must come out as it lies on its
topic, and every row of stock as it lies on the changelog; with --state, also as it lies in that
state folder (its processor must be stopped). Nothing is written to any topic. Each topology has its
place in both folders: the first in the folder itself, any other in the folder of its name there.

It is meant for an application at rest. (`bps verify` looks for broken promises, by code of its
own, and may run at any time; replay shows that nothing but the inputs decides.)";

const EXAMPLES: &str = "  \
bps replay
  bps replay --state ./data/state
  bps replay --topology stock
  bps replay --kafka localhost:9092 --into ./rebuilt --json";

/// Arguments of `bps replay`.
#[derive(Debug, clap::Args)]
#[command(about = "Decide everything again from topic history, and compare byte by byte")]
#[command(long_about = ABOUT, after_help = exit::help(EXAMPLES))]
pub(crate) struct ReplayArgs {
    /// Where the rows are built and kept [default: a temporary folder, removed in the end]
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
    /// A process's state folder whose rows are compared too
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// One JSON object instead of lines; of several topologies one each, a line
    #[arg(long)]
    json: bool,
    /// The processor's memory of decided ids, if it has a bound
    #[arg(long, env = "BPS_MEMORY_WINDOW", value_name = "TIME")]
    memory_window: Option<Period>,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    prefixes: Prefixes,
    #[command(flatten)]
    log: LogArgs,
}

/// Runs the command.
pub(crate) fn run(args: &ReplayArgs) -> Result<Outcome, Error> {
    let interrupt = Interrupt::listen();
    let mut settings = Settings::new(&args.prefixes.input_prefix, &args.prefixes.output_prefix);
    settings.memory_window = args.memory_window.map(|window| window.0);
    let selected = args.selection.topologies()?;
    let log = args.log.look()?;
    // The folder is there once, however many topologies have their places in it.
    let folder = Fresh::make(args.into.as_deref(), &selected)?;
    let mut outcome = Outcome::Done;
    for (index, one) in selected.iter().enumerate() {
        let begun = Instant::now();
        let topology = (one.topology)(&settings)?;
        let state = args.state.as_ref().map(|root| state_of(root, one));
        let report = replay(log.broker(), topology, state, &folder.of(one), &interrupt)?;
        if report.differing > 0 {
            outcome = Outcome::Findings;
        }
        if args.json {
            out::result(json(&report, (selected.len() > 1).then_some(one.name))?)?;
        } else {
            heading(&selected, index)?;
            people(&report, begun.elapsed().as_secs_f64())?;
        }
    }
    Ok(outcome)
}

/// Decides again what one topology has decided, into `folder`.
fn replay(
    broker: &dyn Broker,
    topology: Topology,
    state: Option<PathBuf>,
    folder: &Path,
    interrupt: &Interrupt,
) -> Result<ReplayReport, Error> {
    let tables = topology.tables();
    let (_lock, against) = match &state {
        Some(state) => {
            let store = existing(state)?.join("store");
            (Some(FolderLock::take(state)?), Some(open(&store, &tables)?))
        }
        None => (None, None),
    };
    let store: Arc<dyn Store> = Arc::new(open(&folder.join("store"), &tables)?);
    let mut replay = Replay::new(broker, topology, store)?;
    if let Some(store) = &against {
        replay = replay.against(store);
    }
    let bar = bar::records();
    let report = replay.run(&|done, total| {
        if let Some(bar) = &bar {
            bar.set_length(total);
            bar.set_position(done);
        }
        !interrupt.is_raised()
    });
    if let Some(bar) = &bar {
        bar.finish_and_clear();
    }
    match report {
        Err(_) if interrupt.is_raised() => Err(Error::Interrupted(String::new())),
        report => Ok(report?),
    }
}

pub(crate) fn open(folder: &Path, tables: &[String]) -> Result<RocksStore, Error> {
    let store = RocksStore::open(folder, tables, MemoryBounds::default());
    Ok(store.map_err(bps_streams::Error::from)?)
}

/// A store that is not there would be made, and be empty.
fn existing(state: &Path) -> Result<&Path, Error> {
    match state.join("store").is_dir() {
        true => Ok(state),
        false => Err(Error::Refused(format!("{} holds no store", state.display()))),
    }
}

/// A folder that was not there before.
pub(crate) struct Fresh {
    path: PathBuf,
    is_temporary: bool,
}

impl Fresh {
    /// For these topologies, each of which has the place in it that it has in a state folder.
    pub(crate) fn make(
        wanted: Option<&Path>,
        topologies: &[&'static NamedTopology<Settings>],
    ) -> Result<Fresh, Error> {
        let temporary = || std::env::temp_dir().join(format!("bps-replay-{}", std::process::id()));
        let path = wanted.map_or_else(temporary, Path::to_owned);
        let places = topologies.iter().map(|one| state_of(&path, one));
        if let Some(place) = places.into_iter().find(|place| place.join("store").exists()) {
            let cause = format!("{} holds a store: replay wants a fresh folder", place.display());
            return Err(Error::Refused(cause));
        }
        let failed = |source| Error::File { path: path.clone(), source };
        fs::create_dir_all(&path).map_err(failed)?;
        Ok(Fresh { path, is_temporary: wanted.is_none() })
    }

    /// The place of a topology in it.
    pub(crate) fn of(&self, topology: &NamedTopology<Settings>) -> PathBuf {
        state_of(&self.path, topology)
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if self.is_temporary {
            // Best effort: it lies in the system's temporary folder.
            drop(fs::remove_dir_all(&self.path));
        }
    }
}

fn people(report: &ReplayReport, seconds: f64) -> Result<(), Error> {
    for difference in &report.differences {
        out::result(difference)?;
    }
    let ReplayReport { records, outputs, rows, differing, .. } = report;
    let verdict = if *differing == 0 { "the same" } else { "not the same" };
    out::result(format_args!(
        "{verdict}: {records} records again in {seconds:.1} s, {outputs} results and answers and \
         {rows} rows compared, {differing} differences"
    ))
}

#[derive(Serialize)]
struct Json<'a> {
    /// Which it is about, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    topology: Option<&'a str>,
    records: u64,
    outputs: u64,
    rows: u64,
    differing: u64,
    differences: Vec<JsonDifference<'a>>,
}

#[derive(Serialize)]
struct JsonDifference<'a> {
    place: &'a str,
    partition: u32,
    offset: Option<u64>,
    recorded: &'a str,
    replayed: &'a str,
}

fn json(report: &ReplayReport, topology: Option<&str>) -> Result<String, Error> {
    let ReplayReport { records, outputs, rows, differing, differences } = report;
    let differences = differences.iter().map(|d| JsonDifference {
        place: &d.place,
        partition: d.partition,
        offset: d.offset,
        recorded: &d.recorded,
        replayed: &d.replayed,
    });
    let json = Json {
        topology,
        records: *records,
        outputs: *outputs,
        rows: *rows,
        differing: *differing,
        differences: differences.collect(),
    };
    serde_json::to_string(&json).map_err(|e| Error::Output(e.into()))
}
