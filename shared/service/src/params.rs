//! The parameters of a query, and the one in a path: read, checked, and refused by name.

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use garde::Validate;
use serde::de::DeserializeOwned;

use crate::problem::{Problem, ProblemKind};

/// Parameters that are what they say they are.
#[derive(Clone, Copy, Debug)]
pub struct Params<T>(pub T);

impl<S, T> FromRequestParts<S> for Params<T>
where
    S: Send + Sync,
    T: DeserializeOwned + Validate<Context = ()>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Params<T>, Problem> {
        let Query(params) = Query::<T>::try_from_uri(&parts.uri)
            .map_err(|error| Problem::new(ProblemKind::Parameter, error.body_text()))?;
        params.validate().map_err(|report| refused(&report))?;
        Ok(Params(params))
    }
}

/// What stands in a path where its route has a name.
#[derive(Clone, Debug)]
pub struct Segment(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Segment, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let Path(text) =
            path.map_err(|e| Problem::of(ProblemKind::Parameter, "path", e.body_text()))?;
        Ok(Segment(text))
    }
}

/// The first parameter that is wrong.
fn refused(report: &garde::Report) -> Problem {
    match report.iter().next() {
        Some((field, error)) => Problem::of(ProblemKind::Parameter, field.to_string(), error),
        None => Problem::new(ProblemKind::Parameter, report),
    }
}
