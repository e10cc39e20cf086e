//! Which trace a request belongs to (W3C Trace Context): taken from its header, carried on by the
//! event that comes of it, and by the engine to the result.

use axum::extract::{MatchedPath, Request};
use axum::http::HeaderMap;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{SpanContext, TraceContextExt as _};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::layers::REQUEST_ID;

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(axum::http::HeaderName::as_str).collect()
    }
}

/// The span of a request, a child of the caller's.
pub(crate) fn span<B>(request: &Request<B>) -> Span {
    let method = request.method();
    let matched = request.extensions().get::<MatchedPath>();
    let path = matched.map_or("other", MatchedPath::as_str);
    let id = request.headers().get(&REQUEST_ID).and_then(|id| id.to_str().ok());
    let span = tracing::info_span!(
        "request",
        otel.name = format!("{method} {path}"),
        otel.kind = "server",
        http.request.method = %method,
        http.route = path,
        request_id = id,
    );
    if !span.is_disabled() {
        let caller = TraceContextPropagator::new().extract(&Headers(request.headers()));
        // Fails only where no collector is named.
        drop(span.set_parent(caller));
    }
    span
}

/// The `traceparent` of what comes of the request at hand; without a collector it is the
/// caller's own, if there is one.
pub(crate) fn parent(headers: &HeaderMap) -> Option<String> {
    let here = Span::current().context().span().span_context().clone();
    if here.is_valid() {
        return Some(text(&here));
    }
    let caller = TraceContextPropagator::new().extract(&Headers(headers));
    let caller = caller.span().span_context().clone();
    caller.is_valid().then(|| text(&caller))
}

fn text(span: &SpanContext) -> String {
    let (trace, id, flags) = (span.trace_id(), span.span_id(), span.trace_flags().to_u8());
    format!("00-{trace}-{id}-{flags:02x}")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_callers_trace_is_carried_on_if_it_is_one() {
        let parent = |text: &'static str| {
            let headers = [("traceparent", HeaderValue::from_static(text))];
            let name = |(name, value): (&str, _)| {
                (axum::http::HeaderName::try_from(name).expect("a name"), value)
            };
            parent(&headers.into_iter().map(name).collect())
        };
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(parent(good).as_deref(), Some(good));
        for bad in ["", "00", "00-0-0-0", "00-00000000000000000000000000000000-b7ad6b7169203331-01"]
        {
            assert_eq!(parent(bad), None, "{bad}");
        }
    }
}
