//! `bps acl`: what each program needs to be allowed on a cluster, and nothing more.

use bps_events::topics::Program;
use bps_streams::Topology;
use purchase_processor::Settings;

use crate::error::Error;
use crate::exit::{self, Outcome};
use crate::log::Prefixes;
use crate::out;
use crate::selection::Selection;

const EXAMPLES: &str = "  \
bps acl --bootstrap kafka-1:9093 --command-config admin.properties | sh
  bps acl --items User:CN=items --purchases User:CN=purchases --processor User:CN=processor";

/// Arguments of `bps acl`.
#[derive(Debug, clap::Args)]
#[command(about = "Print the commands that allow each program what it needs on a cluster")]
#[command(after_help = exit::help(EXAMPLES))]
pub(crate) struct AclArgs {
    /// The cluster, as kafka-acls.sh is to find it
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:9092")]
    bootstrap: String,
    /// The client settings of whoever may change rights, for kafka-acls.sh
    #[arg(long, value_name = "FILE")]
    command_config: Option<String>,
    /// Principal of items-service
    #[arg(long, value_name = "PRINCIPAL", default_value = "User:items-service")]
    items: String,
    /// Principal of purchase-service
    #[arg(long, value_name = "PRINCIPAL", default_value = "User:purchase-service")]
    purchases: String,
    /// Principal of purchase-processor
    #[arg(long, value_name = "PRINCIPAL", default_value = "User:purchase-processor")]
    processor: String,
    /// Principal of whoever runs `bps topics create`, `tail`, `verify`, `replay` and `reset`
    #[arg(long, value_name = "PRINCIPAL", default_value = "User:bps")]
    operator: String,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    prefixes: Prefixes,
}

/// Runs the command.
pub(crate) fn run(args: &AclArgs) -> Result<Outcome, Error> {
    let settings = Settings::new(&args.prefixes.input_prefix, &args.prefixes.output_prefix);
    let config = args.command_config.as_ref();
    let config = config.map(|file| format!(" --command-config {}", quoted(file)));
    let begin = format!(
        "kafka-acls.sh --bootstrap-server {}{} --add",
        quoted(&args.bootstrap),
        config.unwrap_or_default()
    );
    let mut told = Vec::new();
    for one in args.selection.topologies()? {
        for rule in rules(args, &settings, &(one.topology)(&settings)?) {
            // What several topologies need is allowed once.
            if !told.contains(&rule) {
                out::result(format!("{begin} {rule}"))?;
                told.push(rule);
            }
        }
    }
    Ok(Outcome::Done)
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ":=._/,-@".contains(c);
    match word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

/// The end of each command: who, what, where.
fn rules(args: &AclArgs, settings: &Settings, topology: &Topology) -> Vec<String> {
    let application = topology.name();
    let used = topology.topics(1);
    let names = [&args.items, &args.purchases, &args.processor, &args.operator];
    let names = names.map(|name| quoted(name));
    let [items, purchases, processor, operator] = &names;
    let is_used = |name: &str| used.iter().any(|used| used.name == name);
    let all: Vec<_> = settings.topics.all().filter(|(_, name)| is_used(name)).collect();
    let programs =
        [(Program::Items, items), (Program::Purchases, purchases), (Program::Processor, processor)];
    let mut rules = Vec::new();
    for (program, who) in programs {
        // What a program may do, and to which topics.
        let mut groups: Vec<(Vec<&str>, Vec<&str>)> = Vec::new();
        for (info, name) in &all {
            let reads = info.readers.contains(&program).then_some("Read");
            let writes = info.writers.contains(&program).then_some("Write");
            let operations: Vec<_> = reads.into_iter().chain(writes).collect();
            match groups.iter_mut().find(|(known, _)| *known == operations) {
                Some((_, topics)) => topics.push(name),
                None => groups.push((operations, vec![name])),
            }
        }
        groups.retain(|(operations, _)| !operations.is_empty());
        for (mut operations, topics) in groups {
            // Reading, writing and deleting imply `Describe`. Each looks at a topic's policy before it
            // uses it.
            operations.push("DescribeConfigs");
            rules.push(on_topics(who, &operations, &topics));
        }
    }
    let topics: Vec<_> = all.iter().map(|(_, name)| *name).collect();
    rules.extend([
        format!("--allow-principal {processor} --operation Read --group {application}"),
        // Each worker's begins with the application's name.
        format!(
            "--allow-principal {processor} --operation Write --resource-pattern-type prefixed \
             --transactional-id {application}-"
        ),
        on_topics(operator, &["Create", "Read", "DescribeConfigs"], &topics),
        format!("--allow-principal {operator} --operation Delete --group {application}"),
        // Who reads without a group is still asked for the name of one.
        names.each_ref().map(|who| format!("--allow-principal {who}")).join(" ")
            + " --operation Describe --group streams-reader",
    ]);
    rules
}

fn on_topics(who: &str, operations: &[&str], topics: &[&str]) -> String {
    let operations: Vec<_> = operations.iter().map(|o| format!("--operation {o}")).collect();
    let topics: Vec<_> = topics.iter().map(|topic| format!("--topic {topic}")).collect();
    format!("--allow-principal {who} {} {}", operations.join(" "), topics.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_stays_one_word() {
        assert_eq!(quoted("User:CN=items,O=a"), "User:CN=items,O=a");
        assert_eq!(quoted("User:CN=a, O=b's"), r"'User:CN=a, O=b'\''s'");
    }
}
