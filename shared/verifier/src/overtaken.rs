//! Whether a purchase was decided before a restock that had to go first: one that lay in its topic
//! before the purchase was sent, and is not stamped later by more than the allowed skew.
//!
//! That it lay there by then, topics alone cannot tell: a restock may come late. It is proven by
//!
//! - the times of whoever sent both: the restock had been acknowledged before the purchase was sent
//! - the stamps of both, where the operator vouches that they tell when a record came
//!
//! What merely looks like it is counted. A processor looks through a bounded part of the restocks
//! that wait; one that lay further behind is not judged.

use bps_streams::Record;

use crate::Env;
use crate::decoded::Decoded;
use crate::report::{Place, Report, Rule};

/// Purchases that are kept to be compared: one that was sent and stamped earlier than a later one
/// proves no more than that one.
const KEPT_MAX: usize = 64;
/// What a record takes in a processor's queue besides its parts, at most (bytes).
const RECORD_BYTES: usize = 64;

/// A purchase that was decided.
struct Bought {
    /// Its timestamp.
    at: i64,
    /// When it was sent at the earliest.
    sent_at: i64,
    /// Bytes of the restocks before it.
    bytes: u64,
    /// Stream and offset of its result.
    result: (usize, u64),
}

/// What was decided in a partition, as far as it matters to the restocks that come.
#[derive(Default)]
pub(crate) struct Overtaken {
    /// Bytes of the restocks so far, at most.
    bytes: u64,
    /// In the order of decisions.
    bought: Vec<Bought>,
    /// The largest timestamp of a purchase that was decided.
    latest: Option<i64>,
}

impl Overtaken {
    /// A record of the restocks was passed.
    pub(crate) fn pass(&mut self, restock: &Record<'_>) {
        let part = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        let headers = restock.headers.iter().map(|(name, value)| name.len() + part(value) + 6);
        let parts = part(restock.key) + part(restock.value) + headers.sum::<usize>();
        self.bytes += (RECORD_BYTES + parts) as u64;
    }

    /// What goes first nowhere was decided, with its result there.
    pub(crate) fn other(&mut self, env: &Env<'_>, decoded: &Decoded<'_>, result: Place<'_>) {
        let result = (decoded.request.kind.stream(), result.offset);
        let (at, sent_at, bytes) = (decoded.at, env.acknowledged.sent_at(decoded), self.bytes);
        let proves_more = |b: &Bought| b.at > at || b.sent_at > sent_at;
        let is_near = |b: &Bought| bytes - b.bytes <= env.look_ahead_bytes;
        self.bought.retain(|b| proves_more(b) && is_near(b));
        if self.bought.len() == KEPT_MAX {
            self.bought.remove(0);
        }
        self.bought.push(Bought { at, sent_at, bytes, result });
        self.latest = self.latest.max(Some(at));
    }

    /// The restock that was passed last was decided.
    pub(crate) fn restock(
        &self,
        env: &Env<'_>,
        decoded: &Decoded<'_>,
        place: Place<'_>,
        report: &mut Report,
    ) {
        let there_at = env.acknowledged.there_at(decoded);
        let is_near = |b: &&Bought| self.bytes - b.bytes <= env.look_ahead_bytes;
        let why = |b: &Bought| {
            let earliest = decoded.at.saturating_sub(env.clock_skew_max_ms);
            let apart = b.at.saturating_sub(decoded.at);
            if b.sent_at > there_at && b.at >= earliest {
                Some("it was sent after the restock had been acknowledged".to_owned())
            } else if env.stamps_within_ms.is_some_and(|ms| apart > ms.saturating_mul(2)) {
                Some(format!("it is stamped {apart} ms later"))
            } else {
                None
            }
        };
        let overtaken = self.bought.iter().rev().filter(is_near).find_map(|b| Some((b, why(b)?)));
        let Some((bought, why)) = overtaken else {
            report.counts.late += u64::from(self.latest > Some(decoded.at));
            return;
        };
        let (stream, offset) = bought.result;
        let at = Place::new(env.outputs[stream], place.partition, offset);
        let expected = format!("a decision behind that of the restock at {place}, as {why}");
        report.find(Rule::C2, at, expected, "one before it");
    }
}
