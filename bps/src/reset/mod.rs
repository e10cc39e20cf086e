//! `bps reset`: forgets the local state, or begins anew under another prefix, or goes on at a
//! gap, or brings rows back that a topic has lost. Nothing is ever deleted: what is forgotten is
//! moved aside.

mod plan;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bps_service::applications::NamedTopology;
use bps_service::settings::Period;
use bps_streams::broker::{Broker, Isolation, OffsetSpec};
use bps_streams::replay::{Rebuilt, Replay};
use bps_streams::{FolderLock, Topology};
use purchase_processor::Settings;

use self::plan::{Plan, anew, carry_out, forget, skip_gap};
use crate::error::Error;
use crate::exit::{self, Outcome};
use crate::interrupt::Interrupt;
use crate::log::{LogArgs, Prefixes, existing, partitions};
use crate::out;
use crate::replay::{Fresh, open};
use crate::selection::{Selection, state_of};

const ABOUT: &str = "\
Rebuild the processor's store, or decide anew under another prefix

Without one of these words the local store is moved aside (STATE/store.reset-N), and the next
start rebuilds it from its topics. No decision changes, no record is touched.

--anew prepares deciding the same inputs again into empty topics: it checks that nothing lies under
--output-prefix and that its application never ran, moves aside state that belongs to another
application, and prints the command to start.

--skip-gap lets the next start go on where records that it still wants are gone from the log, or at
an offset of its group that others have set, if that is a later one. What is passed over is never
decided.

--rebuild-rows is for a topic of rows that was made anew or has lost its end: all inputs are decided
again, in the order that the results record, and the rows that come of it are written where the topic
lacks them. Nothing is written unless every result comes out as it lies on its topic. Then the local
store is moved aside. Other machines of the same application then need a plain reset.

Of several topologies each is dealt with where its state lies: the first in the state folder itself,
any other in the folder of its name there. --topology names those that are meant.

The application must be stopped: its folders are taken meanwhile.";

const EXAMPLES: &str = "  \
bps reset
  bps reset --anew --output-prefix trial --yes
  bps reset --skip-gap
  bps reset --rebuild-rows
  bps reset --kafka localhost:9092 --state /var/lib/purchase-processor";

/// Arguments of `bps reset`.
#[derive(Debug, clap::Args)]
#[command(about = "Rebuild the processor's store, or decide anew under another prefix")]
#[command(long_about = ABOUT, after_help = exit::help(EXAMPLES))]
pub(crate) struct ResetArgs {
    /// Decide the same inputs into empty topics under --output-prefix
    #[arg(long, requires = "output_prefix")]
    anew: bool,
    /// Let the next start go on at a gap
    #[arg(long, conflicts_with = "anew")]
    skip_gap: bool,
    /// Write the rows anew that a topic has lost
    #[arg(long, conflicts_with_all = ["anew", "skip_gap"])]
    rebuild_rows: bool,
    /// With --rebuild-rows: the processor's memory of decided ids, if it has a bound
    #[arg(long, env = "BPS_MEMORY_WINDOW", value_name = "TIME")]
    memory_window: Option<Period>,
    /// The process's state folder [default: `state` in --data; required with --kafka]
    #[arg(long, env = "BPS_STATE", value_name = "DIR")]
    state: Option<PathBuf>,
    /// Do it without asking
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    prefixes: Prefixes,
    #[command(flatten)]
    log: LogArgs,
}

/// A topology, and what will be done about its state.
struct Work {
    one: &'static NamedTopology<Settings>,
    topology: Topology,
    plan: Plan,
    /// Held until all is done: nobody starts in between.
    lock: Option<FolderLock>,
}

