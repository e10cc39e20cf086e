//! `bps import`: files of restocks and purchases, through the services, in the engine's order.
//!
//! Reading order: `kind` (what can be imported), `line` (what is looked at), `file` (where lines and missing ids come from),
//! `merge` (the order), `send` (acknowledged and resent), `progress`.

mod file;
mod kind;
mod line;
mod merge;
mod progress;
mod send;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use bps_service::settings::Period;
use tokio::sync::mpsc;

use self::file::{Ids, Lines};
use self::kind::{PURCHASES, RESTOCKS};
use self::merge::{Event, Feed};
use self::progress::Progress;
use self::send::{OnBadLine, Sender};
use crate::error::Error;
use crate::exit::{self, Outcome};
use crate::interrupt::Interrupt;
use crate::out;

pub(crate) use self::merge::BadLine;

/// Batches read ahead.
const AHEAD: usize = 4;

const ABOUT: &str = "\
Send files of restocks and purchases through the services

A file holds one JSON object a line:
  restocks   {\"itemId\", \"quantity\", \"description\"?, \"restockId\"?, \"timestamp\"?}
  purchases  {\"itemId\", \"quantity\", \"purchasedBy\"?, \"purchaseId\"?, \"timestamp\"?}
A timestamp (RFC 3339) becomes its record's timestamp.

Order: both files are merged as the processor would order them: by timestamp, restocks with a head
start of --clock-skew-max, restocks first where that is equal. Each file keeps its own order; a
line without a timestamp goes right behind the one before it in its file (at the beginning: before
all others). A line is sent when all lines of the other kind before it are acknowledged.

Again: ids that are missing are derived from the file's hash and the line's number, so that a
repeated import adds nothing, as long as the file stays the same byte for byte. Standard input has
no hash: there --id-prefix is required when ids are missing. What a service does not acknowledge
is sent again, for as long as it takes.";

const EXAMPLES: &str = "  \
bps import --restocks restocks.jsonl --purchases purchases.jsonl
  bps import --purchases purchases.jsonl --on-bad-line skip
  zcat purchases.jsonl.gz | bps import --purchases - --id-prefix 2017-w1
  bps import --restocks r.jsonl --items-url http://items.example:7401";

/// Arguments of `bps import`.
#[derive(Debug, clap::Args)]
#[command(about = "Send files of restocks and purchases through the services")]
#[command(long_about = ABOUT, after_help = exit::help(EXAMPLES))]
pub(crate) struct ImportArgs {
    /// File of restocks; `-` is standard input
    #[arg(long, value_name = "FILE", required_unless_present = "purchases")]
    restocks: Option<PathBuf>,
    /// File of purchases; `-` is standard input
    #[arg(long, value_name = "FILE")]
    purchases: Option<PathBuf>,
    /// Address of the items-service
    #[arg(long, env = "BPS_ITEMS_URL", value_name = "URL", value_parser = address)]
    #[arg(default_value = "http://127.0.0.1:7401")]
    items_url: String,
    /// Address of the purchase-service
    #[arg(long, env = "BPS_PURCHASES_URL", value_name = "URL", value_parser = address)]
    #[arg(default_value = "http://127.0.0.1:7402")]
    purchases_url: String,
    /// File that holds a token with the roles restock and purchase, where the services want one
    #[arg(long, env = "BPS_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Head start of restocks; the processor's own setting
    #[arg(long, env = "BPS_CLOCK_SKEW_MAX", value_name = "TIME", default_value = "5s")]
    clock_skew_max: Period,
    /// Prefix of missing ids (PREFIX-LINE) instead of the file's hash
    #[arg(long, value_name = "PREFIX", value_parser = id_prefix)]
    id_prefix: Option<String>,
    /// What becomes of a line that is not JSON, or that a service answers with 400
    #[arg(long, value_name = "POLICY", value_enum, default_value_t = OnBadLine::Stop)]
    on_bad_line: OnBadLine,
}

/// A service's address. There is no TLS in this client, so that an `https` must not seem to work.
fn address(text: &str) -> Result<String, String> {
    let url = reqwest::Url::parse(text).map_err(|e| e.to_string())?;
    match url.scheme() {
        "http" => Ok(text.to_owned()),
        other => Err(format!("{other} is not spoken here, only http")),
    }
}

fn id_prefix(text: &str) -> Result<String, String> {
    bps_events::check_id(text).map_err(|e| format!("it {e}"))?;
    // With `-` and a line's number behind it, it must still be an id.
    match text.len() {
        ..=200 => Ok(text.to_owned()),
        _ => Err("it is longer than 200 bytes".to_owned()),
    }
}

/// Runs the command.
pub(crate) fn run(args: &ImportArgs) -> Result<Outcome, Error> {
    let interrupt = Interrupt::listen();
    let (feeds, total) = feeds(args)?;
    let progress = Progress::start(total);
    let (items, purchases) = (&args.items_url, &args.purchases_url);
    let token = args.token_file.as_deref().map(token).transpose()?;
    let mut sender = Sender::new(items, purchases, token.as_deref(), args.on_bad_line, progress)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Error::Refused(format!("cannot start: {e}")))?;
    let done = runtime.block_on(async {
        tokio::select! {
            done = import(feeds, &mut sender) => done,
            () = interrupt.raised() => Err(Error::Interrupted(String::new())),
        }
    });
    sender.progress.finish();
    let counts = sender.progress.counts;
    let summary = counts.summary(sender.progress.elapsed());
    match done {
        Ok(()) => {
            out::result(summary)?;
            Ok(if counts.bad > 0 { Outcome::SomeSkipped } else { Outcome::Done })
        }
        Err(Error::Interrupted(_)) => {
            let word = format!(" ({summary}); the same command again goes on");
            Err(Error::Interrupted(word))
        }
        Err(error) => {
            out::note(format_args!("{summary}, then it stopped"));
            Err(error)
        }
    }
}

/// The only word of a file.
fn token(path: &Path) -> Result<String, Error> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::Usage(format!("{}: {error}", path.display())))?;
    let mut words = text.split_whitespace();
    match (words.next(), words.next()) {
        (Some(token), None) => Ok(token.to_owned()),
        _ => Err(Error::Usage(format!("{}: it does not hold one token", path.display()))),
    }
}

