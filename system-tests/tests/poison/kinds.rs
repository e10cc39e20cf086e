//! The kinds of bad records, drawn from a seed.

use system_tests::processes::Random;

/// What must become of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Dead(&'static str),
    /// FAILED, with this reason.
    Refused(&'static str),
    Granted,
}
pub(crate) use Fate::{Dead, Granted, Refused};

/// A text of this many bytes, not all of them letters.
pub(crate) fn noise(random: &mut Random, length: u64) -> Vec<u8> {
    (0..length).map(|_| random.below(256) as u8).collect()
}

/// What a record is made of.
struct Parts {
    n: usize,
    purchase: bool,
    own: &'static str,
    id: String,
    /// Both ids, as fields.
    ids: String,
    size: usize,
    filler: String,
    depth: usize,
}

type Value = (Option<Vec<u8>>, Fate);

fn object(fields: String, fate: Fate) -> Value {
    (Some(format!("{{{fields}}}").into_bytes()), fate)
}

/// A value of a kind that the number chooses; what must become of it, and its id.
pub(crate) fn poison(
    random: &mut Random,
    n: usize,
    purchase: bool,
) -> (Option<Vec<u8>>, Fate, String) {
    let own = if purchase { "purchaseId" } else { "restockId" };
    let id = format!("bad-{n}");
    let ids = format!(r#""{own}":"{id}","itemId":"plenty""#);
    let size = random.below(4_000) as usize;
    let filler = "y".repeat(size);
    let depth = 1 + random.below(2_000) as usize;
    let parts = Parts { n, purchase, own, id, ids, size, filler, depth };
    let (value, fate) = match random.below(30) {
        kind @ 0..=8 => no_object(kind, random, &parts),
        kind @ 9..=15 => bad_fields(kind, &parts),
        kind @ 16..=24 => bad_quantity(kind, &parts),
        kind => odd(kind, &parts),
    };
    (value, fate, parts.id)
}

fn no_object(kind: u64, random: &mut Random, parts: &Parts) -> Value {
    let Parts { ids, size, filler, depth, .. } = parts;
    match kind {
        0 => (None, Dead("NO_VALUE")),
        1 => (Some(Vec::new()), Dead("NOT_JSON")),
        // The first byte alone makes it no UTF-8.
        2 => {
            let length = random.below(3_000);
            (Some([vec![0xff], noise(random, length)].concat()), Dead("NOT_UTF8"))
        }
        3 => (Some([ids.as_bytes(), b"\xed\xa0\x80"].concat()), Dead("NOT_UTF8")),
        4 => (Some(format!("{{{ids},\"x\":\"{filler}").into_bytes()), Dead("NOT_JSON")),
        5 => (Some(format!("{}{{{ids}}}", "[".repeat(*depth)).into_bytes()), Dead("NOT_JSON")),
        6 => (Some(vec![0; size + 1]), Dead("NOT_JSON")),
        7 => (Some(format!("\"{filler}\"").into_bytes()), Dead("NOT_JSON")),
        _ => (Some(random.below(u64::MAX).to_string().into_bytes()), Dead("NOT_JSON")),
    }
}

fn bad_fields(kind: u64, parts: &Parts) -> Value {
    let Parts { n, own, id, ids, size, .. } = parts;
    match kind {
        9 => object(format!(r#"{ids},"quantity":1,"{own}":"{id}""#), Dead("FIELD_TWICE")),
        10 => object(format!(r#"{ids},"quantity":1,"quantity":{size}"#), Dead("FIELD_TWICE")),
        11 => object(format!(r#""{own}":{n},"itemId":"plenty""#), Dead("UNREADABLE_ID")),
        12 => object(format!(r#""{own}":"{id}","itemId":["plenty"]"#), Dead("UNREADABLE_ID")),
        13 => object(
            format!(r#""{own}":"{id}\u00{:02x}","itemId":"p""#, size % 32),
            Dead("UNREADABLE_ID"),
        ),
        14 => {
            let long = "z".repeat(257 + size % 1_000);
            object(format!(r#""{own}":"{long}","itemId":"p""#), Dead("UNREADABLE_ID"))
        }
        _ => object(format!(r#""{own}":"{id}""#), Dead("UNREADABLE_ID")),
    }
}

fn bad_quantity(kind: u64, parts: &Parts) -> Value {
    let Parts { ids, size, depth, .. } = parts;
    let quantity = match kind {
        16 => (9_007_199_254_740_993 + *size as u64).to_string(),
        17 => format!("1{}", "0".repeat(17 + size % 2_000)),
        18 => format!("-{}", size + 1),
        19 => format!("{}.0", size + 1),
        20 => format!("{}e{}", size, size % 400),
        21 => format!(r#""{size}""#),
        22 => format!("{}1{}", "[".repeat(*depth), "]".repeat(*depth)),
        23 => format!(r#"{{"n":{size}}}"#),
        // It is not there.
        _ => return object(ids.clone(), Refused("INVALID_QUANTITY")),
    };
    object(format!(r#"{ids},"quantity":{quantity}"#), Refused("INVALID_QUANTITY"))
}

/// What looks odd and can be read; and what is too long.
fn odd(kind: u64, parts: &Parts) -> Value {
    let Parts { n, purchase, own, id, ids, filler, depth, .. } = parts;
    match kind {
        25 => {
            let deep =
                format!("{}{}", "{\"a\":".repeat(*depth), "null".to_owned() + &"}".repeat(*depth));
            object(format!(r#"{ids},"quantity":1,"x":{deep}"#), Granted)
        }
        26 => object(format!(r#"{ids},"quantity":1,"purchasedBy":{n},"description":[]"#), Granted),
        27 => object(format!(r#"{ids},"quantity":1,"{filler}":true"#), Granted),
        28 => {
            let fate = if *purchase { Refused("UNKNOWN_ITEM") } else { Granted };
            object(format!(r#""{own}":"{id}","itemId":"unknown-{n}","quantity":1"#), fate)
        }
        _ => {
            object(format!(r#"{ids},"quantity":1,"x":"{}""#, "w".repeat(66_000)), Dead("TOO_LONG"))
        }
    }
}
