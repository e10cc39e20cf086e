//! Rows that fall due: how late they are where nothing comes, and what a million of them at one moment
//! does to what comes behind.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bps_service::exit::AnyError;
use bps_streams::broker::embedded::EmbeddedBroker;
use bps_streams::broker::kafka::{KafkaBroker, KafkaConfig};
use bps_streams::broker::{Appender, Broker, Bulk, Isolation, OffsetSpec, Reader, TopicPartition};
use bps_streams::partitioner::partition_of;
use bps_streams::record::Batch;
use bps_streams::topology::as_it_is;
use bps_streams::{
    Application, ApplicationConfig, Context, Due, DueRow, Ledger, Message, Node, Outgoing,
    ProcessResult, Processor, Record, Sink, SinkId, Source, Store, StoreId, Topology,
    TopologyError, prepare_topics,
};
use serde::{Deserialize, Serialize};

use crate::http::On;
use crate::measured::{Spread, percentile};
use crate::say;

const PARTITIONS: u32 = 2;
/// Rows one after the other in a partition where nothing else comes.
const QUIET_ROWS: usize = 200;
/// Rows that fall due at one moment, in partition 0.
const CROWD: usize = 1_000_000;
/// Until then they are loaded.
const LOADING: Duration = Duration::from_secs(45);
const PATIENCE: Duration = Duration::from_secs(120);
const FETCH_BYTES: usize = 1 << 20;
/// The value of a record that is answered at once.
const ECHO: &str = "echo";

/// How late rows fell due, and what waited.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Result {
    /// What it stands on.
    pub(crate) on: On,
    /// From the moment at which a row of a quiet partition is due until what came of it can be read
    /// (ms): half are faster.
    pub(crate) quiet_p50: Spread,
    /// One in a hundred is slower.
    pub(crate) quiet_p99: Spread,
    /// Rows a second, of a million that are due at one moment.
    pub(crate) crowd_per_s: Spread,
    /// How long the slowest record of their partition took meanwhile (ms).
    pub(crate) behind_max: Spread,
    /// How long one record in a hundred of another partition took, or longer (ms).
    pub(crate) beside_p99: Spread,
}

/// Measures both, several times.
///
/// # Errors
/// A run that fails.
pub(crate) fn run(kafka: &str, runs: usize) -> std::result::Result<Vec<Result>, AnyError> {
    let mut results = Vec::new();
    for on in [On::Embedded, On::Kafka] {
        let mut figures: [Vec<f64>; 5] = Default::default();
        for round in 1..=runs {
            let folder = tempfile::Builder::new().prefix("bps-bench-").tempdir()?;
            let broker: Arc<dyn Broker> = match on {
                On::Embedded => Arc::new(EmbeddedBroker::open(&folder.path().join("log"))?),
                On::Kafka => Arc::new(KafkaBroker::new(KafkaConfig::new(kafka))),
            };
            let name = format!("due-{}-{round}", std::process::id());
            let once = once(&broker, &name, folder.path())?;
            let [p50, p99, rate, behind, beside] = once;
            say(format_args!(
                "{round}/{runs} {on:?}: late {p50:.1} ms, p99 {p99:.1} ms; {rate:.0} rows/s of a \
                 million at once; behind them {behind:.0} ms, beside them p99 {beside:.1} ms"
            ));
            figures.iter_mut().zip(once).for_each(|(all, figure)| all.push(figure));
        }
        let [p50, p99, rate, behind, beside] = figures.map(Spread::of);
        results.push(Result {
            on,
            quiet_p50: p50,
            quiet_p99: p99,
            crowd_per_s: rate,
            behind_max: behind,
            beside_p99: beside,
        });
    }
    Ok(results)
}

/// The five figures of one run.
fn once(
    broker: &Arc<dyn Broker>,
    name: &str,
    folder: &Path,
) -> std::result::Result<[f64; 5], AnyError> {
    prepare_topics(&**broker, &topology(name)?, PARTITIONS)?;
    let mut config = ApplicationConfig::new(folder.join("state"));
    (config.workers, config.partitions) = (PARTITIONS, PARTITIONS);
    let application = Application::start(broker.clone(), topology(name)?, config)?;
    let measured = quiet(&**broker, name).and_then(|mut late| {
        late.sort_by(f64::total_cmp);
        let (rate, mut behind, mut beside) = crowd(&**broker, name)?;
        behind.sort_by(f64::total_cmp);
        beside.sort_by(f64::total_cmp);
        let slowest = behind.last().copied().unwrap_or(f64::NAN);
        let (p50, p99) = (percentile(&late, 0.5), percentile(&late, 0.99));
        Ok([p50, p99, rate, slowest, percentile(&beside, 0.99)])
    });
    // What ended it says more than what was missed then.
    application.stop()?;
    measured
}