/// The files, restocks first (they win ties), and their bytes in all where that is known.
fn feeds(args: &ImportArgs) -> Result<(Vec<Feed>, Option<u64>), Error> {
    let head_start = i64::try_from(args.clock_skew_max.0.as_millis()).unwrap_or(i64::MAX);
    let files = [(&RESTOCKS, &args.restocks), (&PURCHASES, &args.purchases)];
    let is_stdin = |path: &Option<PathBuf>| path.as_deref() == Some(Path::new("-"));
    if files.iter().filter(|(_, path)| is_stdin(path)).count() > 1 {
        return Err(Error::Usage("only one of the files can be standard input".to_owned()));
    }
    let mut feeds = Vec::new();
    let mut total = Some(0_u64);
    for (kind, path) in files {
        let Some(path) = path else { continue };
        let lines = Lines::open(path)?;
        total = total.zip(lines.bytes).map(|(sum, bytes)| sum + bytes);
        let ids = Ids::new(args.id_prefix.clone(), path, &lines);
        let ahead = if kind.has_head_start { head_start } else { 0 };
        feeds.push(Feed::new(kind, lines, ids, ahead));
    }
    Ok((feeds, total))
}

/// Reads on a thread of its own, so that the next batch is ready when one is acknowledged.
async fn import(mut feeds: Vec<Feed>, sender: &mut Sender) -> Result<(), Error> {
    let (give, mut take) = mpsc::channel::<Result<Event, Error>>(AHEAD);
    let read = move || {
        let outcome = merge::run(&mut feeds, |event| give.blocking_send(Ok(event)).is_ok());
        if let Err(error) = outcome {
            // Nobody listens when the import has ended otherwise.
            drop(give.blocking_send(Err(error)));
        }
    };
    // Not joined: at an interruption it may sit in a read of standard input for ever.
    let thread = std::thread::Builder::new().name("read".to_owned()).spawn(read);
    thread.map_err(|e| Error::Refused(format!("cannot start: {e}")))?;
    while let Some(event) = take.recv().await {
        match event? {
            Event::Batch(batch) => sender.send(&batch).await?,
            Event::Bad(line) => sender.bad(line)?,
        }
    }
    Ok(())
}
