//! The documentation of a service's paths: OpenAPI, made from the code, and a page to read it and
//! try it, which loads nothing from elsewhere.

use axum::Router;
use utoipa::openapi::{Info, License, OpenApi, OpenApiBuilder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

use crate::service::About;

/// The paths, with `/openapi.json` and `/docs` beside them.
pub(crate) fn serve(about: &About, paths: OpenApiRouter) -> Router {
    let (router, api) = OpenApiRouter::with_openapi(openapi(about)).merge(paths).split_for_parts();
    router.merge(SwaggerUi::new("/docs").url("/openapi.json", api))
}

fn openapi(about: &About) -> OpenApi {
    let mut info = Info::new(about.title, env!("CARGO_PKG_VERSION"));
    info.description = Some(about.about.to_owned());
    info.license = Some(License::new("MIT OR Apache-2.0"));
    OpenApiBuilder::new().info(info).build()
}
