//! A topology for people: as text ([`std::fmt::Display`]) and as a Mermaid flowchart.

use std::fmt;

use super::{Backing, Topology};

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
        for p in &self.processors {
            let (reads, keeps) = (p.reads.join(", "), p.keeps.join(", "));
            writeln!(f, "  processor {} reads [{reads}] keeps [{keeps}]", p.name)?;
        }
        for s in &self.stores {
            match &s.backing {
                Backing::Changelog { topic, .. } => {
                    writeln!(f, "  store     {} (changelog {topic})", s.name)?;
                }
                Backing::Ledger { topic, .. } => {
                    writeln!(f, "  store     {} (backed by {topic})", s.name)?;
                }
            }
        }
        for s in &self.sinks {
            writeln!(f, "  sink      {} -> {} (from {})", s.name, s.topic, s.from)?;
        }
        if let Some(topic) = &self.dead_letters {
            writeln!(f, "  dead letters -> {topic}")?;
        }
        Ok(())
    }
}

impl Topology {
    /// The topology as a Mermaid flowchart.
    pub fn mermaid(&self) -> String {
        let mut lines = vec!["flowchart LR".to_owned()];
        let topic = |name: &str| format!("{name}([{name}])");
        for p in &self.processors {
            for s in self.sources.iter().filter(|s| p.reads.contains(&s.name)) {
                lines.push(format!("    {} -->|{}| {}", topic(&s.topic), s.name, p.name));
            }
            if let Some(rekey) = &self.rekey {
                lines.push(format!("    {} -->|moved| {}", topic(rekey), p.name));
                lines.push(format!("    {} -.->|wrong partition| {}", p.name, topic(rekey)));
            }
            for s in self.stores.iter().filter(|s| p.keeps.contains(&s.name)) {
                lines.push(format!("    {} --- {}[({})]", p.name, s.name, s.name));
                if let Backing::Changelog { topic: name, .. } = &s.backing {
                    lines.push(format!("    {} -->|changelog| {}", s.name, topic(name)));
                }
            }
            for s in self.sinks.iter().filter(|s| s.from == p.name) {
                lines.push(format!("    {} -->|{}| {}", p.name, s.name, topic(&s.topic)));
            }
            if let Some(dead) = &self.dead_letters {
                lines.push(format!("    {} -.->|unreadable| {}", p.name, topic(dead)));
            }
        }
        lines.join("\n") + "\n"
    }
}
