//! What the results must be. Written for the benchmark alone, and as plainly as can be: it shares
//! no code with the rule.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use bps_service::exit::AnyError;
use serde::Deserialize;
use system_tests::oracle::Event;

/// What must come of one purchase, in few bytes: there are millions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Answer {
    reason: &'static str,
    remaining: i64,
    seen: bool,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Expected {
    left: HashMap<String, i64>,
    answers: HashMap<u64, Answer>,
    /// Records to be read, of both kinds.
    pub(crate) records: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Seen<'a> {
    purchase_id: &'a str,
    item_id: &'a str,
    reason: Option<&'a str>,
    remaining: i64,
}

impl Expected {
    /// Decides the next event.
    pub(crate) fn decide(&mut self, e: &Event) {
        self.records += 1;
        if !e.is_purchase {
            *self.left.entry(e.item.clone()).or_default() += e.quantity;
            return;
        }
        let left = self.left.get_mut(&e.item);
        let (reason, remaining) = match left {
            left if e.quantity < 1 => ("INVALID_QUANTITY", left.map_or(0, |left| *left)),
            None => ("UNKNOWN_ITEM", 0),
            Some(left) if *left < e.quantity => ("INSUFFICIENT_STOCK", *left),
            Some(left) => {
                *left -= e.quantity;
                ("SUCCESS", *left)
            }
        };
        let answer = Answer { reason, remaining, seen: false };
        self.answers.entry(key(&e.item, &e.id)).or_insert(answer);
    }

    /// Purchases that want an answer.
    pub(crate) fn purchases(&self) -> u64 {
        self.answers.len() as u64
    }

    /// The items that were restocked, in an order that is always the same.
    pub(crate) fn items(&self) -> Vec<String> {
        let mut items: Vec<String> = self.left.keys().cloned().collect();
        items.sort();
        items
    }

    /// Begins to compare the results of a run.
    pub(crate) fn begin(&mut self) {
        self.answers.values_mut().for_each(|answer| answer.seen = false);
    }

    /// Takes one result.
    ///
    /// # Errors
    /// One that is not what it must be, or a second one.
    pub(crate) fn take(&mut self, value: &[u8]) -> Result<(), AnyError> {
        let wrong = |what: &str| format!("{what}: {}", String::from_utf8_lossy(value));
        let seen: Seen<'_> = serde_json::from_slice(value).map_err(|e| wrong(&e.to_string()))?;
        let expected = self.answers.get_mut(&key(seen.item_id, seen.purchase_id));
        let expected = expected.ok_or_else(|| wrong("a result of no purchase"))?;
        if std::mem::replace(&mut expected.seen, true) {
            return Err(wrong("a second result").into());
        }
        let found = (seen.reason.unwrap_or("SUCCESS"), seen.remaining);
        if found != (expected.reason, expected.remaining) {
            let must = format!("not {} with {} left", expected.reason, expected.remaining);
            return Err(wrong(&must).into());
        }
        Ok(())
    }

    /// # Errors
    /// When a purchase has no result.
    pub(crate) fn end(&self) -> Result<(), AnyError> {
        match self.answers.values().filter(|answer| !answer.seen).count() {
            0 => Ok(()),
            missing => Err(format!("{missing} purchases have no result").into()),
        }
    }
}

/// Two of twenty million are the same by chance once in ninety thousand workloads.
fn key(item: &str, id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (item, id).hash(&mut hasher);
    hasher.finish()
}
