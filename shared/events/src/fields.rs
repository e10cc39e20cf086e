//! Reads a JSON object's top-level fields, strictly: no field twice, whatever its name.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Longest value that is read (bytes).
pub const VALUE_BYTES_MAX: usize = 64 << 10;

/// Why a value cannot be read. Each has a stable code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// There is no value.
    #[error("it has no value")]
    NoValue,
    /// It is longer than [`VALUE_BYTES_MAX`].
    #[error("it is {bytes} bytes long, {VALUE_BYTES_MAX} are read")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It is not UTF-8.
    #[error("it is not UTF-8: byte {at}")]
    NotUtf8 {
        /// Number of the first bad byte, from 0.
        at: usize,
    },
    /// It is not a JSON object.
    #[error("it is not a JSON object: {cause}")]
    NotAnObject {
        /// What the parser says.
        cause: String,
    },
    /// A field is there twice.
    #[error("field {field:?} is there twice")]
    Twice {
        /// The field.
        field: String,
    },
    /// What it asks for is missing or not known.
    #[error("type {cause}")]
    Type {
        /// What is wrong.
        cause: String,
    },
    /// An id is missing or cannot be one.
    #[error("{field} {cause}")]
    Id {
        /// The field.
        field: &'static str,
        /// What is wrong.
        cause: String,
    },
}

impl Unreadable {
    /// Stable name of the cause.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoValue => "NO_VALUE",
            Self::TooLong { .. } => "TOO_LONG",
            Self::NotUtf8 { .. } => "NOT_UTF8",
            Self::NotAnObject { .. } => "NOT_JSON",
            Self::Twice { .. } => "FIELD_TWICE",
            Self::Type { .. } => "UNKNOWN_TYPE",
            Self::Id { .. } => "UNREADABLE_ID",
        }
    }

    /// The field that is wrong, if it is a single one.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Id { field, .. } => Some(field),
            Self::Twice { field } => Some(field),
            Self::Type { .. } => Some("type"),
            _ => None,
        }
    }
}

/// The raw JSON of a field, if it is there.
pub(crate) type Raw<'a> = Option<&'a RawValue>;

/// Reads the named fields of a value into variables. The others only must not be there twice.
/// (A macro, since names that are constants are compared in a few instructions.)
macro_rules! read_fields {
    ($value:expr, $($name:literal as $field:ident),+) => {
        $(let mut $field: $crate::fields::Raw<'_> = None;)+
        let mut others = ::std::collections::HashSet::<String>::new();
        $crate::fields::each($value, |name, raw| {
            let name: &str = name;
            $(if name == $name {
                return $field.replace(raw).is_none();
            })+
            others.insert(name.to_owned())
        })?;
    };
}
pub(crate) use read_fields;

const TWICE: &str = "\u{0}twice\u{0}";

/// Visits each field of a value; `visit` says whether it is there for the first time.
pub(crate) fn each<'a>(
    value: Option<&'a [u8]>,
    visit: impl FnMut(&Cow<'a, str>, &'a RawValue) -> bool,
) -> Result<(), Unreadable> {
    let value = value.ok_or(Unreadable::NoValue)?;
    if value.len() > VALUE_BYTES_MAX {
        return Err(Unreadable::TooLong { bytes: value.len() });
    }
    let text = std::str::from_utf8(value)
        .map_err(|error| Unreadable::NotUtf8 { at: error.valid_up_to() })?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = deserializer.deserialize_map(FieldsVisitor { visit });
    read.and_then(|()| deserializer.end()).map_err(|error| {
        let cause = error.to_string();
        match cause.split(TWICE).nth(1) {
            Some(field) => Unreadable::Twice { field: field.to_owned() },
            None => Unreadable::NotAnObject { cause },
        }
    })
}

struct FieldsVisitor<V> {
    visit: V,
}

impl<'de, V: FnMut(&Cow<'de, str>, &'de RawValue) -> bool> Visitor<'de> for FieldsVisitor<V> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(Text(name)) = map.next_key::<Text<'de>>()? {
            let raw: &'de RawValue = map.next_value()?;
            if !(self.visit)(&name, raw) {
                return Err(A::Error::custom(format_args!("{TWICE}{name}{TWICE}")));
            }
        }
        Ok(())
    }
}

/// A JSON string, borrowed where it holds no escape.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

/// A field's text; `None` where it is missing or no string.
#[inline]
pub(crate) fn text<'a>(raw: Raw<'a>) -> Option<Cow<'a, str>> {
    serde_json::from_str::<Text<'a>>(raw?.get()).ok().map(|Text(text)| text)
}

/// A field that must be an id.
#[inline]
pub(crate) fn id<'a>(field: &'static str, raw: Raw<'a>) -> Result<Cow<'a, str>, Unreadable> {
    let wrong = |cause: String| Unreadable::Id { field, cause };
    let raw = raw.ok_or_else(|| wrong("is missing".to_owned()))?;
    let text = text(Some(raw)).ok_or_else(|| wrong("is not a string".to_owned()))?;
    crate::check_id(&text).map_err(|error| wrong(error.to_string()))?;
    Ok(text)
}

/// A field that is there; null stands for a missing one.
pub(crate) fn present(raw: Raw<'_>) -> Raw<'_> {
    raw.filter(|raw| raw.get() != "null")
}

/// An id that may be missing.
pub(crate) fn own_id<'a>(
    field: &'static str,
    raw: Raw<'a>,
) -> Result<Option<Cow<'a, str>>, Unreadable> {
    raw.map(|raw| id(field, Some(raw))).transpose()
}
