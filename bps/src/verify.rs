//! `bps verify`: proves from the topics that every promise was kept. It looks and never writes;
//! what is checked stands in the crate `bps-verifier`.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bps_service::settings::Period;
use bps_verifier::{Acknowledged, Counts, Receipt, Report, Verifier};
use purchase_processor::Settings;
use serde::Deserialize;

use crate::error::Error;
use crate::exit::{self, Outcome};
use crate::interrupt::Interrupt;
use crate::log::{LogArgs, Prefixes};
use crate::selection::Selection;
use crate::{bar, out};

const ABOUT: &str = "\
Prove from the topics that every promise was kept

Reads all topics, decides every purchase again in the recorded order, by code that the processor
does not share, and compares. The rules:

  C1   every purchase has exactly one result; what has none is a resend or a dead letter
  C2   the recorded order of decisions never goes back, and no purchase is decided before a restock
       that lay there before it was sent
  C3   never oversold, and each result is what the rule says
  C4   every restock counts once and is answered once
  C5   the table of stock agrees with the decisions
  C7   the group's offsets agree with the decisions
  C8   at rest, no transaction is open (--at-rest)
  C9   nothing was written by a predecessor of the processor
  C10  what was acknowledged is there and has a result (--acknowledged)

It may run beside a live system, whose embedded log is followed read-only: what is not decided yet
is counted as undecided. With --at-rest it is a finding, and so are open transactions and lag.

An offset of an input that no record has is a finding (C1): its record is gone. Where others write
restocks or purchases in transactions, whose markers leave such offsets, --transactional-inputs
says so.

