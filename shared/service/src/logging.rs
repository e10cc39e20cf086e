//! Logs, to stderr: stdout is for what a program answers. And the spans of requests, to an
//! OpenTelemetry collector where one is named.

use std::io::IsTerminal;
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt};

use crate::settings::{LogFormat, LogSettings, SettingsError};

/// How long the last spans may take to reach the collector.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// Reads a filter: a level, or the syntax of `RUST_LOG`.
///
/// # Errors
/// What is wrong with it.
pub fn filter(text: &str) -> Result<EnvFilter, SettingsError> {
    EnvFilter::try_new(text).map_err(|error| SettingsError::new("log", error))
}

/// What is still to be sent to a collector; it is sent when this is dropped.
pub struct Spans(Option<SdkTracerProvider>);

impl Drop for Spans {
    fn drop(&mut self) {
        if let Some(provider) = &self.0
            && let Err(error) = provider.shutdown_with_timeout(FLUSH_MAX)
        {
            tracing::warn!(%error, "the last spans are lost");
        }
    }
}

/// Starts logging, as this program. Later calls in one process change nothing.
///
/// # Errors
/// A filter or an address that cannot be.
pub fn start(settings: &LogSettings, program: &'static str) -> Result<Spans, SettingsError> {
    // https://no-color.org: any value but the empty one.
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let lines = fmt::layer().with_target(false).with_writer(std::io::stderr);
    let lines = match settings.log_format {
        LogFormat::Text => lines.with_ansi(!plain && std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let lines = lines.with_filter(filter(&settings.log)?);
    let endpoint = settings.otlp_endpoint.as_deref();
    let provider = endpoint.map(|endpoint| exporting(endpoint, program)).transpose()?;
    let spans = provider.as_ref().map(|provider| {
        let tracer = provider.tracer(program);
        let layer = tracing_opentelemetry::layer().with_tracer(tracer);
        layer.with_filter(Targets::new().with_target("bps_service", Level::INFO))
    });
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    // Fails only where a test has started another.
    drop(tracing_subscriber::registry().with(lines).with(spans).try_init());
    Ok(Spans(provider))
}

fn exporting(endpoint: &str, program: &'static str) -> Result<SdkTracerProvider, SettingsError> {
    let traces = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
    let exporter = SpanExporter::builder().with_http().with_endpoint(traces).build();
    let exporter = exporter.map_err(|error| SettingsError::new("otlp_endpoint", error))?;
    let resource = Resource::builder().with_service_name(program).build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}
