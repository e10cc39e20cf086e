//! `bps topics`: list, create, describe, copy.

mod copy;

use bps_events::topics::PREFIX;
use bps_streams::broker::{Broker, Isolation, OffsetSpec, TopicDescription};
use bps_streams::{Topology, prepare_topics};
use purchase_processor::Settings;

use crate::error::Error;
use crate::exit::{self, Outcome};
use crate::log::{Log, LogArgs, Prefixes, partitions};
use crate::out;
use crate::selection::{Selection, heading};

const EXAMPLES: &str = "  \
bps topics list
  bps topics create --kafka localhost:9092 --partitions 8
  bps topics describe bps-stock bps-dead-letters";
const LIST_EXAMPLES: &str = "  \
bps topics list
  bps topics list --kafka localhost:9092";
const CREATE_EXAMPLES: &str = "  \
bps topics create --partitions 4
  bps topics create --kafka localhost:9092 --output-prefix trial";
const DESCRIBE_EXAMPLES: &str = "  \
bps topics describe
  bps topics describe bps-stock --data /var/lib/bps";
const COPY_EXAMPLES: &str = "  \
bps topics copy --to wide --partitions 12 --kafka localhost:9092
  bps up --input-prefix wide --output-prefix wide --kafka localhost:9092 --state ./wide";

/// Arguments of `bps topics`.
#[derive(Debug, clap::Args)]
#[command(about = "List, create, describe or copy topics")]
#[command(after_help = exit::help(EXAMPLES))]
pub(crate) struct TopicsArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Name, number of partitions and policy of each topic
    #[command(after_help = exit::help(LIST_EXAMPLES))]
    List(ListArgs),
    /// Create the processor's topics that are missing, and check the others
    ///
    /// Missing ones get the number of partitions of those that exist. An embedded log must not be
    /// in use: `bps up` creates its topics itself.
    #[command(after_help = exit::help(CREATE_EXAMPLES))]
    Create(CreateArgs),
    /// Partitions, policy, future bound, and each partition's offsets
    #[command(after_help = exit::help(DESCRIBE_EXAMPLES))]
    Describe(DescribeArgs),
    /// Copy what the inputs hold to inputs of another prefix, to be decided there
    ///
    /// Each record goes to the partition of its item, with its time and its headers, in the order of
    /// its partition. The topics of the other prefix are created; its inputs must be empty. What comes
    /// to the inputs from now on is not copied: stop the services first.
    #[command(after_help = exit::help(COPY_EXAMPLES))]
    Copy(CopyArgs),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Debug, clap::Args)]
struct CreateArgs {
    /// Number of partitions, where no topic exists yet
    #[arg(long, value_name = "COUNT", default_value_t = 8, env = "BPS_PARTITIONS")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    partitions: u32,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    prefixes: Prefixes,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Debug, clap::Args)]
struct DescribeArgs {
    /// Names of the topics; none: all of them
    topics: Vec<String>,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Debug, clap::Args)]
struct CopyArgs {
    /// The other prefix, of inputs and results
    #[arg(long, value_name = "PREFIX")]
    to: String,
    /// Number of partitions there
    #[arg(long, value_name = "COUNT", default_value_t = 8, env = "BPS_PARTITIONS")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    partitions: u32,
    /// Prefix of the topics that are read: restocks and purchases
    #[arg(long, env = "BPS_INPUT_PREFIX", value_name = "PREFIX", default_value = PREFIX)]
    input_prefix: String,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    log: LogArgs,
}

/// Runs the command.
pub(crate) fn run(args: &TopicsArgs) -> Result<Outcome, Error> {
    match &args.verb {
        Verb::List(args) => list(&args.log)?,
        Verb::Create(args) => create(args)?,
        Verb::Describe(args) => describe(args)?,
        Verb::Copy(args) => copy::run(args)?,
    }
    Ok(Outcome::Done)
}

fn list(args: &LogArgs) -> Result<(), Error> {
    let topics = args.look()?.topics()?;
    let width = topics.iter().map(|t| t.name.len()).max().unwrap_or(0);
    for topic in topics {
        let TopicDescription { name, partitions, cleanup, .. } = topic;
        out::result(format_args!("{name:<width$}  {partitions:>3} partitions  {cleanup}"))?;
    }
    Ok(())
}

fn create(args: &CreateArgs) -> Result<(), Error> {
    let settings = Settings::new(&args.prefixes.input_prefix, &args.prefixes.output_prefix);
    let selected = args.selection.topologies()?;
    let topologies = selected.iter().map(|one| (one.topology)(&settings));
    let topologies = topologies.collect::<std::result::Result<Vec<_>, _>>()?;
    let broker = args.log.take()?;
    for (index, topology) in topologies.iter().enumerate() {
        heading(&selected, index)?;
        create_of(&*broker, topology, args.partitions)?;
    }
    Ok(())
}

fn create_of(broker: &dyn Broker, topology: &Topology, partitions: u32) -> Result<(), Error> {
    let wanted = topology.topics(partitions);
    let names: Vec<&str> = wanted.iter().map(|t| t.name.as_str()).collect();
    let before = broker.describe_topics(&names)?;
    prepare_topics(broker, topology, partitions)?;
    let width = names.iter().map(|name| name.len()).max().unwrap_or(0);
    for ((name, before), after) in names.iter().zip(before).zip(broker.describe_topics(&names)?) {
        // A cluster may take a moment to tell of a topic that it has just made.
        let about = after.map(|t| format!("{:>3} partitions, {}", t.partitions, t.cleanup));
        let done = if before.is_some() { "exists " } else { "created" };
        out::result(format_args!("{name:<width$}  {done}  {}", about.unwrap_or_default()))?;
    }
    Ok(())
}

fn describe(args: &DescribeArgs) -> Result<(), Error> {
    let log = args.log.look()?;
    let topics = match args.topics.is_empty() {
        true => log.topics()?,
        false => args.topics.iter().map(|t| log.topic(t)).collect::<Result<_, _>>()?,
    };
    for topic in &topics {
        describe_one(&log, topic)?;
    }
    Ok(())
}

fn describe_one(log: &Log, topic: &TopicDescription) -> Result<(), Error> {
    let at = partitions(topic);
    let starts = log.offsets(&at, OffsetSpec::Start)?;
    let ends = log.offsets(&at, OffsetSpec::End(Isolation::ReadCommitted))?;
    let future = topic.future_max_ms.map_or_else(
        || "taken, whatever their stamp".to_owned(),
        |ms| format!("refused beyond {ms} ms ahead of the clock"),
    );
    out::result(&topic.name)?;
    out::result(format_args!("  partitions      {}", topic.partitions))?;
    out::result(format_args!("  cleanup         {}", topic.cleanup))?;
    out::result(format_args!("  future records  {future}"))?;
    for ((at, start), end) in at.iter().zip(starts).zip(ends) {
        out::result(format_args!("  partition {:>3}   offsets {start}..{end}", at.partition))?;
    }
    Ok(())
}
