//! Reads what the processor wrote: stock rows, and the fingerprints beside results and answers.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::request::Request;

/// A record of the table of stock.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct StockRecord<'a> {
    #[serde(borrow)]
    pub(crate) item_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) description: Cow<'a, str>,
    pub(crate) supplied: u64,
    pub(crate) booked: u64,
    pub(crate) remaining: u64,
    pub(crate) updated_at: i64,
}

/// Parses a value; the error says what is wrong.
pub(crate) fn read<'a, T: Deserialize<'a>>(value: Option<&'a [u8]>) -> Result<T, String> {
    let value = value.ok_or_else(|| "no value".to_owned())?;
    serde_json::from_slice(value).map_err(|error| error.to_string())
}

/// Identifies a request among those of its kind.
pub(crate) fn fingerprint(item: &str, id: &str) -> u128 {
    let hash = sha(|part| [item, id].into_iter().for_each(part));
    u128::from_be_bytes(std::array::from_fn(|i| hash[i]))
}

/// What a stamp carries for the memory of decided requests: fingerprint, then 8 bytes of the
/// content's.
pub(crate) fn memo(fingerprint: u128, request: &Request<'_>) -> [u8; 24] {
    let mut memo = [0; 24];
    memo[..16].copy_from_slice(&fingerprint.to_be_bytes());
    memo[16..].copy_from_slice(&sha(|part| request.kind.content(request, part))[..8]);
    memo
}

fn sha(parts: impl FnOnce(&mut dyn FnMut(&str))) -> [u8; 32] {
    let mut hasher = Sha256::new();
    parts(&mut |part| {
        Digest::update(&mut hasher, (part.len() as u64).to_le_bytes());
        Digest::update(&mut hasher, part);
    });
    hasher.finalize().into()
}

/// Compares contents that are too long to keep.
pub(crate) fn hash(content: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}
