//! What all commands have that share one topic: a type, an id, an item, and fields of their own.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::fields::{Unreadable, each, id, text};
use crate::json::{json, outcome, put};
use crate::reason::Reason;

/// A record of `command-created`, of whatever type. What it is, is (itemId, commandId).
#[derive(Clone, Debug)]
pub struct Command<'a> {
    /// What is asked for, such as `HOLD`; whether it is known, its reader finds out.
    pub kind: Cow<'a, str>,
    /// Its id, unique within the item.
    pub command_id: Cow<'a, str>,
    /// The item.
    pub item_id: Cow<'a, str>,
    fields: HashMap<Cow<'a, str>, &'a RawValue>,
}

impl<'a> Command<'a> {
    /// Reads a record's value.
    ///
    /// # Errors
    /// When its type or its ids cannot be read: only then it gets no answer.
    pub fn read(value: Option<&'a [u8]>) -> Result<Command<'a>, Unreadable> {
        let mut fields = HashMap::new();
        each(value, |name, raw| fields.insert(name.clone(), raw).is_none())?;
        let of = |name: &str| fields.get(name).copied();
        let Some(kind) = text(of("type")) else {
            let cause = match of("type") {
                None => "is missing",
                Some(_) => "is not a string",
            };
            return Err(Unreadable::Type { cause: cause.to_owned() });
        };
        let command_id = id("commandId", of("commandId"))?;
        let item_id = id("itemId", of("itemId"))?;
        Ok(Command { kind, command_id, item_id, fields })
    }

    /// The raw JSON of a field, if it is there.
    pub fn field(&self, name: &str) -> Option<&'a RawValue> {
        self.fields.get(name).copied()
    }

    /// Writes a record's value. `fields` are the command's own: names and raw JSON.
    pub fn write(kind: &str, command_id: &str, item_id: &str, fields: &[(&str, &str)]) -> Vec<u8> {
        let mut value = Vec::with_capacity(192);
        put(&mut value, &["{\"type\":"]);
        json(kind, &mut value);
        put(&mut value, &[",\"commandId\":"]);
        json(command_id, &mut value);
        put(&mut value, &[",\"itemId\":"]);
        json(item_id, &mut value);
        for (name, raw) in fields {
            put(&mut value, &[","]);
            json(name, &mut value);
            put(&mut value, &[":", raw]);
        }
        value.push(b'}');
        value
    }
}

/// The answer to a command: a record of `command-finished`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandFinished<'a> {
    /// The command.
    pub command_id: &'a str,
    /// What was asked for.
    pub kind: &'a str,
    /// The item.
    pub item_id: &'a str,
    /// `None`: done.
    pub reason: Option<Reason>,
    /// Units supplied so far, after the decision.
    pub supplied: u64,
    /// Units booked so far, after the decision.
    pub booked: u64,
    /// What is left after the decision.
    pub remaining: u64,
    /// The command's own timestamp (ms since 1970).
    pub decided_at: i64,
}

impl CommandFinished<'_> {
    /// Appends the record's value to `into`.
    pub fn write(&self, into: &mut Vec<u8>) {
        let mut digits = [itoa::Buffer::new(); 4];
        let [supplied, booked, left, at] = &mut digits;
        let (status, reason) = outcome(self.reason);
        put(into, &["{\"commandId\":"]);
        json(self.command_id, into);
        put(into, &[",\"type\":"]);
        json(self.kind, into);
        put(into, &[",\"itemId\":"]);
        json(self.item_id, into);
        put(into, &[",\"status\":\"", status, "\",\"reason\":"]);
        put(into, &reason);
        put(into, &[",\"supplied\":", supplied.format(self.supplied)]);
        put(into, &[",\"booked\":", booked.format(self.booked)]);
        put(into, &[",\"remaining\":", left.format(self.remaining)]);
        put(into, &[",\"decidedAt\":", at.format(self.decided_at), "}"]);
    }
}

/// A record of `command-finished` as its readers see it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommandResult<'a> {
    /// The command.
    #[serde(borrow)]
    pub command_id: Cow<'a, str>,
    /// What was asked for.
    #[serde(borrow, rename = "type")]
    pub kind: Cow<'a, str>,
    /// The item.
    #[serde(borrow)]
    pub item_id: Cow<'a, str>,
    /// `None`: done.
    pub reason: Option<Reason>,
    /// Units supplied so far, after the decision.
    pub supplied: u64,
    /// Units booked so far, after the decision.
    pub booked: u64,
    /// What is left after the decision.
    pub remaining: u64,
    /// The command's own timestamp (ms since 1970).
    pub decided_at: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(value: &str, code: &str, told: &str) {
        let error = Command::read(Some(value.as_bytes())).expect_err(value);
        assert_eq!((error.code(), error.to_string().contains(told)), (code, true), "{error}");
    }

    #[test]
    fn a_command_has_a_type_ids_and_fields_of_its_own() {
        let value = Command::write("HOLD", "c\"", "i", &[("quantity", "5"), ("by", "\"b\"")]);
        let command = Command::read(Some(&value)).expect("readable");
        let own = ["quantity", "by", "other"].map(|name| command.field(name).map(RawValue::get));
        assert_eq!((&*command.kind, &*command.command_id, &*command.item_id), ("HOLD", "c\"", "i"));
        assert_eq!(own, [Some("5"), Some("\"b\""), None]);
        refused(r#"{"commandId":"c","itemId":"i"}"#, "UNKNOWN_TYPE", "type is missing");
        refused(r#"{"type":1,"commandId":"c","itemId":"i"}"#, "UNKNOWN_TYPE", "not a string");
        refused(r#"{"type":"T","itemId":"i"}"#, "UNREADABLE_ID", "commandId is missing");
        refused(r#"{"type":"T","commandId":"c","itemId":""}"#, "UNREADABLE_ID", "itemId is empty");
        refused(r#"{"type":"T","commandId":"c","itemId":"i","x":1,"x":1}"#, "FIELD_TWICE", "\"x\"");
        refused("[]", "NOT_JSON", "not a JSON object");
    }

    #[test]
    fn an_answer_is_written_and_read() {
        let mut value = Vec::new();
        let finished = CommandFinished {
            command_id: "c",
            kind: "HOLD",
            item_id: "i",
            reason: Some(Reason::InsufficientStock),
            supplied: 5,
            booked: 3,
            remaining: 2,
            decided_at: 7,
        };
        finished.write(&mut value);
        let read: CommandResult<'_> = serde_json::from_slice(&value).expect("JSON");
        assert_eq!((&*read.command_id, read.reason), ("c", Some(Reason::InsufficientStock)));
        insta::assert_snapshot!(String::from_utf8_lossy(&value), @r#"{"commandId":"c","type":"HOLD","itemId":"i","status":"FAILED","reason":"INSUFFICIENT_STOCK","supplied":5,"booked":3,"remaining":2,"decidedAt":7}"#);
    }
}
