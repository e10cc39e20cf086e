//! A restock over HTTP: how a request becomes an event, and what its answer says to the caller.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Uri;
use bps_events::{Restock, RestockRequest, RestockResult, Topics};
use bps_service::intake::{self, Decision, Event, IdempotencyKey, Intake, Moment};
use bps_service::problem::ProblemKind;
use bps_service::{Problem, Waiters, path};

use crate::stock::{ItemRow, Stock};

/// `POST /items`.
pub(crate) struct Restocks {
    pub(crate) stock: Stock,
    pub(crate) waiters: Arc<Waiters>,
}

impl Intake for Restocks {
    fn topic<'t>(&self, topics: &'t Topics) -> &'t str {
        &topics.items_added
    }

    fn event(&self, request: &[u8], key: &IdempotencyKey, at: Moment) -> Result<Event, Problem> {
        let asked = RestockRequest::read(request)?;
        let (id, is_named) = key.name("restockId", asked.restock_id.clone())?;
        Ok(Event {
            timestamp: intake::stamp::read(asked.timestamp, at)?,
            key: asked.item_id.as_bytes().to_vec(),
            value: asked.write(&id),
            ids: intake::ids(&[("restockId", &id)]),
            is_named,
        })
    }

    /// Whoever fills the shelves goes on as soon as the event is durable.
    fn wait(&self) -> Duration {
        Duration::ZERO
    }

    fn waiters(&self) -> &Arc<Waiters> {
        &self.waiters
    }

    fn subject(&self, event: &Event) -> Vec<u8> {
        event.key.clone()
    }

    fn location(&self, event: &Event) -> Option<Uri> {
        path::uri(&["items", &restock(event)?.item_id], &[])
    }

    fn decision(&self, event: &Event) -> Result<Option<Decision>, Problem> {
        let Some(restock) = restock(event) else {
            return Ok(None);
        };
        let id = restock.restock_id.as_deref().unwrap_or_default();
        let Some((sequence, answer)) = self.stock.answer(&restock.item_id, id)? else {
            return Ok(None);
        };
        let row = self.stock.find(&restock.item_id)?;
        Ok(decision(&restock, &answer, row.filter(|row| row.sequence >= sequence)))
    }
}

/// The event as the rule will read it; it was written by [`Intake::event`], and is readable.
fn restock(event: &Event) -> Option<Restock<'_>> {
    Restock::read(Some(&event.value)).ok()
}

/// What an answer says to someone who asked for this. `row` is there once it includes it.
fn decision(asked: &Restock<'_>, json: &str, row: Option<ItemRow>) -> Option<Decision> {
    let answer: RestockResult<'_> = serde_json::from_str(json).ok()?;
    if answer.quantity.get() != asked.quantity.to_string() {
        let (id, item) = (&answer.restock_id, &answer.item_id);
        let detail = format!("restock {id:?} of item {item:?} was of {} units", answer.quantity);
        let members = intake::ids(&[("restockId", id), ("itemId", item)]);
        let problem = Problem::new(ProblemKind::AnotherBody, detail);
        return Some(Decision::Refused(Problem { members, ..problem }));
    }
    let Some(reason) = answer.reason else {
        let item = row?.json;
        return Some(Decision::Granted(format!(r#"{{"restock":{json},"item":{item}}}"#)));
    };
    let ids =
        [("reason", reason.code()), ("restockId", &answer.restock_id), ("itemId", &answer.item_id)];
    let numbers = format!(r#","quantity":{},"supplied":{}"#, answer.quantity, answer.supplied);
    let members = intake::ids(&ids) + &numbers;
    let detail = format!("nothing was added to item {:?}", answer.item_id);
    Some(Decision::Refused(Problem { members, ..Problem::new(reason.into(), detail) }))
}

#[cfg(test)]
mod tests {
    use bps_service::feed::Place;

    use super::*;

    const ANSWER: &str = r#"{"restockId":"r","itemId":"i","quantity":2,"status":"SUCCESS","reason":null,"supplied":5}"#;

    fn told(quantity: &str, answer: &str, row: Option<&str>) -> Option<Decision> {
        let event = format!(r#"{{"restockId":"r","itemId":"i","quantity":{quantity}}}"#);
        let restock = Restock::read(Some(event.as_bytes())).expect("readable");
        let place = Place { partition: 0, offset: 0 };
        let row = row.map(|json| ItemRow { place, sequence: 1, json: json.to_owned() });
        decision(&restock, answer, row)
    }

    #[test]
    fn an_answer_comes_with_the_row_that_includes_it() {
        assert_eq!(told("2", ANSWER, None), None);
        let expected = format!(r#"{{"restock":{ANSWER},"item":{{"a":1}}}}"#);
        assert_eq!(told("2", ANSWER, Some("{\"a\":1}")), Some(Decision::Granted(expected)));
    }

    #[test]
    fn a_refusal_needs_no_row() {
        let refused = ANSWER.replace("SUCCESS", "FAILED").replace("null", "\"OVERFLOW\"");
        let Some(Decision::Refused(problem)) = told("2", &refused, None) else {
            panic!("not refused");
        };
        assert_eq!((problem.kind, problem.status()), (ProblemKind::Overflow, 409));
        assert!(problem.members.ends_with(r#""quantity":2,"supplied":5"#), "{problem:?}");
    }

    #[test]
    fn another_quantity_under_the_same_id_is_another_request() {
        let Some(Decision::Refused(problem)) = told("3", ANSWER, None) else {
            panic!("not refused");
        };
        assert_eq!(problem.kind, ProblemKind::AnotherBody);
    }
}
