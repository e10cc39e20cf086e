//! Pages: part of a long list, and a cursor to the next part.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::problem::{Problem, ProblemKind};

/// Rows of a page, unless asked for otherwise.
pub const LIMIT: usize = 100;
/// Most rows of a page.
pub const LIMIT_MAX: usize = 1_000;

/// A cursor, as the caller gets it: the key of the row where the next page begins.
pub fn cursor(key: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(key)
}

/// Reads a cursor; `is_key` tells whether it can be one of this list.
///
/// # Errors
/// When it is none.
pub fn key(cursor: &str, is_key: impl Fn(&[u8]) -> bool) -> Result<Vec<u8>, Problem> {
    let key = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok().filter(|key| is_key(key));
    key.ok_or_else(|| {
        Problem::of(ProblemKind::Parameter, "cursor", "it is not a cursor of this list")
    })
}

/// Reads rows, where that may take long, beside what is answered meanwhile.
///
/// # Errors
/// When the reading panicked.
pub async fn read<T: Send + 'static>(
    look: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(look)
        .await
        .map_err(|error| Problem::new(ProblemKind::Internal, error))
}
