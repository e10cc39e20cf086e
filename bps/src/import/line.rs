//! One line of a file: looked at, never rewritten except to add an id that it lacks.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::Deserializer as _;
use serde::de::{Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::kind::Kind;

/// What the importer wants to know of a line; the services read the rest.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Milliseconds since 1970, where it has a readable timestamp. An unreadable one is for the
    /// service to refuse.
    pub(crate) timestamp: Option<i64>,
    /// Where an id is to be put; `None`: it has one.
    pub(crate) id: Option<Gap>,
}

/// Where an id is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Gap {
    /// The field is not there: it becomes the first.
    Absent,
    /// The field is there and `null`: these bytes.
    Null(Range<usize>),
}

/// The two fields that matter, raw.
#[derive(Default)]
struct Fields<'a> {
    timestamp: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
}

/// Reads them; the id stands in this field.
struct FieldsVisitor(&'static str);

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = Fields::default();
        while let Some((name, raw)) = map.next_entry::<Cow<'de, str>, &'de RawValue>()? {
            let field = match &*name {
                "timestamp" => &mut fields.timestamp,
                id if id == self.0 => &mut fields.id,
                _ => continue,
            };
            if field.replace(raw).is_some() {
                return Err(A::Error::custom(format_args!("{name} is there twice")));
            }
        }
        Ok(fields)
    }
}

/// Looks at a line, which begins and ends without white space.
///
/// # Errors
/// When it is not a JSON object.
pub(crate) fn look(line: &[u8], kind: &Kind) -> Result<Seen, String> {
    let text = std::str::from_utf8(line).map_err(|e| format!("is not UTF-8: {e}"))?;
    // serde reads a struct from an array too.
    if !text.starts_with('{') {
        return Err("is not a JSON object".to_owned());
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let fields = deserializer.deserialize_map(FieldsVisitor(kind.id_field));
    let fields = fields.and_then(|fields| deserializer.end().map(|()| fields));
    let fields = fields.map_err(|e| format!("is not a JSON object: {e}"))?;
    let id = match fields.id {
        None => Some(Gap::Absent),
        Some(raw) if raw.get() == "null" => {
            let start = raw.get().as_ptr().addr() - text.as_ptr().addr();
            Some(Gap::Null(start..start + raw.get().len()))
        }
        Some(_) => None,
    };
    Ok(Seen { timestamp: fields.timestamp.and_then(|raw| milliseconds(raw.get())), id })
}

/// As the services read it: RFC 3339, or a whole number of milliseconds.
fn milliseconds(raw: &str) -> Option<i64> {
    let Some(text) = raw.strip_prefix('"') else {
        return raw.parse().ok();
    };
    let text = text.strip_suffix('"')?;
    let stamp: Result<jiff::Timestamp, _> = text.parse();
    stamp.ok().map(jiff::Timestamp::as_millisecond)
}

/// Appends `line` to `body` with `id` (a JSON string) put where it is missing.
pub(crate) fn complete(line: &[u8], kind: &Kind, gap: &Gap, id: &str, body: &mut Vec<u8>) {
    match gap {
        Gap::Null(at) => {
            body.extend_from_slice(&line[..at.start]);
            body.extend_from_slice(id.as_bytes());
            body.extend_from_slice(&line[at.end..]);
        }
        Gap::Absent => {
            let rest = line.get(1..).unwrap_or_default().trim_ascii_start();
            let comma = if rest.starts_with(b"}") { "" } else { "," };
            let head = format!(r#"{{"{}":{id}{comma}"#, kind.id_field);
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::kind::{PURCHASES, RESTOCKS};

    #[track_caller]
    fn check(line: &str, timestamp: Option<i64>, completed: &str) {
        let seen = look(line.as_bytes(), &PURCHASES).expect("an object");
        assert_eq!(seen.timestamp, timestamp, "{line}");
        let mut body = Vec::new();
        match &seen.id {
            Some(gap) => complete(line.as_bytes(), &PURCHASES, gap, "\"f-7\"", &mut body),
            None => body.extend_from_slice(line.as_bytes()),
        }
        assert_eq!(String::from_utf8_lossy(&body), completed);
    }

    #[test]
    fn a_line_is_passed_on_as_it_is_but_for_a_missing_id() {
        let with_id = r#"{"purchaseId":"a","restockId":null,"timestamp":"1970-01-01T00:00:01Z"}"#;
        check(with_id, Some(1_000), with_id);
        check(r#"{"purchaseId":7}"#, None, r#"{"purchaseId":7}"#);
        check("{}", None, r#"{"purchaseId":"f-7"}"#);
        check(r#"{ "itemId":"1"}"#, None, r#"{"purchaseId":"f-7","itemId":"1"}"#);
        let null = r#"{"a":1, "purchaseId": null ,"b":[null]}"#;
        check(null, None, r#"{"a":1, "purchaseId": "f-7" ,"b":[null]}"#);
    }

    #[test]
    fn timestamps_are_read_to_the_millisecond_and_others_left_to_the_service() {
        let stamped = |stamp: &str| {
            let line = format!(r#"{{"purchaseId":"a","timestamp":{stamp}}}"#);
            look(line.as_bytes(), &PURCHASES).expect("an object").timestamp
        };
        assert_eq!(stamped(r#""1970-01-01T01:00:00.0029+01:00""#), Some(2));
        assert_eq!(stamped("1483271606000"), Some(1_483_271_606_000));
        for other in ["null", "1.5", r#""yesterday""#, "{}"] {
            assert_eq!(stamped(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_not_an_object_is_bad() {
        for line in ["", "7", "[1]", "[]", "{", "{}{}", r#"{"timestamp":1,"timestamp":2}"#] {
            look(line.as_bytes(), &RESTOCKS).expect_err(line);
        }
        look(b"{\"a\":\"\xff\"}", &RESTOCKS).expect_err("not UTF-8");
    }
}
