//! The documentation of a service's paths: OpenAPI, made from the code, and a page to read it and
//! try it, which loads nothing from elsewhere.

use axum::Router;
use axum::http::Method;
use utoipa::PartialSchema as _;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, Info, License, OpenApi, OpenApiBuilder, Ref, Response,
    ResponseBuilder,
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

use crate::access::{Needed, Role};
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

/// The paths, with `/openapi.json` and `/docs` beside them; and the role that each needs.
pub(crate) fn serve(about: &About, paths: OpenApiRouter) -> (Router, Needed) {
    let paths = OpenApiRouter::with_openapi(openapi(about)).merge(paths);
    let (router, mut api) = paths.split_for_parts();
    let mut needed = Needed::new();
    for (path, item) in &mut api.paths.paths {
        let operations = [
            (Method::GET, &mut item.get),
            (Method::POST, &mut item.post),
            (Method::PUT, &mut item.put),
            (Method::PATCH, &mut item.patch),
            (Method::DELETE, &mut item.delete),
        ];
        for (method, operation) in operations {
            if let Some(operation) = operation {
                complete(operation);
                needed.extend(role(operation).map(|role| ((method, path.clone()), role)));
            }
        }
    }
    (router.merge(SwaggerUi::new("/docs").url("/openapi.json", api)), needed)
}

/// The role that a path says it needs (`security(("token" = ["ROLE"]))`). A service without tokens takes
/// requests without.
fn role(operation: &mut Operation) -> Option<Role> {
    let told = serde_json::to_value(operation.security.as_ref()?).ok()?;
    let role = Role::of(told.pointer("/0/token/0")?.as_str()?)?;
    operation.security.get_or_insert_default().push(SecurityRequirement::default());
    Some(role)
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
