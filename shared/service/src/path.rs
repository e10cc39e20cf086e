//! References to resources of a service.

use axum::http::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All but what a URI may hold as it is, wherever it stands (RFC 3986, unreserved).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The path of these segments, with this query.
pub fn uri(segments: &[&str], query: &[(&str, &str)]) -> Option<Uri> {
    let encode = |text| utf8_percent_encode(text, RESERVED);
    let mut text: String = segments.iter().map(|segment| format!("/{}", encode(segment))).collect();
    for (number, (name, value)) in query.iter().enumerate() {
        let mark = if number == 0 { '?' } else { '&' };
        text += &format!("{mark}{name}={}", encode(value));
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_an_id_holds_it_is_one_segment() {
        let told = uri(&["purchases", "a/b ?é"], &[("itemId", "1&2"), ("x", "")]);
        let expected = "/purchases/a%2Fb%20%3F%C3%A9?itemId=1%262&x=";
        assert_eq!(told.map(|uri| uri.to_string()).as_deref(), Some(expected));
    }
}
