//! What is remembered of decided requests: fingerprints, so that a resend is known for ever at a
//! few bytes each.

use sha2::{Digest, Sha256};

/// Bytes of a fingerprint of an id. 128 bits of SHA-256: nobody can craft an id that passes for
/// another one's, which a fast hash would allow.
pub const ID_BYTES: usize = 16;
/// Bytes of a fingerprint of the content.
pub const CONTENT_BYTES: usize = 8;

/// Key and value of one remembered request, as they go into a result's stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remembered([u8; ID_BYTES + CONTENT_BYTES]);

impl Remembered {
    /// Of a request with these ids and this content.
    pub fn new(item: &str, id: &str, content: &[&str]) -> Remembered {
        let mut bytes = [0; ID_BYTES + CONTENT_BYTES];
        bytes[..ID_BYTES].copy_from_slice(&digest(&[item, id])[..ID_BYTES]);
        bytes[ID_BYTES..].copy_from_slice(&digest(content)[..CONTENT_BYTES]);
        Remembered(bytes)
    }

    /// Key of the store.
    pub fn key(&self) -> &[u8] {
        &self.0[..ID_BYTES]
    }

    /// Value of the store: tells a resend from another request under the same id.
    pub fn content(&self) -> &[u8] {
        &self.0[ID_BYTES..]
    }

    /// Both, for the stamp.
    pub fn memo(&self) -> &[u8] {
        &self.0
    }
}

/// Key and value from a memo; `None` where it is none.
pub fn from_memo(memo: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (key, content) = memo.split_at_checked(ID_BYTES)?;
    (content.len() == CONTENT_BYTES).then(|| (key.to_vec(), content.to_vec()))
}

/// Each part's length goes in too, so that ("ab", "c") is not ("a", "bc").
fn digest(parts: &[&str]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_content_are_told_apart() {
        let one = Remembered::new("ab", "c", &["1"]);
        assert_eq!(from_memo(one.memo()), Some((one.key().to_vec(), one.content().to_vec())));
        assert_ne!(one.key(), Remembered::new("a", "bc", &["1"]).key());
        let other = Remembered::new("ab", "c", &["2"]);
        assert_eq!((one.key(), one.content() == other.content()), (other.key(), false));
        assert_eq!(from_memo(b""), None);
    }
}
