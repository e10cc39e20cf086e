//! Reads what the processor wrote: results, answers, stock rows, and the fingerprints beside them.

use std::borrow::Cow;
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

/// A record of the ledger.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Outcome<'a> {
    #[serde(borrow)]
    pub(crate) purchase_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) item_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) quantity: &'a RawValue,
    #[serde(borrow)]
    pub(crate) purchased_by: Cow<'a, str>,
    pub(crate) status: &'a str,
    pub(crate) reason: Option<&'a str>,
    pub(crate) item_quantity: u64,
    pub(crate) already_booked: u64,
    pub(crate) remaining: u64,
    #[serde(borrow)]
    pub(crate) result_message: Cow<'a, str>,
    pub(crate) decided_at: i64,
}

impl Outcome<'_> {
    /// The message for people that belongs to it.
    pub(crate) fn message(&self, into: &mut String) {
        let Outcome { purchase_id, item_id, status, quantity, .. } = self;
        let (supplied, booked, left) = (self.item_quantity, self.already_booked, self.remaining);
        into.clear();
        // Writing to a string cannot fail.
        let _ = write!(
            into,
            "{purchase_id} - {item_id} {status} quantity: {supplied} alreadyBooked: {booked} \
             purchaseQuantity: {} remaining: {left}",
            quantity.get()
        );
    }
}

/// A record of the answers to restocks.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Answer<'a> {
    #[serde(borrow)]
    pub(crate) restock_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) item_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) quantity: &'a RawValue,
    pub(crate) status: &'a str,
    pub(crate) reason: Option<&'a str>,
    pub(crate) supplied: u64,
}

/// A record of the table of stock.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Row<'a> {
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
    let hash = sha([item, id]);
    u128::from_be_bytes(std::array::from_fn(|i| hash[i]))
}

/// What a stamp carries for the memory of decided requests: fingerprint, then 8 bytes of the
/// content's.
pub(crate) fn memo(fingerprint: u128, quantity: &str, text: &str) -> [u8; 24] {
    let mut memo = [0; 24];
    memo[..16].copy_from_slice(&fingerprint.to_be_bytes());
    memo[16..].copy_from_slice(&sha([quantity, text])[..8]);
    memo
}

fn sha(parts: [&str; 2]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        Digest::update(&mut hasher, (part.len() as u64).to_le_bytes());
        Digest::update(&mut hasher, part);
    }
    hasher.finalize().into()
}

/// Compares contents that are too long to keep.
pub(crate) fn hash(content: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}
