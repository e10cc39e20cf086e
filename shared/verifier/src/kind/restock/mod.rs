//! A restock: it adds its units once, and the answer says to what they come.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::decide::Decided;
use crate::fold::Fold;
use crate::item::Item;
use crate::outputs::{hash, read};
use crate::report::{Counts, Rule};
use crate::request::Request;
use crate::stream::RESTOCKS;

use super::Kind;

pub(crate) struct Restock;

/// A record of the answers to restocks.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Answer<'a> {
    #[serde(borrow)]
    restock_id: Cow<'a, str>,
    #[serde(borrow)]
    item_id: Cow<'a, str>,
    #[serde(borrow)]
    quantity: &'a RawValue,
    status: &'a str,
    reason: Option<&'a str>,
    supplied: u64,
}

impl Kind for Restock {
    fn name(&self) -> &'static str {
        "restock"
    }

    fn stream(&self) -> usize {
        RESTOCKS
    }

    fn id_field(&self) -> &'static str {
        "restockId"
    }

    fn may_lack_id(&self) -> bool {
        true
    }

    fn content(&self, request: &Request<'_>, part: &mut dyn FnMut(&str)) {
        part(request.quantity());
        part(&request.text("description"));
    }

    fn tally<'c>(&self, counts: &'c mut Counts) -> &'c mut BTreeMap<String, u64> {
        &mut counts.restocks
    }

    fn check(&self, fold: &mut Fold<'_>, decided: &Decided<'_>) {
        let (decoded, at) = (decided.decoded, decided.at());
        let request = &decoded.request;
        let value: Answer<'_> = match read(decided.record.value) {
            Ok(value) => value,
            Err(cause) => return fold.report.find(Rule::C4, at, "a readable answer", cause),
        };
        fold.same(
            decided,
            &[
                ("restockId", &value.restock_id, &decoded.id),
                ("itemId", &value.item_id, &request.item),
                ("quantity", value.quantity.get(), request.quantity()),
            ],
        );
        let mut item = fold.item(&request.item);
        let expected = refusal(request, &item, fold.is_too_old(decoded));
        fold.outcome(decided, value.status, value.reason, expected, Rule::C4);
        let units = request.units().filter(|_| value.reason.is_none());
        let supplied = item.supplied.saturating_add(units.unwrap_or(0));
        if value.supplied != supplied {
            fold.report.find(Rule::C4, at, format!("supplied {supplied}"), value.supplied);
        }
        item.supplied = value.supplied;
        if let Some(units) = units {
            item.added += u128::from(units);
            let description = request.text("description");
            if !description.is_empty() {
                item.description = hash(&*description);
            }
        }
        fold.keep(decided, item, units.is_some());
    }
}

/// Why a restock must be refused.
fn refusal(request: &Request<'_>, item: &Item, too_old: bool) -> Option<&'static str> {
    match request.units() {
        _ if too_old => Some("TOO_OLD"),
        None => Some("INVALID_QUANTITY"),
        Some(units) if u64::MAX - item.supplied < units => Some("OVERFLOW"),
        Some(_) => None,
    }
}
