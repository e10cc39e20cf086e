//! A purchase over HTTP: how a request becomes an event, and what its result says to the caller.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Uri;
use bps_events::{Purchase, PurchaseRequest, PurchaseResult, Topics};
use bps_service::intake::{self, Decision, Event, IdempotencyKey, Intake, Moment};
use bps_service::problem::ProblemKind;
use bps_service::{Problem, Waiters, path};

use crate::ledger::Ledger;

/// How long a request waits for its result unless the caller prefers otherwise.
const WAIT: Duration = Duration::from_secs(10);

/// `POST /purchases`.
pub(crate) struct Purchases {
    pub(crate) ledger: Ledger,
    pub(crate) waiters: Arc<Waiters>,
}

impl Intake for Purchases {
    fn topic<'t>(&self, topics: &'t Topics) -> &'t str {
        &topics.purchase_created
    }

    fn event(&self, request: &[u8], key: &IdempotencyKey, at: Moment) -> Result<Event, Problem> {
        let asked = PurchaseRequest::read(request)?;
        let (id, is_named) = key.name("purchaseId", asked.purchase_id.clone())?;
        Ok(Event {
            timestamp: intake::stamp::read(asked.timestamp, at)?,
            key: asked.item_id.as_bytes().to_vec(),
            value: asked.write(&id),
            ids: intake::ids(&[("purchaseId", &id), ("itemId", &asked.item_id)]),
            is_named,
        })
    }

    fn wait(&self) -> Duration {
        WAIT
    }

    fn waiters(&self) -> &Arc<Waiters> {
        &self.waiters
    }

    fn subject(&self, event: &Event) -> Vec<u8> {
        purchase(event).map(|p| p.purchase_id.into_owned().into_bytes()).unwrap_or_default()
    }

    fn location(&self, event: &Event) -> Option<Uri> {
        let purchase = purchase(event)?;
        let item = [("itemId", &*purchase.item_id)];
        path::uri(&["purchases", &purchase.purchase_id], &item)
    }

    fn decision(&self, event: &Event) -> Result<Option<Decision>, Problem> {
        let Some(purchase) = purchase(event) else {
            return Ok(None);
        };
        let found = self.ledger.find(&purchase.purchase_id, &purchase.item_id)?;
        Ok(found.and_then(|found| decision(&purchase, found.json)))
    }
}

/// The event as the rule will read it; it was written by [`Intake::event`], and is readable.
fn purchase(event: &Event) -> Option<Purchase<'_>> {
    Purchase::read(Some(&event.value)).ok()
}

/// What a result says to someone who asked for this.
fn decision(asked: &Purchase<'_>, json: String) -> Option<Decision> {
    let result: PurchaseResult<'_> = serde_json::from_str(&json).ok()?;
    let same = result.quantity.get() == asked.quantity.to_string()
        && result.purchased_by == asked.purchased_by;
    if !same {
        let detail = format!(
            "purchase {:?} of item {:?} was for quantity {} by {:?}",
            result.purchase_id, result.item_id, result.quantity, result.purchased_by
        );
        let ids = [("purchaseId", &*result.purchase_id), ("itemId", &*result.item_id)];
        let members = intake::ids(&ids);
        return Some(Decision::Refused(Problem {
            members,
            ..Problem::new(ProblemKind::AnotherBody, detail)
        }));
    }
    match result.reason {
        Some(_) => Some(Decision::Refused(refusal(&result)?)),
        None => Some(Decision::Granted(json)),
    }
}

/// A refusal with all its numbers; `None` where the purchase was granted.
fn refusal(result: &PurchaseResult<'_>) -> Option<Problem> {
    let reason = result.reason?;
    let texts = [
        ("reason", reason.code()),
        ("purchaseId", &result.purchase_id),
        ("itemId", &result.item_id),
        ("purchasedBy", &result.purchased_by),
    ];
    let numbers = format!(
        r#","quantity":{},"itemQuantity":{},"alreadyBooked":{},"remaining":{},"decidedAt":{}"#,
        result.quantity,
        result.item_quantity,
        result.already_booked,
        result.remaining,
        result.decided_at
    );
    let members = intake::ids(&texts) + &numbers;
    Some(Problem { members, ..Problem::new(reason.into(), &result.result_message) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRANTED: &str = r#"{"purchaseId":"p","itemId":"i","quantity":2,"purchasedBy":"b","status":"SUCCESS","reason":null,"itemQuantity":5,"alreadyBooked":0,"remaining":3,"resultMessage":"m","decidedAt":7}"#;

    fn told(quantity: &str, by: &str, json: &str) -> Decision {
        let event = format!(
            r#"{{"purchaseId":"p","itemId":"i","quantity":{quantity},"purchasedBy":"{by}"}}"#
        );
        let purchase = Purchase::read(Some(event.as_bytes())).expect("readable");
        decision(&purchase, json.to_owned()).expect("a decision")
    }

    fn refused(decision: Decision) -> Problem {
        match decision {
            Decision::Refused(problem) => problem,
            Decision::Granted(json) => panic!("granted: {json}"),
        }
    }

    #[test]
    fn a_result_is_told_to_who_asked_for_just_that() {
        assert_eq!(told("2", "b", GRANTED), Decision::Granted(GRANTED.to_owned()));
        for (quantity, by) in [("3", "b"), ("2", "c"), ("\"2\"", "b")] {
            let problem = refused(told(quantity, by, GRANTED));
            assert_eq!((problem.kind, problem.status()), (ProblemKind::AnotherBody, 422));
        }
    }

    #[test]
    fn a_refusal_has_all_its_numbers() {
        for (code, status) in
            [("INSUFFICIENT_STOCK", 409), ("UNKNOWN_ITEM", 404), ("INVALID_QUANTITY", 422)]
        {
            let json = GRANTED.replace("SUCCESS", "FAILED").replace("null", &format!("\"{code}\""));
            let problem = refused(told("2", "b", &json));
            assert_eq!((problem.status(), &*problem.detail), (status, "m"));
            let members = format!("{{{}}}", problem.members);
            let members: serde_json::Value = serde_json::from_str(&members).expect("JSON");
            assert_eq!((&members["reason"], &members["remaining"]), (&code.into(), &3.into()));
        }
    }

    /// What is no integer is null in the result, whatever it was.
    #[test]
    fn a_quantity_that_is_no_integer_is_the_same_again() {
        let json = GRANTED.replace("SUCCESS", "FAILED").replace("null", "\"INVALID_QUANTITY\"");
        let json = json.replace("\"quantity\":2", "\"quantity\":null");
        assert_eq!(refused(told("\"two\"", "b", &json)).kind, ProblemKind::InvalidQuantity);
    }
}
