//! Reads what came in, on its own: which restocks and purchases are readable, and what they say.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

const VALUE_BYTES_MAX: usize = 65_536;
const ID_BYTES_MAX: usize = 256;
/// Largest valid quantity.
const UNITS_MAX: u64 = 9_007_199_254_740_992;

/// Which of the two a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestKind {
    Restock,
    Purchase,
}

/// A readable restock or purchase.
#[derive(Clone, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) kind: RequestKind,
    pub(crate) item: Cow<'a, str>,
    /// `None`: a restock without an id.
    pub(crate) id: Option<Cow<'a, str>>,
    /// An integer in its own digits, or `null`.
    pub(crate) quantity: Cow<'a, str>,
    /// The buyer of a purchase, the description of a restock.
    pub(crate) text: Cow<'a, str>,
}

impl<'a> Request<'a> {
    /// Reads a value; `None` where it is unreadable.
    pub(crate) fn read(kind: RequestKind, value: Option<&'a [u8]>) -> Option<Request<'a>> {
        let value = value.filter(|v| v.len() <= VALUE_BYTES_MAX)?;
        let object: Object<'a> = serde_json::from_str(std::str::from_utf8(value).ok()?).ok()?;
        let id = match kind {
            RequestKind::Purchase => Some(object.purchase.and_then(id)?),
            RequestKind::Restock => match object.restock.filter(|raw| raw.get() != "null") {
                Some(raw) => Some(id(raw)?),
                None => None,
            },
        };
        let text = if kind == RequestKind::Purchase { object.buyer } else { object.description };
        Some(Request {
            kind,
            item: object.item.and_then(id_of_item)?,
            id,
            quantity: object.quantity.map_or("null", integer).into(),
            text: text.and_then(string).unwrap_or_default(),
        })
    }

    /// The units, where they are an integer from 1 to 2^53.
    pub(crate) fn units(&self) -> Option<u64> {
        self.quantity.parse().ok().filter(|units| (1..=UNITS_MAX).contains(units))
    }

    /// A copy that borrows nothing.
    pub(crate) fn into_owned(self) -> Request<'static> {
        let own = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        Request {
            kind: self.kind,
            item: own(self.item),
            id: self.id.map(own),
            quantity: own(self.quantity),
            text: own(self.text),
        }
    }
}

fn id_of_item(raw: &RawValue) -> Option<Cow<'_, str>> {
    id(raw)
}

/// An id: 1 to 256 bytes, no control character.
fn id(raw: &RawValue) -> Option<Cow<'_, str>> {
    string(raw).filter(|id| {
        (1..=ID_BYTES_MAX).contains(&id.len()) && !id.contains(|c: char| c.is_control())
    })
}

fn string(raw: &RawValue) -> Option<Cow<'_, str>> {
    let text = raw.get();
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        return serde_json::from_str(text).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inner))
}

/// The digits of an integer; of all else, `null`.
fn integer(raw: &RawValue) -> &str {
    let text = raw.get();
    // What begins like a number and holds no point and no exponent is an integer.
    let number = text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    // Common JSON readers could not read a result that repeats more digits.
    let readable = text.trim_start_matches('-').len() <= 300;
    if number && readable && !text.contains(['.', 'e', 'E']) { text } else { "null" }
}

/// The fields that matter, raw.
#[derive(Default)]
struct Object<'a> {
    item: Option<&'a RawValue>,
    purchase: Option<&'a RawValue>,
    restock: Option<&'a RawValue>,
    quantity: Option<&'a RawValue>,
    buyer: Option<&'a RawValue>,
    description: Option<&'a RawValue>,
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
        let mut object = Object::default();
        let mut names: Vec<Cow<'de, str>> = Vec::new();
        while let Some((Name(name), raw)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
            let slot = match &*name {
                "itemId" => &mut object.item,
                "purchaseId" => &mut object.purchase,
                "restockId" => &mut object.restock,
                "quantity" => &mut object.quantity,
                "purchasedBy" => &mut object.buyer,
                "description" => &mut object.description,
                _ => {
                    names.push(name);
                    continue;
                }
            };
            if slot.replace(raw).is_some() {
                return Err(A::Error::custom("a field twice"));
            }
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        if names.len() < count {
            return Err(A::Error::custom("a field twice"));
        }
        Ok(object)
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

    #[track_caller]
    fn check(
        kind: RequestKind,
        value: &str,
        expected: Option<(&str, Option<&str>, &str, Option<u64>)>,
    ) {
        let request = Request::read(kind, Some(value.as_bytes()));
        let found = request.as_ref().map(|w| (&*w.item, w.id.as_deref(), &*w.quantity, w.units()));
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
            check(RequestKind::Purchase, &quantity(raw), Some(("i", Some("p"), shown, units)));
        }
        let bare = r#"{"x":[{"y":1}],"itemId":"\u0069","restockId":null}"#;
        check(RequestKind::Restock, bare, Some(("i", None, "null", None)));
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
            check(RequestKind::Purchase, value, None);
        }
        check(RequestKind::Restock, r#"{"itemId":"i","restockId":7}"#, None);
        let long = format!(r#"{{"purchaseId":"p","itemId":"i","x":"{}"}}"#, "x".repeat(65_536));
        check(RequestKind::Purchase, &long, None);
        assert!(Request::read(RequestKind::Purchase, None).is_none());
        assert!(Request::read(RequestKind::Purchase, Some(b"\xff")).is_none());
    }
}
