//! The kinds of bad records, and what must become of each.

/// What must become of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// A dead letter with this code.
    Dead(&'static str),
    /// Answered: `INVALID_QUANTITY`.
    Refused,
    /// Answered: success. It looks odd, but nothing that counts is wrong.
    Granted,
}
pub(crate) use Fate::{Dead, Granted, Refused};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topic {
    Restocks,
    Purchases,
    Rekeyed,
}
pub(crate) use Topic::{Purchases, Rekeyed, Restocks};

/// A record whose fate is known.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) topic: Topic,
    pub(crate) value: Option<Vec<u8>>,
    /// How far ahead of the clock it is stamped (ms).
    pub(crate) ahead: i64,
    pub(crate) fate: Fate,
}

const HOUR: i64 = 3_600_000;
/// The item that odd records are about; every home partition holds good ones besides.
pub(crate) const ITEM: &str = "odd";
const CODE: &str = "UNREADABLE_ID";

fn case(name: &'static str, topic: Topic, value: impl Into<Vec<u8>>, fate: Fate) -> Case {
    Case { name, topic, value: Some(value.into()), ahead: 0, fate }
}

/// Values that are no object that can be read, whatever the topic.
fn broken(topic: Topic) -> Vec<Case> {
    let case = |name, value: &str, code| case(name, topic, value, Dead(code));
    let good = r#""purchaseId":"x","restockId":"x","itemId":"odd","quantity":1"#;
    let null = Case { value: None, ..case("null value", "", "NO_VALUE") };
    let bytes =
        |name, value: &[u8]| Case { value: Some(value.to_vec()), ..case(name, "", "NOT_UTF8") };
    let nested = "[".repeat(5_000) + &"]".repeat(5_000);
    let open = format!(r#"{{{good},"x":{}"#, "{\"a\":".repeat(5_000));
    let filled = |length: usize| format!(r#"{{{good},"x":"{}"}}"#, "x".repeat(length));
    vec![
        null,
        case("empty value", "", "NOT_JSON"),
        case("blanks", " \n\t ", "NOT_JSON"),
        case("words", "buy me", "NOT_JSON"),
        case("array", "[]", "NOT_JSON"),
        case("array of an object", &format!("[{{{good}}}]"), "NOT_JSON"),
        case("text", r#""itemId""#, "NOT_JSON"),
        case("number", "7", "NOT_JSON"),
        case("the word null", "null", "NOT_JSON"),
        case("the word true", "true", "NOT_JSON"),
        case("cut short", &format!("{{{good}"), "NOT_JSON"),
        case("trailing garbage", &format!("{{{good}}} x"), "NOT_JSON"),
        case("two objects", &format!("{{{good}}}{{{good}}}"), "NOT_JSON"),
        case("trailing comma", &format!("{{{good},}}"), "NOT_JSON"),
        case("single quotes", &format!("{{{good},'a':1}}"), "NOT_JSON"),
        case("a comment", &format!("{{{good}/**/}}"), "NOT_JSON"),
        case("byte order mark", &format!("\u{feff}{{{good}}}"), "NOT_JSON"),
        case("NaN", r#"{"purchaseId":"x","itemId":"odd","quantity":NaN}"#, "NOT_JSON"),
        case("leading zero", r#"{"purchaseId":"x","itemId":"odd","quantity":01}"#, "NOT_JSON"),
        case("raw line feed", "{\"itemId\":\"a\nb\",\"purchaseId\":\"x\"}", "NOT_JSON"),
        case("nested arrays", &nested, "NOT_JSON"),
        case("nested and open", &open, "NOT_JSON"),
        case("known field twice", &format!(r#"{{{good},"itemId":"odd"}}"#), "FIELD_TWICE"),
        case("quantity twice", &format!(r#"{{{good},"quantity":1}}"#), "FIELD_TWICE"),
        case("unknown field twice", &format!(r#"{{{good},"x":1,"x":1}}"#), "FIELD_TWICE"),
        case("twice by an escape", &format!(r#"{{{good},"item\u0049d":"odd"}}"#), "FIELD_TWICE"),
        case("over 64 KiB", &filled(64 << 10), "TOO_LONG"),
        case("900 KB", &filled(900_000), "TOO_LONG"),
        bytes("bad UTF-8", b"{\"purchaseId\":\"\xff\",\"itemId\":\"odd\"}"),
        bytes("overlong UTF-8", b"{\"purchaseId\":\"\xc0\xaf\",\"itemId\":\"odd\"}"),
        bytes("Latin-1 in an extra field", b"{\"itemId\":\"odd\",\"x\":\"caf\xe9\"}"),
        bytes("UTF-16", b"\xff\xfe{\0}\0"),
    ]
}

/// Ids that cannot be read.
fn bad_ids(topic: Topic, own: &str) -> Vec<Case> {
    let long = format!("\"{}\"", "é".repeat(128) + "x");
    let ids = [
        ("an empty id", r#""""#),
        ("a number for an id", "7"),
        ("a boolean for an id", "true"),
        ("an array for an id", r#"["odd"]"#),
        ("an object for an id", r#"{"id":"odd"}"#),
        ("an id of 257 bytes", &long),
        ("a line feed in an id", r#""a\nb""#),
        ("U+0000 in an id", r#""a\u0000b""#),
        ("U+0085 in an id", r#""a\u0085b""#),
        ("half a surrogate in an id", r#""a\ud800b""#),
    ];
    let fields =
        |own_id: &str, item: &str| format!(r#"{{"{own}":{own_id},"itemId":{item},"quantity":1}}"#);
    let mut cases = Vec::new();
    for (name, id) in ids {
        cases.push(case(name, topic, fields(id, "\"odd\""), Dead(CODE)));
        cases.push(case(name, topic, fields("\"x\"", id), Dead(CODE)));
    }
    let no_item = format!(r#"{{"{own}":"x","quantity":1}}"#);
    let null_item = fields("\"x\"", "null");
    let lower = format!(r#"{{"{own}":"x","itemid":"odd","quantity":1}}"#);
    cases.push(case("no itemId", topic, no_item, Dead(CODE)));
    cases.push(case("null itemId", topic, null_item, Dead(CODE)));
    cases.push(case("itemid", topic, lower, Dead(CODE)));
    if topic == Purchases {
        let none = r#"{"itemId":"odd","quantity":1}"#;
        let null = fields("null", "\"odd\"");
        cases.push(case("no purchaseId", topic, none, Dead(CODE)));
        cases.push(case("null purchaseId", topic, null, Dead(CODE)));
    }
    cases
}

/// Quantities that are refused, and oddities that are not.
fn odd(topic: Topic, own: &str) -> Vec<Case> {
    let deep = "[".repeat(5_000) + &"]".repeat(5_000);
    let deep_field = format!(r#""quantity":1,"x":{deep}"#);
    let refused = [
        ("no quantity", ""),
        ("null quantity", r#""quantity":null"#),
        ("zero", r#""quantity":0"#),
        ("minus zero", r#""quantity":-0"#),
        ("negative", r#""quantity":-3"#),
        ("above 2^53", r#""quantity":9007199254740993"#),
        ("above 2^64", r#""quantity":18446744073709551617"#),
        ("far below 0", r#""quantity":-99999999999999999999999999"#),
        ("1.0", r#""quantity":1.0"#),
        ("1e2", r#""quantity":1e2"#),
        ("1e999", r#""quantity":1e999"#),
        ("word", r#""quantity":"two""#),
        ("digits as text", r#""quantity":"2""#),
        ("empty text", r#""quantity":"""#),
        ("boolean", r#""quantity":true"#),
        ("array", r#""quantity":[1]"#),
        ("object", r#""quantity":{"n":1}"#),
        ("Quantity", r#""Quantity":1"#),
    ];
    let granted = [
        ("number for a buyer", r#""quantity":1,"purchasedBy":7"#),
        ("array for a buyer", r#""quantity":1,"purchasedBy":["b"]"#),
        ("null buyer", r#""quantity":1,"purchasedBy":null"#),
        ("half a surrogate for a buyer", r#""quantity":1,"purchasedBy":"\ud800""#),
        ("object for a description", r#""quantity":1,"description":{"a":1}"#),
        ("number for a description", r#""quantity":1,"description":1.5"#),
        ("extra fields", r#""quantity":1,"x":1,"y":null,"":[]"#),
        ("a deep extra field", &deep_field),
    ];
    let all = refused.map(|(name, rest)| (name, rest, Refused));
    let all = all.into_iter().chain(granted.map(|(name, rest)| (name, rest, Granted)));
    let value = |n: usize, rest: &str| {
        let comma = if rest.is_empty() { "" } else { "," };
        format!(r#"{{"{own}":"{topic:?}-{n}","itemId":"{ITEM}"{comma}{rest}}}"#)
    };
    all.enumerate().map(|(n, (name, rest, fate))| case(name, topic, value(n, rest), fate)).collect()
}

pub(crate) fn cases() -> Vec<Case> {
    let purchase = r#"{"purchaseId":"ahead","itemId":"odd","quantity":1}"#;
    let restock = r#"{"restockId":"ahead","itemId":"odd","quantity":1}"#;
    let ahead = |topic, value: &str| Case {
        ahead: HOUR,
        ..case("from the future", topic, value, Dead("FUTURE"))
    };
    let mut cases = vec![
        ahead(Purchases, purchase),
        ahead(Restocks, restock),
        case("wrong again", Rekeyed, purchase, Dead("MISROUTED")),
    ];
    cases.extend(broken(Purchases));
    cases.extend(broken(Restocks));
    cases.extend(bad_ids(Purchases, "purchaseId"));
    cases.extend(bad_ids(Restocks, "restockId"));
    cases.extend(odd(Purchases, "purchaseId"));
    cases.extend(odd(Restocks, "restockId"));
    cases
}
