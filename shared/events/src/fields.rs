//! Reads a JSON object's top-level fields, strictly: no field twice, whatever its name.

use std::borrow::Cow;
use std::collections::HashSet;
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
            Self::Id { .. } => "UNREADABLE_ID",
        }
    }

    /// The field that is wrong, if it is a single one.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Id { field, .. } => Some(field),
            Self::Twice { field } => Some(field),
            _ => None,
        }
    }
}

/// The fields of an object that this program knows, as raw JSON.
#[derive(Debug, Default)]
pub(crate) struct Fields<'a> {
    pub(crate) item_id: Option<&'a RawValue>,
    pub(crate) purchase_id: Option<&'a RawValue>,
    pub(crate) restock_id: Option<&'a RawValue>,
    pub(crate) quantity: Option<&'a RawValue>,
    pub(crate) purchased_by: Option<&'a RawValue>,
    pub(crate) description: Option<&'a RawValue>,
    /// Only in requests to a service: an event's time stands beside its value.
    pub(crate) timestamp: Option<&'a RawValue>,
}

const TWICE: &str = "\u{0}twice\u{0}";

impl<'a> Fields<'a> {
    /// Reads a value.
    pub(crate) fn read(value: Option<&'a [u8]>) -> Result<Fields<'a>, Unreadable> {
        let value = value.ok_or(Unreadable::NoValue)?;
        if value.len() > VALUE_BYTES_MAX {
            return Err(Unreadable::TooLong { bytes: value.len() });
        }
        let text = std::str::from_utf8(value)
            .map_err(|error| Unreadable::NotUtf8 { at: error.valid_up_to() })?;
        serde_json::from_str(text).map_err(|error| {
            let cause = error.to_string();
            match cause.split(TWICE).nth(1) {
                Some(field) => Unreadable::Twice { field: field.to_owned() },
                None => Unreadable::NotAnObject { cause },
            }
        })
    }

    fn slot(&mut self, name: &str) -> Option<&mut Option<&'a RawValue>> {
        Some(match name {
            "itemId" => &mut self.item_id,
            "purchaseId" => &mut self.purchase_id,
            "restockId" => &mut self.restock_id,
            "quantity" => &mut self.quantity,
            "purchasedBy" => &mut self.purchased_by,
            "description" => &mut self.description,
            "timestamp" => &mut self.timestamp,
            _ => return None,
        })
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = Fields::default();
        let mut others: HashSet<String> = HashSet::new();
        while let Some(Text(name)) = map.next_key::<Text<'de>>()? {
            let value: &'de RawValue = map.next_value()?;
            let twice = match fields.slot(&name) {
                Some(slot) => slot.replace(value).is_some(),
                None => !others.insert(name.clone().into_owned()),
            };
            if twice {
                return Err(A::Error::custom(format_args!("{TWICE}{name}{TWICE}")));
            }
        }
        Ok(fields)
    }
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
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
pub(crate) fn text<'a>(raw: Option<&'a RawValue>) -> Option<Cow<'a, str>> {
    serde_json::from_str::<Text<'a>>(raw?.get()).ok().map(|Text(text)| text)
}

/// A field that must be an id.
pub(crate) fn id<'a>(
    field: &'static str,
    raw: Option<&'a RawValue>,
) -> Result<Cow<'a, str>, Unreadable> {
    let wrong = |cause: String| Unreadable::Id { field, cause };
    let raw = raw.ok_or_else(|| wrong("is missing".to_owned()))?;
    let text = text(Some(raw)).ok_or_else(|| wrong("is not a string".to_owned()))?;
    crate::check_id(&text).map_err(|error| wrong(error.to_string()))?;
    Ok(text)
}
