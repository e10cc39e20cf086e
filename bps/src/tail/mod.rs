//! `bps tail`: the records of a topic as they come, committed ones only.

mod render;

use std::io::Write;
use std::time::Duration;

use bps_streams::broker::{BrokerError, Isolation, OffsetSpec, Reader, TopicPartition};
use bps_streams::record::Batch;

use self::render::Form;
use crate::error::Error;
use crate::exit::{self, Outcome};
use crate::interrupt::Interrupt;
use crate::log::{Log, LogArgs, partitions};
use crate::out;

/// Bytes taken from one partition at a time.
const FETCH_BYTES: usize = 256 << 10;
/// How long one wait for records is: an interruption is noticed that soon.
const WAIT: Duration = Duration::from_millis(100);
const PAUSE: Duration = Duration::from_millis(500);

const ABOUT: &str = "\
Show the records of a topic as they come

Reads all partitions, committed records only, until it is interrupted (or --count are shown). An
embedded log may belong to a running `bps up`: it is followed read-only.

A line is: partition@offset  time  key  value  header=value ...
With --json it is an object of topic, partition, offset, timestamp (ms), time, key, value, headers.
A value that is a JSON object or list stands there as JSON, other text as a string, other bytes as
{\"$hex\":\"...\"}; headers are a list of {\"name\",\"value\"}, the binary header `stamp` decoded.";

const EXAMPLES: &str = "  \
bps tail bps-purchase-finished
  bps tail bps-stock --from-start --json
  bps tail bps-dead-letters --from-start --kafka localhost:9092
  bps tail bps-purchase-finished --count 4 --wait --data /var/lib/bps";

/// Arguments of `bps tail`.
#[derive(Debug, clap::Args)]
#[command(about = "Show the records of a topic as they come")]
#[command(long_about = ABOUT, after_help = exit::help(EXAMPLES))]
pub(crate) struct TailArgs {
    /// Name of the topic
    topic: String,
    /// Begin with the first record instead of the next one
    #[arg(long)]
    from_start: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// End after so many records
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Wait for a log or topic that is not there yet
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    log: LogArgs,
}

/// Runs the command.
pub(crate) fn run(args: &TailArgs) -> Result<Outcome, Error> {
    let interrupt = Interrupt::listen();
    let form = if args.json { Form::Json } else { Form::People };
    let mut left = args.count.unwrap_or(u64::MAX);
    if left == 0 {
        return Ok(Outcome::Done);
    }
    let mut tail = begin(args, &interrupt)?;
    let mut batch = Batch::default();
    let mut lines = Vec::new();
    let mut told = false;
    while !interrupt.is_raised() {
        let outcome = tail.step(&mut batch, |topic, partition, batch| {
            lines.clear();
            let take = usize::try_from(left).unwrap_or(usize::MAX).min(batch.len());
            for index in 0..take {
                render::write(&batch.get(index, topic, partition), form, &mut lines);
            }
            left -= take as u64;
            // Flushed at once: whoever waits for a line behind a pipe gets it.
            let mut stdout = std::io::stdout().lock();
            stdout.write_all(&lines).and_then(|()| stdout.flush()).map_err(Error::Output)
        });
        match outcome {
            Ok(()) if left == 0 => return Ok(Outcome::Done),
            Ok(()) => told = false,
            Err(error) if error.is_unavailable() => {
                if !std::mem::replace(&mut told, true) {
                    out::note(format_args!("waits: {error}"));
                }
                std::thread::sleep(PAUSE);
            }
            Err(error) => return Err(error),
        }
    }
    Err(Error::Interrupted(String::new()))
}

/// A topic being read.
struct Tail {
    log: Log,
    reader: Box<dyn Reader>,
    positions: Vec<(TopicPartition, u64)>,
}

/// Finds the topic, waiting for it where that is wanted.
fn begin(args: &TailArgs, interrupt: &Interrupt) -> Result<Tail, Error> {
    let (mut told, mut from_start) = (false, args.from_start);
    while !interrupt.is_raised() {
        let outcome = args.log.look().and_then(|log| Tail::open(log, &args.topic, from_start));
        match outcome {
            Err(error) if args.wait && may_come(&error) => {
                if !std::mem::replace(&mut told, true) {
                    out::note(format_args!("waits: {error}"));
                }
                // Of a topic that was not there yet, the first records are news too.
                from_start |= !matches!(error, Error::Broker(_));
                std::thread::sleep(PAUSE);
            }
            other => return other,
        }
    }
    Err(Error::Interrupted(String::new()))
}

/// Whether what is missing can still come.
fn may_come(error: &Error) -> bool {
    matches!(error, Error::UnknownTopic { .. } | Error::NoLog { .. } | Error::Broker(_))
}

impl Tail {
    fn open(log: Log, topic: &str, from_start: bool) -> Result<Tail, Error> {
        let partitions = partitions(&log.topic(topic)?);
        let end = OffsetSpec::End(Isolation::ReadCommitted);
        let spec = if from_start { OffsetSpec::Start } else { end };
        let offsets = log.offsets(&partitions, spec)?;
        let positions: Vec<_> = partitions.into_iter().zip(offsets).collect();
        let reader = log.reader(&positions)?;
        Ok(Tail { log, reader, positions })
    }

    /// Waits a little, then gives out what each partition has.
    fn step(
        &mut self,
        batch: &mut Batch,
        mut give: impl FnMut(&str, u32, &Batch) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.reader.wait(WAIT)?;
        for slot in 0..self.positions.len() {
            batch.clear();
            match self.reader.fetch(slot, FETCH_BYTES, batch) {
                Ok(position) => self.positions[slot].1 = position,
                Err(BrokerError::OffsetOutOfRange { partition, offset, start, .. }) => {
                    out::note(format_args!(
                        "{partition}: records from offset {offset} to {start} are gone already"
                    ));
                    self.positions[slot].1 = start;
                    self.reader = self.log.reader(&self.positions)?;
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
            if !batch.is_empty() {
                let (at, _) = &self.positions[slot];
                give(&at.topic, at.partition, batch)?;
            }
        }
        Ok(())
    }
}
