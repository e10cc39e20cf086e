//! Numbers for operators, at `/metrics`, as OpenMetrics text.
//!
//! What happens in requests is counted as it happens; all else is looked at when it is asked for.
//! One [`Metrics`] is a whole process: `bps up` has two services and all topologies in it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bps_streams::Histogram as Durations;
use bps_streams::global::GlobalView;
use bps_streams::store::MemoryUse;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::intake::Inbox;
use crate::problem::{Problem, ProblemKind};
use crate::waiters::Waiters;

/// Upper bounds of the durations of requests (s).
const BOUNDS_S: [f64; 12] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 10.0];

/// Events that were sent to the log.
#[derive(Debug, Default)]
pub struct Events {
    /// Made durable.
    pub sent: AtomicU64,
    /// Not made durable, as far as is known.
    pub failed: AtomicU64,
}

impl Events {
    /// Counts a group of them.
    pub(crate) fn count(&self, all: usize, failed: usize) {
        self.sent.fetch_add((all - failed) as u64, Ordering::Relaxed);
        self.failed.fetch_add(failed as u64, Ordering::Relaxed);
    }
}

/// What a request was, and what it came to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Call {
    pub(crate) service: &'static str,
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    service: &'static str,
}

/// What is looked at when it is asked for.
pub trait Source: Send + Sync {
    /// Writes its numbers.
    ///
    /// # Errors
    /// Those of the sheet.
    fn write(&self, sheet: &mut Sheet<'_>) -> fmt::Result;
}

/// A service, as it is looked at.
pub(crate) struct Watched {
    pub(crate) name: &'static str,
    pub(crate) inboxes: Vec<Inbox>,
    pub(crate) waiters: Arc<Waiters>,
    pub(crate) view: Arc<GlobalView>,
}

type Memory = Box<dyn Fn() -> MemoryUse + Send + Sync>;

#[derive(Default)]
struct Sources {
    services: Mutex<Vec<Watched>>,
    stores: Mutex<Vec<(&'static str, Memory)>>,
    others: Mutex<Vec<Box<dyn Source>>>,
}

/// The numbers of a process.
pub struct Metrics {
    registry: Registry,
    requests: Family<Call, Histogram, fn() -> Histogram>,
    in_flight: Family<Of, Gauge>,
    sources: Arc<Sources>,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let requests: Family<Call, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(BOUNDS_S));
        let in_flight = Family::<Of, Gauge>::default();
        let sources = Arc::<Sources>::default();
        let mut registry = Registry::with_prefix("bps");
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "What runs", version);
        let help = "Requests, from their head to the head of their answer";
        let name = "http_request_duration";
        registry.register_with_unit(name, help, Unit::Seconds, requests.clone());
        registry.register("http_requests_in_flight", "Requests under way", in_flight.clone());
        registry.register_collector(Box::new(Looked(sources.clone())));
        Metrics { registry, requests, in_flight, sources }
    }
}

impl Metrics {
    /// Shows a source from now on.
    pub fn watch(&self, source: impl Source + 'static) {
        lock(&self.sources.others).push(Box::new(source));
    }

    /// Shows the memory of a store from now on.
    pub fn watch_store(
        &self,
        name: &'static str,
        memory: impl Fn() -> MemoryUse + Send + Sync + 'static,
    ) {
        lock(&self.sources.stores).push((name, Box::new(memory)));
    }

    pub(crate) fn watch_service(&self, service: Watched) {
        let view = service.view.clone();
        self.watch_store(service.name, move || view.memory());
        lock(&self.sources.services).push(service);
    }

    /// A request has come; the answer's head is counted by what is returned.
    pub(crate) fn request(&self, service: &'static str) -> InFlight {
        let gauge = self.in_flight.get_or_create_owned(&Of { service });
        gauge.inc();
        InFlight(gauge)
    }

    pub(crate) fn answered(&self, call: &Call, took: Duration) {
        self.requests.get_or_create(call).observe(took.as_secs_f64());
    }

    /// All of them, as OpenMetrics text.
    ///
    /// # Errors
    /// None that is known: what is written to grows.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// A request that is under way, until it is dropped.
pub(crate) struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Looked(Arc<Sources>);

impl fmt::Debug for Looked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Looked")
    }
}

impl Collector for Looked {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let sheet = &mut Sheet(encoder);
        let services = lock(&self.0.services);
        if !services.is_empty() {
            write_services(&services, sheet)?;
        }
        let mut memory = Vec::new();
        for (store, used) in &*lock(&self.0.stores) {
            let MemoryUse { memtables, block_cache, table_readers } = used();
            let parts = [
                ("memtables", memtables),
                ("block_cache", block_cache),
                ("table_readers", table_readers),
            ];
            memory.extend(parts.map(|(part, bytes)| ([("store", *store), ("part", part)], bytes)));
        }
        sheet.gauge("store_memory_bytes", "Memory of RocksDB", &memory)?;
        lock(&self.0.others).iter().try_for_each(|source| source.write(sheet))
    }
}