/// How late each of some rows fell due (ms), where nothing else comes.
fn quiet(broker: &dyn Broker, name: &str) -> std::result::Result<Vec<f64>, AnyError> {
    let appender = broker.appender()?;
    let mut fired = Watch::from_now(broker, &format!("{name}-fired"), 0)?;
    let mut late = Vec::new();
    for (number, key) in keys(0).take(QUIET_ROWS).enumerate() {
        // Spans differ, so that rows do not fall due in step with ticks.
        let due = now_ms() + 150 + number as u64 * 37 % 100;
        send(&*appender, name, 0, &key, &due.to_string())?;
        let deadline = Instant::now() + PATIENCE;
        while fired.read()? == 0 {
            if Instant::now() > deadline {
                return Err(format!("after {PATIENCE:?} a row has not fallen due").into());
            }
        }
        late.push(now_ms().saturating_sub(due) as f64);
    }
    Ok(late)
}

type Crowd = (f64, Vec<f64>, Vec<f64>);

/// Rows a second; what records took meanwhile in their partition and in another (ms).
fn crowd(broker: &dyn Broker, name: &str) -> std::result::Result<Crowd, AnyError> {
    let due = now_ms() + LOADING.as_millis() as u64;
    let appender = broker.appender()?;
    let (topic, value) = (format!("{name}-wanted"), due.to_string());
    let mut bulk = Bulk::new(&*appender, "rows that fall due");
    for key in keys(0).take(CROWD) {
        bulk.append(wanted(&topic, 0, &key, &value))?;
    }
    bulk.finish()?;
    let mut echoes = [Echo::of(broker, name, 0)?, Echo::of(broker, name, 1)?];
    let mut fired = Watch::from_now(broker, &format!("{name}-fired"), 0)?;
    // All of them are there when one behind them has been answered.
    while echoes[0].took_ms.is_empty() {
        echoes[0].pulse(&*appender, name)?;
    }
    let left = due.saturating_sub(now_ms());
    if left == 0 {
        return Err(format!("{CROWD} rows were not there within {LOADING:?}").into());
    }
    std::thread::sleep(Duration::from_millis(left));
    echoes.iter_mut().for_each(|echo| echo.took_ms.clear());
    let (begun, mut seen) = (Instant::now(), 0);
    while seen < CROWD {
        if begun.elapsed() > PATIENCE {
            return Err(format!("after {PATIENCE:?} {seen} of {CROWD} rows have fallen due").into());
        }
        for echo in &mut echoes {
            echo.pulse(&*appender, name)?;
        }
        seen += fired.read()? as usize;
    }
    let rate = CROWD as f64 / begun.elapsed().as_secs_f64();
    // The one that waits behind them comes now.
    let [mut behind, beside] = echoes;
    while behind.sent.is_some() {
        behind.pulse(&*appender, name)?;
    }
    Ok((rate, behind.took_ms, beside.took_ms))
}

/// Committed records of a partition, from now on.
struct Watch {
    reader: Box<dyn Reader>,
    batch: Batch,
}

impl Watch {
    fn from_now(
        broker: &dyn Broker,
        topic: &str,
        partition: u32,
    ) -> std::result::Result<Watch, AnyError> {
        let at = TopicPartition::new(topic, partition);
        let end = OffsetSpec::End(Isolation::ReadCommitted);
        let end = broker.offsets(std::slice::from_ref(&at), end)?.into_iter().next().unwrap_or(0);
        let reader = broker.reader(&[(at, end)], Isolation::ReadCommitted)?;
        Ok(Watch { reader, batch: Batch::default() })
    }

    /// How many more there are; waits for a moment.
    fn read(&mut self) -> std::result::Result<u64, AnyError> {
        self.batch.clear();
        self.reader.fetch(0, FETCH_BYTES, &mut self.batch)?;
        if self.batch.is_empty() {
            self.reader.wait(Duration::from_millis(1))?;
        }
        Ok(self.batch.len() as u64)
    }
}

