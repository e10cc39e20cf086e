//! One record as one line: for people, or as JSON.

use std::fmt::Write as _;

use bps_streams::{Record, STAMP, Stamp};
use serde_json::value::RawValue;

/// How records are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `partition@offset  time  key  value  header=value ...`
    People,
    /// One JSON object a line.
    Json,
}

/// Appends a record and the end of its line.
pub(crate) fn write(record: &Record<'_>, form: Form, into: &mut Vec<u8>) {
    match form {
        Form::People => people(record, into),
        Form::Json => json(record, into),
    }
    into.push(b'\n');
}

fn people(record: &Record<'_>, into: &mut Vec<u8>) {
    let mut line = format!("{}@{}  ", record.partition, record.offset);
    line.push_str(&time(record.timestamp).unwrap_or_else(|| format!("{} ms", record.timestamp)));
    for part in [record.key, record.value] {
        line.push_str("  ");
        plain(part, &mut line);
    }
    for (name, value) in record.headers.iter() {
        line.push_str("  ");
        plain(Some(name.as_bytes()), &mut line);
        line.push('=');
        match stamp(name, value) {
            Some(stamp) => line.push_str(&stamp),
            None => plain(value, &mut line),
        }
    }
    into.extend_from_slice(line.as_bytes());
}

/// Text as it is, except control characters, which could move a terminal's cursor; other bytes
/// as `0x...`.
fn plain(bytes: Option<&[u8]>, line: &mut String) {
    let Some(bytes) = bytes else {
        return line.push_str("null");
    };
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            for c in text.chars() {
                match c.is_control() {
                    true => line.extend(c.escape_default()),
                    false => line.push(c),
                }
            }
        }
        Err(_) => {
            line.push_str("0x");
            hex(bytes, line);
        }
    }
}

fn json(record: &Record<'_>, into: &mut Vec<u8>) {
    let mut line = format!(
        r#"{{"topic":{},"partition":{},"offset":{},"timestamp":{},"time":{},"key":"#,
        quoted(record.topic),
        record.partition,
        record.offset,
        record.timestamp,
        time(record.timestamp).map_or_else(|| "null".to_owned(), |time| quoted(&time)),
    );
    line.push_str(&text_or_hex(record.key));
    line.push_str(",\"value\":");
    line.push_str(&embedded(record.value));
    line.push_str(",\"headers\":[");
    for (index, (name, value)) in record.headers.iter().enumerate() {
        let value = stamp(name, value).unwrap_or_else(|| text_or_hex(value));
        let comma = if index > 0 { "," } else { "" };
        // Writing to a string cannot fail.
        let _ = write!(line, r#"{comma}{{"name":{},"value":{value}}}"#, quoted(name));
    }
    line.push_str("]}");
    into.extend_from_slice(line.as_bytes());
}

/// A value that is a JSON object or list, as it is; everything else as [`text_or_hex`].
fn embedded(value: Option<&[u8]>) -> String {
    let object = value.filter(|v| matches!(v.trim_ascii_start().first(), Some(b'{' | b'[')));
    let raw = object.and_then(|v| serde_json::from_slice::<&RawValue>(v).ok());
    match raw {
        // In JSON they stand between tokens only: one record stays one line.
        Some(raw) => raw.get().replace(['\n', '\r'], " "),
        None => text_or_hex(value),
    }
}

/// Text as a JSON string; other bytes as `{"$hex":"..."}`.
fn text_or_hex(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else {
        return "null".to_owned();
    };
    match std::str::from_utf8(bytes) {
        Ok(text) => quoted(text),
        Err(_) => {
            let mut line = r#"{"$hex":""#.to_owned();
            hex(bytes, &mut line);
            line + "\"}"
        }
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn hex(bytes: &[u8], line: &mut String) {
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(line, "{byte:02x}");
    }
}

fn time(timestamp: i64) -> Option<String> {
    jiff::Timestamp::from_millisecond(timestamp).ok().map(|time| time.to_string())
}

/// The engine's own binary header, readable.
fn stamp(name: &str, value: Option<&[u8]>) -> Option<String> {
    let stamp = Stamp::decode(value.filter(|_| name == STAMP)?)?;
    let source = match stamp.source {
        Some((input, offset)) => format!(r#"{{"input":{input},"offset":{offset}}}"#),
        None => "null".to_owned(),
    };
    let mut memo = String::new();
    hex(&stamp.memo, &mut memo);
    let positions: Vec<String> = stamp.positions.iter().map(u64::to_string).collect();
    Some(format!(
        r#"{{"incarnation":{},"sequence":{},"source":{source},"positions":[{}],"memo":"{memo}"}}"#,
        stamp.incarnation,
        stamp.sequence,
        positions.join(","),
    ))
}

#[cfg(test)]
mod tests {
    use bps_streams::record::{Batch, Header};

    use super::*;

    #[track_caller]
    fn check(
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
        people: &str,
        json: &str,
    ) {
        let mut batch = Batch::default();
        batch.push(7, 1_500, key, value, headers.iter().copied());
        let show = |form| {
            let mut line = Vec::new();
            write(&batch.get(0, "t", 3), form, &mut line);
            String::from_utf8(line).expect("UTF-8")
        };
        assert_eq!(show(Form::People), format!("3@7  1970-01-01T00:00:01.5Z  {people}\n"));
        let line = show(Form::Json);
        let head = r#"{"topic":"t","partition":3,"offset":7,"timestamp":1500,"#;
        assert_eq!(line, format!("{head}\"time\":\"1970-01-01T00:00:01.5Z\",{json}\n"));
        serde_json::from_str::<serde_json::Value>(&line).expect("JSON");
    }

    #[test]
    fn values_are_embedded_and_bytes_marked() {
        check(
            Some(b"1"),
            Some(b"{\"a\":\n1}"),
            &[],
            r#"1  {"a":\n1}"#,
            r#""key":"1","value":{"a": 1},"headers":[]}"#,
        );
        check(None, None, &[], "null  null", r#""key":null,"value":null,"headers":[]}"#);
        check(
            Some(b"\xff\x00"),
            Some(b"[1"),
            &[("h", None), ("h", Some(b"\x1b[1m"))],
            r"0xff00  [1  h=null  h=\u{1b}[1m",
            "\"key\":{\"$hex\":\"ff00\"},\"value\":\"[1\",\"headers\":[{\"name\":\"h\",\
             \"value\":null},{\"name\":\"h\",\"value\":\"\\u001b[1m\"}]}",
        );
        check(Some(b""), Some(b"12"), &[], "  12", r#""key":"","value":"12","headers":[]}"#);
    }

    #[test]
    fn the_stamp_is_decoded() {
        let stamp = [1, 2, 5, 1, 9, 2, 10, 0x80, 1, 0xab];
        let shown = "{\"incarnation\":2,\"sequence\":5,\"source\":{\"input\":0,\"offset\":9},\
                     \"positions\":[10,128],\"memo\":\"ab\"}";
        check(
            None,
            None,
            &[(STAMP, Some(&stamp)), ("other", Some(&[1]))],
            &format!(r"null  null  stamp={shown}  other=\u{{1}}"),
            &format!(
                "\"key\":null,\"value\":null,\"headers\":[{{\"name\":\"stamp\",\
                 \"value\":{shown}}},{{\"name\":\"other\",\"value\":\"\\u0001\"}}]}}"
            ),
        );
    }
}
