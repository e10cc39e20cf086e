//! Writes JSON.

use crate::reason::Reason;

/// Status and, as JSON, reason.
#[inline]
pub(crate) fn outcome(reason: Option<Reason>) -> (&'static str, [&'static str; 3]) {
    match reason {
        None => ("SUCCESS", ["null", "", ""]),
        Some(reason) => ("FAILED", ["\"", reason.code(), "\""]),
    }
}

/// Appends texts: a result is written for every purchase, and `fmt` costs a multiple of it.
#[inline]
pub(crate) fn put(into: &mut Vec<u8>, texts: &[&str]) {
    texts.iter().for_each(|text| into.extend_from_slice(text.as_bytes()));
}

/// A JSON string.
#[inline]
pub(crate) fn json(text: &str, into: &mut Vec<u8>) {
    into.push(b'"');
    json_inner(text, into);
    into.push(b'"');
}

/// The inside of a JSON string; what needs no escape, which is nearly all, is copied whole.
pub(crate) fn json_inner(text: &str, into: &mut Vec<u8>) {
    let plain = |b: u8| b >= 0x20 && b != b'"' && b != b'\\';
    if text.bytes().all(plain) {
        into.extend_from_slice(text.as_bytes());
        return;
    }
    let start = into.len();
    if serde_json::to_writer(&mut *into, text).is_ok() {
        into.remove(start);
        into.pop();
    }
}

/// The member `quantity`, word for word as it was asked for; nothing where it is missing.
pub(crate) fn raw_quantity(raw: Option<&str>, into: &mut Vec<u8>) {
    if let Some(raw) = raw {
        put(into, &[",\"quantity\":", raw]);
    }
}
