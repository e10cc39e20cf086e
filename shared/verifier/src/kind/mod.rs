//! The kinds of requests: a folder each, with its rule told a second time. The list is the only place
//! that knows them all.

mod purchase;
mod restock;

pub(crate) use purchase::PurchaseResult;

use std::collections::BTreeMap;

use crate::decide::Decided;
use crate::fold::Fold;
use crate::report::Counts;
use crate::request::Request;
use crate::stream::COMMANDS;

/// Every kind.
pub(crate) static KINDS: &[&dyn Kind] = &[&restock::Restock, &purchase::Purchase];

/// What can be asked of an item.
pub(crate) trait Kind: Sync {
    /// What it is called in findings.
    fn name(&self) -> &'static str;
    /// Number of the stream that it comes from.
    fn stream(&self) -> usize {
        COMMANDS
    }
    /// Its type, where the stream has several kinds.
    fn type_name(&self) -> Option<&'static str> {
        None
    }
    /// The field of its id.
    fn id_field(&self) -> &'static str {
        "commandId"
    }
    /// Whether one without an id is known by the place it came from.
    fn may_lack_id(&self) -> bool {
        false
    }
    /// The parts of its content, by which another request under the same id is told.
    fn content(&self, request: &Request<'_>, part: &mut dyn FnMut(&str));
    /// Where its answers are counted, by reason of refusal.
    fn tally<'c>(&self, counts: &'c mut Counts) -> &'c mut BTreeMap<String, u64> {
        counts.commands.entry(self.name().to_owned()).or_default()
    }
    /// Checks an answer, and takes over what it did.
    fn check(&self, fold: &mut Fold<'_>, decided: &Decided<'_>);
}

/// The kind of a request in this stream; `None` where it is not known. `name` is its type, where it has
/// one.
pub(crate) fn find(stream: usize, name: Option<&str>) -> Option<&'static dyn Kind> {
    let is_it = |kind: &&dyn Kind| {
        kind.stream() == stream && kind.type_name().is_none_or(|own| Some(own) == name)
    };
    KINDS.iter().copied().find(is_it)
}