/// Runs the command.
pub(crate) fn run(args: &ResetArgs) -> Result<Outcome, Error> {
    let selected = args.selection.topologies()?;
    let root = root(args)?;
    if !root.is_dir() && !args.anew && !args.rebuild_rows {
        let cause = format!("{} is no folder: no processor has run there", root.display());
        return Err(Error::Refused(cause));
    }
    let Prefixes { input_prefix, output_prefix } = &args.prefixes;
    let mut settings = Settings::new(input_prefix, output_prefix);
    settings.memory_window = args.memory_window.map(|window| window.0);
    // It and the folders stay taken until it is done.
    let broker = args.log.take()?;
    let mut works = Vec::new();
    for one in &selected {
        works.push(plan(args, &*broker, &root, one, (one.topology)(&settings)?)?);
    }
    let (idle, works): (Vec<_>, Vec<_>) = works
        .into_iter()
        .partition(|work| work.plan.is_empty() && !args.anew && !args.rebuild_rows);
    for Work { one, .. } in idle {
        let state = state_of(&root, one);
        out::note(format_args!("nothing to do: there is no store in {}", state.display()));
    }
    if works.is_empty() {
        return Ok(Outcome::Done);
    }
    let is_one = selected.len() == 1;
    works.iter().for_each(|work| tell(work, args.rebuild_rows, is_one));
    confirm(args.yes)?;
    let (mut plans, mut locks) = (Vec::new(), Vec::new());
    for Work { one, topology, plan, lock } in works {
        if args.rebuild_rows {
            rebuild_rows(&*broker, one, topology)?;
        }
        plans.push((one, plan));
        locks.push(lock);
    }
    for (one, plan) in plans {
        carry_out(&plan)?;
        let whose = if is_one { String::new() } else { format!("topology {}: ", one.name) };
        out::result(format_args!("done: {whose}{}", plan.consequence))?;
    }
    Ok(Outcome::Done)
}

/// The state folder of the process.
fn root(args: &ResetArgs) -> Result<PathBuf, Error> {
    let is_kafka = args.log.cluster()?.is_some();
    let root = match (&args.state, is_kafka) {
        (Some(state), _) => state.clone(),
        (None, true) => {
            let cause = "--kafka needs --state DIR, the processor's state folder on this machine";
            return Err(Error::Usage(cause.to_owned()));
        }
        (None, false) => state_folder(args.log.folder()),
    };
    if !is_kafka {
        existing(args.log.folder())?;
    }
    Ok(root)
}

/// What is to be done about a topology.
fn plan(
    args: &ResetArgs,
    broker: &dyn Broker,
    root: &Path,
    one: &'static NamedTopology<Settings>,
    topology: Topology,
) -> Result<Work, Error> {
    let Prefixes { input_prefix, output_prefix } = &args.prefixes;
    let state = state_of(root, one);
    // A topology that has never run has no folder, and gets none by this.
    let has_folder = state.is_dir() || args.anew || args.rebuild_rows || args.skip_gap;
    let lock = has_folder.then(|| FolderLock::take(&state)).transpose()?;
    let plan = match () {
        () if args.anew => {
            check_unused(broker, &topology, &[input_prefix.as_str(), output_prefix.as_str()])?;
            anew(&state, topology.name(), &start(args))?
        }
        () if args.skip_gap => skip_gap(&state),
        () if !has_folder => Plan::default(),
        () => forget(&state, &sources(broker, &topology)?)?,
    };
    let plan = match args.rebuild_rows {
        true => Plan { consequence: "the next start finds every row there".to_owned(), ..plan },
        false => plan,
    };
    Ok(Work { one, topology, plan, lock })
}

/// Where `bps up` keeps the processor's state, when it is not told otherwise.
pub(crate) fn state_folder(data: &Path) -> PathBuf {
    data.join("state")
}

/// The command that starts what was prepared.
fn start(args: &ResetArgs) -> String {
    let Prefixes { input_prefix, output_prefix } = &args.prefixes;
    let mut words = vec![format!("bps up --output-prefix {output_prefix}")];
    if input_prefix != bps_events::topics::PREFIX {
        words.push(format!("--input-prefix {input_prefix}"));
    }
    if let Ok(Some(kafka)) = args.log.cluster() {
        words.push(format!("--kafka {}", kafka.bootstrap));
    }
    if let Some(data) = &args.log.data {
        words.push(format!("--data {}", data.display()));
    }
    if let Some(state) = &args.state {
        words.push(format!("--state {}", state.display()));
    }
    words.extend(args.selection.told().map(|names| format!("--run {names}")));
    words.join(" ")
}

/// The topics that the store comes back from, and how much they hold.
fn sources(broker: &dyn Broker, topology: &Topology) -> Result<String, Error> {
    let names = topology.backing_topics();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut parts = Vec::new();
    for (name, topic) in names.iter().zip(broker.describe_topics(&names)?) {
        let Some(topic) = topic else {
            let cause = format!(
                "topic {name} does not exist, so that the store could not be rebuilt: \
                 is --output-prefix right?"
            );
            return Err(Error::Refused(cause));
        };
        let at = partitions(&topic);
        let starts = broker.offsets(&at, OffsetSpec::Start)?;
        let ends = broker.offsets(&at, OffsetSpec::End(Isolation::ReadCommitted))?;
        let offsets = starts.iter().zip(&ends).map(|(start, end)| end - start).sum::<u64>();
        parts.push(format!("{name} ({offsets} offsets)"));
    }
    Ok(parts.join(", "))
}

