//! The documentation of a service's paths: OpenAPI, made from the code, and a page to read it and
//! try it, which loads nothing from elsewhere.

use axum::Router;
use utoipa::PartialSchema as _;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, Info, License, OpenApi, OpenApiBuilder, Ref, Response,
    ResponseBuilder,
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

use crate::problem::ProblemBody;
use crate::service::About;

/// What any request may be answered instead.
const ANY: [(&str, &str); 6] = [
    ("400", "It cannot be read; the problem names the field, parameter or header"),
    ("401", "A token is needed, or is not known"),
    ("403", "The token is not good for this"),
    ("408", "The request took too long"),
    ("500", "The service failed; its log tells why"),
    ("503", "Too much is under way, or the log is away: come again, see Retry-After"),
];
/// And one that brings a body.
const WITH_BODY: [(&str, &str); 2] =
    [("413", "The body is too long"), ("415", "The content type is not read")];

/// The paths, with `/openapi.json` and `/docs` beside them.
pub(crate) fn serve(about: &About, paths: OpenApiRouter) -> Router {
    let paths = OpenApiRouter::with_openapi(openapi(about)).merge(paths);
    let (router, mut api) = paths.split_for_parts();
    for item in api.paths.paths.values_mut() {
        for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
            complete(operation);
        }
    }
    router.merge(SwaggerUi::new("/docs").url("/openapi.json", api))
}

fn openapi(about: &About) -> OpenApi {
    let mut info = Info::new(about.title, env!("CARGO_PKG_VERSION"));
    info.description = Some(about.about.to_owned());
    info.license = Some(License::new("MIT OR Apache-2.0"));
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    let components = ComponentsBuilder::new()
        .schema("ProblemBody", ProblemBody::schema())
        .security_scheme("token", SecurityScheme::Http(bearer));
    // A service without tokens takes requests without.
    let token = SecurityRequirement::new("token", Vec::<String>::new());
    let security = [token, SecurityRequirement::default()];
    let api = OpenApiBuilder::new().info(info).components(Some(components.build()));
    api.security(Some(security)).build()
}

/// Adds what is the same for all.
fn complete(operation: &mut Operation) {
    let with_body = WITH_BODY.iter().filter(|_| operation.request_body.is_some());
    let all: Vec<_> = ANY.iter().chain(with_body).collect();
    for (status, description) in all {
        let responses = &mut operation.responses.responses;
        responses.entry((*status).to_owned()).or_insert_with(|| problem(description).into());
    }
}

fn problem(description: &str) -> Response {
    let schema = Ref::from_schema_name("ProblemBody");
    let content = ContentBuilder::new().schema(Some(schema)).build();
    let response = ResponseBuilder::new().description(description);
    response.content("application/problem+json", content).build()
}
