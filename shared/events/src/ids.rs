//! Ids: JSON strings of 1 to 256 bytes without control characters.

/// Longest id (bytes of UTF-8).
pub const ID_BYTES_MAX: usize = 256;

/// Why a text is no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// It is empty.
    #[error("is empty")]
    Empty,
    /// It is longer than [`ID_BYTES_MAX`].
    #[error("is longer than 256 bytes")]
    TooLong,
    /// It holds a control character.
    #[error("holds a control character")]
    Control,
}

/// Whether `text` can be an id.
///
/// # Errors
/// The first rule it breaks.
pub fn check_id(text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        Err(IdError::Empty)
    } else if text.len() > ID_BYTES_MAX {
        Err(IdError::TooLong)
    } else if text.chars().any(char::is_control) {
        Err(IdError::Control)
    } else {
        Ok(())
    }
}

/// A fresh id, ordered by time (UUIDv7).
pub fn fresh_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_short_texts_without_control_characters() {
        assert_eq!(check_id("1"), Ok(()));
        assert_eq!(check_id(&"é".repeat(128)), Ok(()));
        assert_eq!(check_id(""), Err(IdError::Empty));
        assert_eq!(check_id(&"é".repeat(129)), Err(IdError::TooLong));
        assert_eq!(check_id("a\nb"), Err(IdError::Control));
        assert_eq!(check_id("a\u{85}"), Err(IdError::Control));
        assert_eq!(check_id(&fresh_id()), Ok(()));
    }
}
