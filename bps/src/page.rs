//! The page to watch: its files in the binary, and beside them all paths of both services, so that
//! a browser has them all at one address.

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderName, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tower::{ServiceExt as _, service_fn};

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Path, kind and text of each file.
const FILES: [(&str, &str, &str); 8] = [
    ("/", HTML, include_str!("page/index.html")),
    ("/page.css", STYLE, include_str!("page/page.css")),
    ("/page.js", SCRIPT, include_str!("page/page.js")),
    ("/basics.js", SCRIPT, include_str!("page/basics.js")),
    ("/decisions.js", SCRIPT, include_str!("page/decisions.js")),
    ("/metrics.js", SCRIPT, include_str!("page/metrics.js")),
    ("/stock.js", SCRIPT, include_str!("page/stock.js")),
    ("/streams.js", SCRIPT, include_str!("page/streams.js")),
];

/// Nothing from elsewhere, no script but the page's own.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors \
                      'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// The page, over the paths of both services. What both have (`/livez`, `/readyz`, `/metrics`) is
/// asked of the one that sells.
pub(crate) fn router(items: Router, purchases: Router) -> Router {
    let mut router = Router::new();
    for (path, kind, text) in FILES {
        router = router.route(path, get(move || async move { file(kind, text) }));
    }
    // Not by routes of its own, which would mix with theirs.
    router.fallback_service(service_fn(move |request: Request| {
        let path = request.uri().path();
        let is_item = path == "/items" || path.starts_with("/items/");
        let service = if is_item { items.clone() } else { purchases.clone() };
        service.oneshot(request)
    }))
}

fn file(kind: &'static str, text: &'static str) -> impl IntoResponse {
    let headers: [(HeaderName, &str); 5] = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // It belongs to the binary that serves it.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text)
}