/// One record after the other that is answered at once.
struct Echo {
    partition: u32,
    key: String,
    watch: Watch,
    /// When the one was sent whose answer has not come yet.
    sent: Option<Instant>,
    took_ms: Vec<f64>,
}

impl Echo {
    fn of(broker: &dyn Broker, name: &str, partition: u32) -> std::result::Result<Echo, AnyError> {
        let watch = Watch::from_now(broker, &format!("{name}-echoes"), partition)?;
        let key = keys(partition).next().unwrap_or_default();
        Ok(Echo { partition, key, watch, sent: None, took_ms: Vec::new() })
    }

    /// Takes the answer, if there is one, and else sends one where none is under way.
    fn pulse(&mut self, appender: &dyn Appender, name: &str) -> std::result::Result<(), AnyError> {
        match self.sent {
            None => {
                self.sent = Some(Instant::now());
                send(appender, name, self.partition, &self.key, ECHO)
            }
            Some(sent) => {
                if self.watch.read()? > 0 {
                    self.took_ms.push(sent.elapsed().as_secs_f64() * 1_000.0);
                    self.sent = None;
                }
                Ok(())
            }
        }
    }
}

/// Keys that belong to a partition.
fn keys(partition: u32) -> impl Iterator<Item = String> {
    let keys = (0..).map(|number: u64| format!("k{number}"));
    keys.filter(move |key| partition_of(key.as_bytes(), PARTITIONS) == partition)
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as u64
}

/// Appends a record, and waits until it is there.
fn send(
    appender: &dyn Appender,
    name: &str,
    partition: u32,
    key: &str,
    value: &str,
) -> std::result::Result<(), AnyError> {
    let mut bulk = Bulk::new(appender, "a record");
    bulk.append(wanted(&format!("{name}-wanted"), partition, key, value))?;
    bulk.finish()?;
    Ok(())
}

/// A record of now.
fn wanted<'a>(topic: &'a str, partition: u32, key: &'a str, value: &'a str) -> Outgoing<'a> {
    Outgoing {
        topic,
        partition,
        timestamp: now_ms() as i64,
        key: Some(key.as_bytes()),
        value: Some(value.as_bytes()),
        headers: &[],
    }
}

/// Keeps rows until they fall due, and tells when they have; answers what is no row at once.
struct Remind {
    rows: StoreId,
    fired: SinkId,
    echoes: SinkId,
}

impl Processor for Remind {
    type Input<'a> = Record<'a>;

    fn process(&mut self, record: Record<'_>, context: &mut Context<'_>) -> ProcessResult {
        let (key, value) = (record.key.unwrap_or_default(), record.value.unwrap_or_default());
        match value == ECHO.as_bytes() {
            true => context.send(self.echoes, Message::new(key, value))?,
            false => {
                context.put(self.rows, key, value)?;
            }
        }
        Ok(())
    }

    fn due(&mut self, fallen: DueRow<'_>, context: &mut Context<'_>) -> ProcessResult {
        context.delete(self.rows, fallen.key)?;
        context.send(self.fired, Message::new(fallen.key, fallen.row.value))?;
        Ok(())
    }
}

fn when(value: &[u8]) -> Option<Due> {
    std::str::from_utf8(value).ok()?.parse().ok().map(Due::At)
}

fn topology(name: &str) -> std::result::Result<Topology, TopologyError> {
    let of = |what: &str| format!("{name}-{what}");
    let remind = Node::new("remind", |wiring| {
        // What changes when a row falls due is told in a topic that backs a ledger.
        wiring.ledger("fired");
        let (fired, echoes) = (wiring.sink("fired"), wiring.sink("echoes"));
        Remind { rows: wiring.store("rows"), fired, echoes }
    });
    Topology::named(name)
        .store(Store::new("rows", of("rows")).due(1, when))
        .ledger(Ledger::new("fired", of("fired"), |_, _| None))
        .sink(Sink::new("fired", of("fired")))
        .sink(Sink::new("echoes", of("echoes")))
        .processor(remind.reads(Source::new("wanted", of("wanted"), as_it_is)))
        .ticks(of("ticks"))
        .dead_letters(of("dead-letters"))
        .build()
}
