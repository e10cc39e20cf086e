//! A topology for people: as text ([`std::fmt::Display`]) and as a Mermaid flowchart.

use std::fmt;

use super::{Backing, SourceSpec, Topology};

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Topology {}", self.name)?;
        for s in &self.sources {
            write!(f, "  source    {} <- {}", s.name, s.topic)?;
            if let Some(ms) = s.head_start_ms {
                write!(f, " (head start {ms} ms)")?;
            }
            writeln!(f)?;
        }
        if let Some(topic) = &self.rekey {
            writeln!(f, "  rekey     {topic} (records of a wrong partition)")?;
        }
        if let Some(topic) = &self.ticks {
            writeln!(f, "  ticks     {topic} (the clock, where rows fall due)")?;
        }
        for (node, p) in self.nodes.iter().enumerate() {
            let reads: Vec<&str> = self.sources_of(node).map(|s| s.name.as_str()).collect();
            let keeps: Vec<&str> = p.keeps.iter().map(|s| self.stores[*s].name.as_str()).collect();
            let (reads, keeps) = (reads.join(", "), keeps.join(", "));
            writeln!(f, "  processor {} reads [{reads}] keeps [{keeps}]", p.name)?;
        }
        for s in &self.stores {
            match &s.backing {
                Backing::Changelog { topic, .. } => {
                    let due = if s.due.is_some() { ", rows fall due" } else { "" };
                    writeln!(f, "  store     {} (changelog {topic}{due})", s.name)?;
                }
                Backing::Ledger { topic, .. } => {
                    writeln!(f, "  store     {} (backed by {topic})", s.name)?;
                }
            }
        }
        for (number, s) in self.sinks.iter().enumerate() {
            let from = self.nodes.iter().filter(|n| n.writes.contains(&number));
            let from: Vec<&str> = from.map(|n| n.name.as_str()).collect();
            let keyed = if s.is_keyed { ", keyed" } else { "" };
            writeln!(f, "  sink      {} -> {} (from {}{keyed})", s.name, s.topic, from.join(", "))?;
        }
        if let Some(topic) = &self.dead_letters {
            writeln!(f, "  dead letters -> {topic}")?;
        }
        Ok(())
    }
}

impl Topology {
    fn sources_of(&self, node: usize) -> impl Iterator<Item = &SourceSpec> {
        self.sources.iter().filter(move |source| source.node == node)
    }

    /// The topology as a Mermaid flowchart.
    pub fn mermaid(&self) -> String {
        let mut lines = vec!["flowchart LR".to_owned()];
        let topic = |name: &str| format!("{name}([{name}])");
        for (node, p) in self.nodes.iter().enumerate() {
            for s in self.sources_of(node) {
                lines.push(format!("    {} -->|{}| {}", topic(&s.topic), s.name, p.name));
            }
            if let Some(rekey) = &self.rekey {
                lines.push(format!("    {} -->|moved| {}", topic(rekey), p.name));
                lines.push(format!("    {} -.->|wrong partition| {}", p.name, topic(rekey)));
            }
            if let Some(ticks) = &self.ticks {
                lines.push(format!("    {} <-->|ticks| {}", topic(ticks), p.name));
            }
            for s in p.keeps.iter().map(|table| &self.stores[*table]) {
                lines.push(format!("    {} --- {}[({})]", p.name, s.name, s.name));
                if let Backing::Changelog { topic: name, .. } = &s.backing {
                    lines.push(format!("    {} -->|changelog| {}", s.name, topic(name)));
                }
            }
            for s in p.writes.iter().map(|sink| &self.sinks[*sink]) {
                let keyed = if s.is_keyed { ", keyed" } else { "" };
                lines.push(format!("    {} -->|{}{keyed}| {}", p.name, s.name, topic(&s.topic)));
            }
            if let Some(dead) = &self.dead_letters {
                lines.push(format!("    {} -.->|unreadable| {}", p.name, topic(dead)));
            }
        }
        lines.join("\n") + "\n"
    }
}