--acknowledged FILE has a line for each event: {\"itemId\":...,\"purchaseId\":...}, or restockId, or
a bare purchaseId. An object may also have sentAt (before it was first sent) and acknowledgedAt
(when it had been acknowledged), in milliseconds of one clock for all: then C2 knows what lay there
before a purchase was sent.

When a record came is not in the topics. Restocks that were decided after a purchase with a later
stamp are counted as late: without such times nobody can tell whether they lay there by then. With
--stamps-within TIME it is taken from their stamps: you vouch that every record came to its topic at
most so long before or after its stamp.

--future-max, --clock-skew-max and --memory-window must be what the processor has.

A finding is: RULE TOPIC-PARTITION@OFFSET: expected ...; found ...
With --json one object is printed: counts, findings (the first 100), by_rule, records_read.";

const EXAMPLES: &str = "  \
bps verify
  bps verify --at-rest --json
  bps verify --kafka localhost:9092 --output-prefix trial
  bps verify --acknowledged sent.jsonl --data /var/lib/bps
  bps verify --stamps-within 2s";

/// Arguments of `bps verify`.
#[derive(Debug, clap::Args)]
#[command(about = "Prove from the topics that every promise was kept")]
#[command(long_about = ABOUT, after_help = exit::help(EXAMPLES))]
pub(crate) struct VerifyArgs {
    /// Nothing is sent or decided any more: what is open is a finding
    #[arg(long)]
    at_rest: bool,
    /// Others write restocks and purchases in transactions: offsets without a record are no finding
    #[arg(long)]
    transactional_inputs: bool,
    /// One JSON object instead of lines
    #[arg(long)]
    json: bool,
    /// Events that were acknowledged, one a line
    #[arg(long, value_name = "FILE")]
    acknowledged: Option<PathBuf>,
    /// Partitions that are read side by side: faster on several cores, each wants its own memory
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: u16,
    /// The processor's memory of decided ids, if it has a bound
    #[arg(long, env = "BPS_MEMORY_WINDOW", value_name = "TIME")]
    memory_window: Option<Period>,
    /// How far ahead of its clock the processor lets a record be stamped [default: 10s]
    #[arg(long, env = "BPS_FUTURE_MAX", value_name = "TIME")]
    future_max: Option<Period>,
    /// How much later than a purchase a restock may be stamped that goes before it [default: 5s]
    #[arg(long, env = "BPS_CLOCK_SKEW_MAX", value_name = "TIME")]
    clock_skew_max: Option<Period>,
    /// Every record came to its topic at most so long before or after its stamp
    #[arg(long, value_name = "TIME")]
    stamps_within: Option<Period>,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    prefixes: Prefixes,
    #[command(flatten)]
    log: LogArgs,
}

/// Runs the command.
pub(crate) fn run(args: &VerifyArgs) -> Result<Outcome, Error> {
    let interrupt = Interrupt::listen();
    must_be_checked(&args.selection)?;
    let Prefixes { input_prefix, output_prefix } = &args.prefixes;
    let defaults = Settings::new(input_prefix, output_prefix);
    let ms = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    let or = |told: Option<Period>, default| ms(told.map_or(default, |period| period.0));
    let acknowledged = match &args.acknowledged {
        Some(path) => events(path)?,
        None => Vec::new(),
    };
    let log = args.log.look()?;
    let verifier = Verifier::new(log.broker(), defaults.topics, defaults.application)
        .at_rest(args.at_rest)
        .transactional_inputs(args.transactional_inputs)
        .threads(usize::from(args.threads))
        .memory_window_ms(args.memory_window.map(|window| ms(window.0)))
        .future_max_ms(or(args.future_max, defaults.future_max))
        .clock_skew_max_ms(or(args.clock_skew_max, defaults.clock_skew_max))
        .stamps_within_ms(args.stamps_within.map(|within| ms(within.0)))
        .acknowledged(acknowledged);
    let begun = Instant::now();
    let bar = bar::records();
    let report = verifier.run(&|progress| {
        if let Some(bar) = &bar {
            bar.set_length(progress.total);
            bar.set_position(progress.done);
        }
        if interrupt.is_raised() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    if let Some(bar) = &bar {
        bar.finish_and_clear();
    }
    let report = report?;
    if args.json {
        let text = serde_json::to_string(&report).map_err(|e| Error::Output(e.into()))?;
        out::result(text)?;
    } else {
        people(&report, begun.elapsed().as_secs_f64())?;
    }
    Ok(if report.is_clean() { Outcome::Done } else { Outcome::Findings })
}

/// The topology that the checker knows.
const CHECKED: &str = "stock";

/// What nobody checks must not look as if it were well.
fn must_be_checked(selection: &Selection) -> Result<(), Error> {
    match selection.topologies()?.iter().any(|one| one.name == CHECKED) {
        true => Ok(()),
        false => Err(Error::Usage(format!("--topology: only {CHECKED} can be verified"))),
    }
}

/// Counts, findings, verdict.
fn people(report: &Report, seconds: f64) -> Result<(), Error> {
    let Counts { purchases, results, restocks, items, units_sold, .. } = &report.counts;
    let Counts { moved, dead_letters, resends, undecided, foreign, late, .. } = &report.counts;
    let list = |counts: &std::collections::BTreeMap<String, u64>| {
        let words: Vec<_> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
        if words.is_empty() { "none".to_owned() } else { words.join(", ") }
    };
    out::result(format_args!("purchases     {purchases}: {}", list(results)))?;
    let sum: u64 = restocks.values().sum();
    out::result(format_args!("restocks      {sum}: {}", list(restocks)))?;
    for (kind, counts) in &report.counts.commands {
        let sum: u64 = counts.values().sum();
        out::result(format_args!("{kind:<13} {sum}: {}", list(counts)))?;
    }
    out::result(format_args!("items         {items}, {units_sold} units sold"))?;
    out::result(format_args!(
        "others        {moved} moved, {dead_letters} dead letters, {resends} resends, \
         {undecided} undecided, {foreign} foreign rows, {late} late restocks"
    ))?;
    for finding in &report.findings {
        out::result(finding)?;
    }
    let read = report.records_read;
    if report.is_clean() {
        return out::result(format_args!("clean: {read} records in {seconds:.1} s, 0 findings"));
    }
    let found: u64 = report.by_rule.values().sum();
    let rules: Vec<_> =
        report.by_rule.iter().map(|(rule, count)| format!("{rule} {count}")).collect();
    let rules = rules.join(", ");
    out::result(format_args!("broken: {read} records, {found} findings ({rules})"))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    item_id: Option<String>,
    purchase_id: Option<String>,
    restock_id: Option<String>,
    sent_at: Option<i64>,
    acknowledged_at: Option<i64>,
}

fn events(path: &Path) -> Result<Vec<Receipt>, Error> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    let mut events = Vec::new();
    for (number, line) in BufReader::new(File::open(path).map_err(failed)?).lines().enumerate() {
        let line = line.map_err(failed)?;
        if line.trim().is_empty() {
            continue;
        }
        let event = event(line.trim()).ok_or_else(|| {
            let cause = format!(
                "{}: line {} names neither a purchaseId, nor a restockId and its itemId",
                path.display(),
                number + 1
            );
            Error::Usage(cause)
        })?;
        events.push(event);
    }
    Ok(events)
}

/// An object with ids, or a bare id (a JSON string, or the line itself).
fn event(line: &str) -> Option<Receipt> {
    if !line.starts_with('{') {
        let id = serde_json::from_str(line).unwrap_or_else(|_| line.to_owned());
        return Some(Acknowledged::Purchase { item: None, id }.into());
    }
    let Line { item_id, purchase_id, restock_id, sent_at, acknowledged_at } =
        serde_json::from_str(line).ok()?;
    let event = match (item_id, purchase_id, restock_id) {
        (item, Some(id), _) => Acknowledged::Purchase { item, id },
        (Some(item), None, Some(id)) => Acknowledged::Restock { item, id },
        _ => return None,
    };
    Some(event.with_times(sent_at, acknowledged_at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: Option<Receipt>) {
        assert_eq!(event(line), expected, "{line}");
    }

    #[test]
    fn a_line_is_an_object_or_an_id() {
        let purchase = |item: Option<&str>, id: &str| {
            Some(Acknowledged::Purchase { item: item.map(str::to_owned), id: id.to_owned() }.into())
        };
        check("p-1", purchase(None, "p-1"));
        check("\"p\\\"1\"", purchase(None, "p\"1"));
        check(r#"{"purchaseId":"p","itemId":"i","quantity":1}"#, purchase(Some("i"), "p"));
        check(r#"{"purchaseId":"p"}"#, purchase(None, "p"));
        let restock = Acknowledged::Restock { item: "i".to_owned(), id: "r".to_owned() };
        check(r#"{"restockId":"r","itemId":"i"}"#, Some(restock.clone().into()));
        let times = r#"{"restockId":"r","itemId":"i","sentAt":5,"acknowledgedAt":7}"#;
        check(times, Some(restock.with_times(Some(5), Some(7))));
        check(r#"{"restockId":"r"}"#, None);
        check("{", None);
    }
}
