//! A purchase: its result must be what the rule says, and nothing is sold twice.

mod result;

use std::collections::BTreeMap;

use crate::decide::Decided;
use crate::fold::Fold;
use crate::item::Item;
use crate::outputs::read;
use crate::report::{Counts, Rule};
use crate::request::Request;
use crate::stream::PURCHASES;

use super::Kind;
pub(crate) use result::PurchaseResult;

pub(crate) struct Purchase;

impl Kind for Purchase {
    fn name(&self) -> &'static str {
        "purchase"
    }

    fn stream(&self) -> usize {
        PURCHASES
    }

    fn id_field(&self) -> &'static str {
        "purchaseId"
    }

    fn content(&self, request: &Request<'_>, part: &mut dyn FnMut(&str)) {
        part(request.quantity());
        part(&request.text("purchasedBy"));
    }

    fn tally<'c>(&self, counts: &'c mut Counts) -> &'c mut BTreeMap<String, u64> {
        &mut counts.results
    }

    fn check(&self, fold: &mut Fold<'_>, decided: &Decided<'_>) {
        let (decoded, at) = (decided.decoded, decided.at());
        let request = &decoded.request;
        fold.report.counts.purchases += 1;
        let value: PurchaseResult<'_> = match read(decided.record.value) {
            Ok(value) => value,
            Err(cause) => return fold.report.find(Rule::C1, at, "a readable result", cause),
        };
        let decided_at = (value.decided_at.to_string(), decoded.at.to_string());
        fold.same(
            decided,
            &[
                ("purchaseId", &value.purchase_id, &decoded.id),
                ("itemId", &value.item_id, &request.item),
                ("quantity", value.quantity.get(), request.quantity()),
                ("purchasedBy", &value.purchased_by, &request.text("purchasedBy")),
                ("decidedAt", &decided_at.0, &decided_at.1),
            ],
        );
        let mut item = fold.item(&request.item);
        if value.item_quantity != item.supplied {
            let expected = format!("itemQuantity {}, the sum of the restocks", item.supplied);
            fold.report.find(Rule::C4, at, expected, value.item_quantity);
        }
        if value.already_booked != item.booked {
            let expected = format!("alreadyBooked {}, the sum of the grants", item.booked);
            fold.report.find(Rule::C3, at, expected, value.already_booked);
        }
        (item.supplied, item.booked) = (value.item_quantity, value.already_booked);
        let too_old = fold.is_too_old(decoded);
        let expected = refusal(request, &item, too_old);
        fold.outcome(decided, value.status, value.reason, expected, Rule::C3);
        let before = item.supplied.saturating_sub(item.booked);
        let units = request.units().filter(|_| value.reason.is_none());
        let left = before.saturating_sub(units.unwrap_or(0));
        if value.remaining != left {
            fold.report.find(Rule::C3, at, format!("remaining {left}"), value.remaining);
        }
        value.message(&mut fold.text);
        if fold.text != value.result_message {
            let expected = format!("{:?}", fold.text);
            fold.report.find(Rule::C3, at, expected, &value.result_message);
        }
        if let Some(units) = units {
            fold.report.counts.units_sold += u128::from(units);
            item.grant(units, at, &mut fold.report);
            item.booked = item.booked.saturating_add(units);
        }
        fold.keep(decided, item, units.is_some());
    }
}

/// Why a purchase must be refused.
fn refusal(request: &Request<'_>, item: &Item, too_old: bool) -> Option<&'static str> {
    let wanted = match request.units() {
        _ if too_old => return Some("TOO_OLD"),
        None => return Some("INVALID_QUANTITY"),
        Some(units) => u128::from(units),
    };
    match (u128::from(item.supplied), u128::from(item.booked)) {
        (0, _) => Some("UNKNOWN_ITEM"),
        (supplied, booked) if booked + wanted > supplied => Some("INSUFFICIENT_STOCK"),
        _ => None,
    }
}