fn write_services(services: &[Watched], sheet: &mut Sheet<'_>) -> fmt::Result {
    let rows = |number: &dyn Fn(&Watched) -> u64| {
        let row = |service: &Watched| ([("service", service.name)], number(service));
        services.iter().map(row).collect::<Vec<_>>()
    };
    let events = |of: fn(&Events) -> &AtomicU64| {
        let count = |inbox: &Inbox| of(inbox.events()).load(Ordering::Relaxed);
        rows(&|service| service.inboxes.iter().map(count).sum())
    };
    sheet.counter("events_sent", "Events made durable", &events(|events| &events.sent))?;
    let failed = events(|events| &events.failed);
    sheet.counter("events_failed", "Events not made durable, as far as is known", &failed)?;
    let waiting = rows(&|service| service.waiters.count() as u64);
    sheet.gauge("waiters", "Requests that wait for their decision", &waiting)?;
    let lag = rows(&|service| service.view.status().lag);
    sheet.gauge("read_side_lag_records", "Offsets the read side is behind", &lag)?;
    let caught_up = rows(&|service| u64::from(service.view.status().is_caught_up));
    sheet.gauge("read_side_caught_up", "Whether the read side has caught up", &caught_up)
}

/// Where a [`Source`] writes. Names get the prefix `bps_`, and counters the ending `_total`.
pub struct Sheet<'a>(DescriptorEncoder<'a>);

impl Sheet<'_> {
    /// Numbers that go up and down, by labels.
    ///
    /// # Errors
    /// Those of the text.
    pub fn gauge<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        rows: &[([(&str, &str); N], u64)],
    ) -> fmt::Result {
        self.rows(name, help, MetricType::Gauge, rows, |mut row, number| row.encode_gauge(&number))
    }

    /// Numbers that only grow, by labels.
    ///
    /// # Errors
    /// Those of the text.
    pub fn counter<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        rows: &[([(&str, &str); N], u64)],
    ) -> fmt::Result {
        self.rows(name, help, MetricType::Counter, rows, |mut row, number| {
            row.encode_counter::<NoLabelSet, _, u64>(&number, None)
        })
    }

    fn rows<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        rows: &[([(&str, &str); N], u64)],
        write: fn(MetricEncoder<'_>, u64) -> fmt::Result,
    ) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(name, help, None, kind)?;
        if N == 0 {
            // Without labels there is one row at most, and no braces around nothing.
            return rows.first().map_or(Ok(()), |(_, number)| write(encoder, *number));
        }
        rows.iter().try_for_each(|(labels, number)| write(encoder.encode_family(labels)?, *number))
    }

    /// Durations, in seconds, by labels; the name gets the ending `_seconds`.
    ///
    /// # Errors
    /// Those of the text.
    pub fn durations<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        rows: &[([(&str, &str); N], Durations)],
    ) -> fmt::Result {
        let unit = Some(&Unit::Seconds);
        let mut encoder = self.0.encode_descriptor(name, help, unit, MetricType::Histogram)?;
        let bounds = Durations::BOUNDS_MS.iter().map(|ms| *ms as f64 / 1e3).chain([f64::INFINITY]);
        for (labels, durations) in rows {
            let counts = durations.counts();
            let buckets: Vec<(f64, u64)> = bounds.clone().zip(counts.iter().copied()).collect();
            let (sum, count) = (durations.sum_ms() as f64 / 1e3, counts.iter().sum());
            let mut row = encoder.encode_family(labels)?;
            row.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        Ok(())
    }
}

/// `/metrics`.
pub(crate) fn paths(metrics: Arc<Metrics>) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(metrics_text)).with_state(metrics)
}

/// Numbers for operators.
#[utoipa::path(
    get, path = "/metrics", tag = "health",
    responses((status = 200, description = "OpenMetrics", content_type = "application/openmetrics-text", body = String)),
)]
async fn metrics_text(State(metrics): State<Arc<Metrics>>) -> Result<Response, Problem> {
    let text = metrics.text().map_err(|error| Problem::new(ProblemKind::Internal, error))?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct One;

    impl Source for One {
        fn write(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
            let mut latency = Durations::default();
            latency.observe(1);
            latency.observe(70_000);
            let latency = [([("of", "a")], latency)];
            sheet.durations("latency", "From there to here", &latency)?;
            sheet.counter("things", "Things", &[([("kind", "a")], 3)])
        }
    }

    #[test]
    fn numbers_are_printed_as_openmetrics() {
        let metrics = Metrics::default();
        metrics.watch(One);
        let memory = MemoryUse { memtables: 1, block_cache: 2, table_readers: 3 };
        metrics.watch_store("s", move || memory);
        let under_way = metrics.request("items");
        let call = Call { service: "items", method: "GET", path: "/items".to_owned(), status: 200 };
        metrics.answered(&call, Duration::from_millis(3));
        let text = metrics.text().expect("a text");
        for line in [
            "# TYPE bps_things counter",
            "bps_things_total{kind=\"a\"} 3",
            "bps_latency_seconds_bucket{le=\"0.001\",of=\"a\"} 1",
            "bps_latency_seconds_bucket{le=\"60.0\",of=\"a\"} 1",
            "bps_latency_seconds_bucket{le=\"+Inf\",of=\"a\"} 2",
            "bps_latency_seconds_sum{of=\"a\"} 70.001",
            "bps_store_memory_bytes{store=\"s\",part=\"block_cache\"} 2",
            "bps_http_requests_in_flight{service=\"items\"} 1",
            "bps_http_request_duration_seconds_count{service=\"items\",method=\"GET\",path=\"/items\",status=\"200\"} 1",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        drop(under_way);
        let text = metrics.text().expect("a text");
        assert!(text.contains("bps_http_requests_in_flight{service=\"items\"} 0"), "{text}");
    }
}
