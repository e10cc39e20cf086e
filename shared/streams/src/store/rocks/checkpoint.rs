//! A checkpoint as it lies in the store.

use std::sync::Arc;

use crate::stamp::Clocks;
use crate::store::{Checkpoint, Kept, Stamped};

/// A checkpoint as text, one fact a line: readable in a hex dump when it matters.
pub(super) fn encode_checkpoint(c: &Checkpoint) -> String {
    use std::fmt::Write;
    let mut text = format!("v1 {} {} {}\n", c.incarnation, c.sequence, c.stream_time);
    for (kind, list) in [("input", &c.inputs), ("backing", &c.backing)] {
        for (topic, offset) in list {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{kind} {offset} {topic}");
        }
    }
    for (topic, id) in &*c.ids {
        let _ = writeln!(text, "id {id} {topic}");
    }
    for Kept { name, topic } in &c.stores {
        let topic = topic.as_deref().map_or_else(|| "?".to_owned(), |topic| format!("@{topic}"));
        let _ = writeln!(text, "store {topic} {name}");
    }
    for Stamped { inputs, positions } in &c.stamped {
        let words: Vec<String> = positions.iter().map(u64::to_string).collect();
        let inputs = inputs.map_or_else(|| "?".to_owned(), |inputs| format!("{inputs:04x}"));
        let _ = writeln!(text, "stamped {inputs} {}", words.join(","));
    }
    if c.clocks != Clocks::default() {
        let _ = writeln!(text, "clocks {} {}", c.clocks.due_ms, c.clocks.running_ms);
    }
    if let Some(layout) = c.due_layout {
        let _ = writeln!(text, "index {layout:08x} due");
    }
    text
}

pub(super) fn decode_checkpoint(row: &[u8]) -> Option<Checkpoint> {
    let mut lines = std::str::from_utf8(row).ok()?.lines();
    let mut head = lines.next()?.strip_prefix("v1 ")?.split(' ');
    let mut checkpoint = Checkpoint {
        incarnation: head.next()?.parse().ok()?,
        sequence: head.next()?.parse().ok()?,
        stream_time: head.next()?.parse().ok()?,
        ..Checkpoint::default()
    };
    for line in lines {
        let mut words = line.splitn(3, ' ');
        let (kind, word, name) = (words.next()?, words.next()?, words.next()?.to_owned());
        match kind {
            "input" => checkpoint.inputs.push((name, word.parse().ok()?)),
            "backing" => checkpoint.backing.push((name, word.parse().ok()?)),
            // Those of the first days have none of these.
            "id" => drop(Arc::make_mut(&mut checkpoint.ids).insert(name, word.to_owned())),
            // Earlier ones have a number there.
            "store" => {
                let topic = word.strip_prefix('@').map(str::to_owned);
                checkpoint.stores.push(Kept { name, topic });
            }
            "stamped" => {
                let positions = name.split(',').map(str::parse).collect::<Result<Vec<u64>, _>>();
                let positions = positions.ok()?;
                // Earlier ones have how many they are, in up to three digits.
                let inputs = (word.len() == 4).then(|| u16::from_str_radix(word, 16));
                checkpoint.stamped.push(Stamped { inputs: inputs.transpose().ok()?, positions });
            }
            "clocks" => {
                let (due_ms, running_ms) = (word.parse().ok()?, name.parse().ok()?);
                checkpoint.clocks = Clocks { due_ms, running_ms };
            }
            "index" => checkpoint.due_layout = Some(u32::from_str_radix(word, 16).ok()?),
            _ => return None,
        }
    }
    Some(checkpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_of_the_first_days_is_read() {
        let text = "v1 3 41 -7\ninput 5 a topic\nbacking 9 b\n";
        let mut checkpoint = Checkpoint {
            incarnation: 3,
            sequence: 41,
            stream_time: -7,
            inputs: vec![("a topic".to_owned(), 5)],
            backing: vec![("b".to_owned(), 9)],
            ..Checkpoint::default()
        };
        assert_eq!(decode_checkpoint(text.as_bytes()), Some(checkpoint.clone()));
        assert_eq!(encode_checkpoint(&checkpoint), text);
        Arc::make_mut(&mut checkpoint.ids).insert("a topic".to_owned(), "x".to_owned());
        let kept = |name: &str, topic: Option<&str>| Kept {
            name: name.to_owned(),
            topic: topic.map(str::to_owned),
        };
        checkpoint.stores = vec![kept("a store", None), kept("c", Some("b"))];
        let stamped = |inputs, positions| Stamped { inputs, positions };
        checkpoint.stamped = vec![stamped(None, vec![4]), stamped(Some(0xab), vec![5, 0])];
        let now = format!(
            "{text}id x a topic\nstore ? a store\nstore @b c\nstamped ? 4\nstamped 00ab 5,0\n"
        );
        assert_eq!(encode_checkpoint(&checkpoint), now);
        let before = now.replace("stamped ?", "stamped 1").replace("store ?", "store 0");
        assert_eq!(decode_checkpoint(before.as_bytes()), Some(checkpoint.clone()));
        assert_eq!(decode_checkpoint(now.as_bytes()), Some(checkpoint.clone()));
        checkpoint.clocks = Clocks { due_ms: 50, running_ms: 7 };
        checkpoint.due_layout = Some(0xab);
        let now = format!("{now}clocks 50 7\nindex 000000ab due\n");
        assert_eq!(encode_checkpoint(&checkpoint), now);
        assert_eq!(decode_checkpoint(now.as_bytes()), Some(checkpoint));
        assert_eq!(decode_checkpoint(b"v1 3 7 -5\nnothing 4 a\n"), None);
    }
}
