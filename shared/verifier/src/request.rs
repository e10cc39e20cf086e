//! Reads what came in, on its own: which requests are readable, and what they say.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::kind::{self, Kind};

const VALUE_BYTES_MAX: usize = 65_536;
const ID_BYTES_MAX: usize = 256;
/// Largest valid quantity.
const UNITS_MAX: u64 = 9_007_199_254_740_992;

/// A readable request.
#[derive(Clone)]
pub(crate) struct Request<'a> {
    pub(crate) kind: &'static dyn Kind,
    pub(crate) item: Cow<'a, str>,
    /// `None`: one that may lack an id.
    pub(crate) id: Option<Cow<'a, str>>,
    /// Its fields: names and raw JSON.
    fields: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Request<'a> {
    /// Reads a value of a stream; `None` where it is unreadable.
    pub(crate) fn read(stream: usize, value: Option<&'a [u8]>) -> Option<Request<'a>> {
        let value = value.filter(|v| v.len() <= VALUE_BYTES_MAX)?;
        let object: Object<'a> = serde_json::from_str(std::str::from_utf8(value).ok()?).ok()?;
        let name = object.raw("type").and_then(string);
        let kind = kind::find(stream, name.as_deref())?;
        let raw = object.raw(kind.id_field());
        let id = match raw.filter(|raw| !kind.may_lack_id() || raw.get() != "null") {
            Some(raw) => Some(id(raw)?),
            None if kind.may_lack_id() => None,
            None => return None,
        };
        let item = object.raw("itemId").and_then(self::id)?;
        let fields = object.0.into_iter().map(|(name, raw)| (name, raw.get().into())).collect();
        Some(Request { kind, item, id, fields })
    }

    fn raw(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, raw)| &**raw)
    }

    /// A field's text; empty where there is none.
    pub(crate) fn text(&self, name: &str) -> Cow<'_, str> {
        self.raw(name).and_then(unquoted).unwrap_or_default()
    }

    /// An integer in its own digits, or `null`.
    pub(crate) fn quantity(&self) -> &str {
        self.raw("quantity").map_or("null", integer)
    }

    /// The units, where they are an integer from 1 to 2^53.
    pub(crate) fn units(&self) -> Option<u64> {
        self.quantity().parse().ok().filter(|units| (1..=UNITS_MAX).contains(units))
    }

    /// A copy that borrows nothing.
    pub(crate) fn into_owned(self) -> Request<'static> {
        let own = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        Request {
            kind: self.kind,
            item: own(self.item),
            id: self.id.map(own),
            fields: self.fields.into_iter().map(|(name, raw)| (own(name), own(raw))).collect(),
        }
    }
}

/// An id: 1 to 256 bytes, no control character.
fn id(raw: &RawValue) -> Option<Cow<'_, str>> {
    string(raw).filter(|id| {
        (1..=ID_BYTES_MAX).contains(&id.len()) && !id.contains(|c: char| c.is_control())
    })
}

fn string(raw: &RawValue) -> Option<Cow<'_, str>> {
    unquoted(raw.get())
}

/// The text of a JSON string; of all else, `None`.
fn unquoted(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        return serde_json::from_str(raw).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inner))
}

/// The digits of an integer; of all else, `null`.
fn integer(text: &str) -> &str {
    // What begins like a number and holds no point and no exponent is an integer.
    let number = text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    // Common JSON readers could not read a result that repeats more digits.
    let readable = text.trim_start_matches('-').len() <= 300;
    if number && readable && !text.contains(['.', 'e', 'E']) { text } else { "null" }
}

/// All fields, raw.
struct Object<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Object<'a> {
    fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, raw)| *raw)
    }

    fn has_a_field_twice(&self) -> bool {
        let mut names: Vec<&str> = self.0.iter().map(|(name, _)| &**name).collect();
        names.sort_unstable();
        names.windows(2).any(|pair| pair[0] == pair[1])
    }
}

#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
        let mut object = Object(Vec::with_capacity(8));
        while let Some((Name(name), raw)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
            object.0.push((name, raw));
        }
        match object.has_a_field_twice() {
            true => Err(A::Error::custom("a field twice")),
            false => Ok(object),
        }
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{PURCHASES, RESTOCKS};

    #[track_caller]
    fn check(
        stream: usize,
        value: &str,
        expected: Option<(&str, Option<&str>, &str, Option<u64>)>,
    ) {
        let request = Request::read(stream, Some(value.as_bytes()));
        let found = request.as_ref().map(|w| (&*w.item, w.id.as_deref(), w.quantity(), w.units()));
        assert_eq!(found, expected, "{value}");
    }

    #[test]
    fn what_is_readable_is_read() {
        let quantity = |raw: &str| format!(r#"{{"purchaseId":"p","itemId":"i","quantity":{raw}}}"#);
        for (raw, shown, units) in [
            ("1", "1", Some(1)),
            ("9007199254740992", "9007199254740992", Some(UNITS_MAX)),
            ("9007199254740993", "9007199254740993", None),
            ("0", "0", None),
            ("-0", "-0", None),
            ("-3", "-3", None),
            ("123456789012345678901234567890", "123456789012345678901234567890", None),
            ("1.0", "null", None),
            ("1e2", "null", None),
            ("1E2", "null", None),
            ("\"2\"", "null", None),
            ("null", "null", None),
            ("[1]", "null", None),
            (&"9".repeat(300), &"9".repeat(300), None),
            (&"9".repeat(301), "null", None),
        ] {
            check(PURCHASES, &quantity(raw), Some(("i", Some("p"), shown, units)));
        }
        let bare = r#"{"x":[{"y":1}],"itemId":"\u0069","restockId":null}"#;
        check(RESTOCKS, bare, Some(("i", None, "null", None)));
    }

    #[test]
    fn what_is_unreadable_is_not() {
        for value in [
            "",
            "[]",
            "{",
            r#"{"itemId":"i"}"#,
            r#"{"purchaseId":"p"}"#,
            r#"{"purchaseId":"p","itemId":1}"#,
            r#"{"purchaseId":"p","itemId":""}"#,
            r#"{"purchaseId":"p","itemId":"\n"}"#,
            r#"{"purchaseId":"p","itemId":"i","itemId":"i"}"#,
            r#"{"purchaseId":"p","itemId":"i","x":1,"\u0078":1}"#,
            r#"{"purchaseId":"p","itemId":"i"} x"#,
        ] {
            check(PURCHASES, value, None);
        }
        check(RESTOCKS, r#"{"itemId":"i","restockId":7}"#, None);
        let long = format!(r#"{{"purchaseId":"p","itemId":"i","x":"{}"}}"#, "x".repeat(65_536));
        check(PURCHASES, &long, None);
        assert!(Request::read(PURCHASES, None).is_none());
        assert!(Request::read(PURCHASES, Some(b"\xff")).is_none());
    }
}
