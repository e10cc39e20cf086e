//! The parameters of a query: read, checked, and refused by name.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use garde::Validate;
use serde::de::DeserializeOwned;

use crate::problem::{Kind, Problem};

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
            .map_err(|error| Problem::new(Kind::Parameter, error.body_text()))?;
        params.validate().map_err(|report| refused(&report))?;
        Ok(Params(params))
    }
}

/// The first parameter that is wrong.
fn refused(report: &garde::Report) -> Problem {
    match report.iter().next() {
        Some((field, error)) => Problem::of(Kind::Parameter, field.to_string(), error),
        None => Problem::new(Kind::Parameter, report),
    }
}
