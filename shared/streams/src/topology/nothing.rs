//! A processor for tests of how topologies are wired.

use super::{Node, Wiring};
use crate::processor::{Context, ProcessResult, Processor};
use crate::record::Record;

/// Does nothing with a record.
pub(crate) struct Nothing;

impl Processor for Nothing {
    type Input<'a> = Record<'a>;

    fn process(&mut self, _: Record<'_>, _: &mut Context<'_>) -> ProcessResult {
        Ok(())
    }
}

/// One that asks for these parts.
pub(crate) fn node(name: &str, ask: fn(&Wiring<'_>)) -> Node<Nothing> {
    Node::new(name, move |wiring| {
        ask(wiring);
        Nothing
    })
}