/// Writes what the changelogs lack.
fn rebuild_rows(
    broker: &dyn Broker,
    one: &'static NamedTopology<Settings>,
    topology: Topology,
) -> Result<(), Error> {
    let interrupt = Interrupt::listen();
    let tables = topology.tables();
    let changelogs = topology.changelogs().collect::<Vec<_>>().join(", ");
    let folder = Fresh::make(None, &[one])?;
    let store = Arc::new(open(&folder.of(one).join("store"), &tables)?);
    let rebuilt = Replay::new(broker, topology, store)?.rebuild(&|_, _| !interrupt.is_raised());
    let Rebuilt { replay, rows } = match rebuilt {
        Err(_) if interrupt.is_raised() => return Err(Error::Interrupted(String::new())),
        rebuilt => rebuilt?,
    };
    if let Some(first) = replay.differences.first() {
        let cause = format!(
            "nothing was done: of {} outputs {} do not come out as they are recorded ({first}); \
             `bps verify` and `bps replay` tell more",
            replay.outputs, replay.differing
        );
        return Err(Error::Refused(cause));
    }
    out::note(format_args!("{} records decided again, {rows} rows written", replay.records));
    if rows == 0 {
        out::note(format_args!("{changelogs} lacked nothing"));
    }
    Ok(())
}

/// Whether nothing lies under the new prefix and its application has never decided anything.
fn check_unused(
    broker: &dyn Broker,
    topology: &Topology,
    [input, output]: &[&str; 2],
) -> Result<(), Error> {
    if input == output || *output == bps_events::topics::PREFIX {
        let cause = format!("--output-prefix {output}: the live results lie there, take another");
        return Err(Error::Usage(cause));
    }
    let inputs: Vec<&str> = topology.sources().map(|(_, topic)| topic).collect();
    let all = topology.topics(1);
    let names: Vec<&str> = all.iter().map(|t| t.name.as_str()).collect();
    for topic in broker.describe_topics(&names)?.into_iter().flatten() {
        let at = partitions(&topic);
        if inputs.contains(&topic.name.as_str()) {
            let committed = broker.committed(topology.name(), &at)?;
            if committed.iter().any(Option::is_some) {
                let cause =
                    format!("application {} has run before: take another prefix", topology.name());
                return Err(Error::Refused(cause));
            }
            continue;
        }
        // Also what was deleted since has been there: an end above 0 tells.
        let ends = broker.offsets(&at, OffsetSpec::End(Isolation::ReadUncommitted))?;
        if ends.iter().any(|end| *end > 0) {
            let cause = format!("topic {} is not empty: take another prefix", topic.name);
            return Err(Error::Refused(cause));
        }
    }
    Ok(())
}

/// Says what will be done; of which topology, where there are several.
fn tell(work: &Work, is_rebuild: bool, is_one: bool) {
    let Work { one, topology, plan, .. } = work;
    if !is_one {
        out::note(format_args!("topology {}", one.name));
    }
    if is_rebuild {
        let changelogs = topology.changelogs().collect::<Vec<_>>().join(", ");
        out::note(format_args!(
            "decides all inputs again, and writes to {changelogs} what it lacks"
        ));
    }
    for (from, to) in &plan.moves {
        out::note(format_args!("moves {} to {}", from.display(), to.display()));
    }
    if let Some(marker) = &plan.marker {
        out::note(format_args!("writes {}", marker.display()));
    }
    out::note(format_args!("then {}", plan.consequence));
}

/// Asks whether it is to be done.
fn confirm(yes: bool) -> Result<(), Error> {
    if yes {
        return Ok(());
    }
    match out::ask("Go on?") {
        Some(true) => Ok(()),
        Some(false) => Err(Error::Refused("nothing was done".to_owned())),
        None => {
            let cause = "nothing was done: there is no terminal to ask at; --yes does it unasked";
            Err(Error::Usage(cause.to_owned()))
        }
    }
}
