//! Records without a result: resends, dead letters, those that were sent on, and those that wait.

use bps_streams::Record;
use bps_streams::partitioner::partition_of;

use crate::decoded::{Decoded, origin};
use crate::diverted::{Diverted, DivertedRecords, What};
use crate::fold::{Fold, PENDING_MAX, Pending};
use crate::report::{Place, Rule};
use crate::stream::{MOVED, Stream};

impl Fold<'_> {
    /// Takes a record that led to no result so far. `is_settled`: it must have led to something.
    pub(crate) fn without_answer(
        &mut self,
        input: usize,
        record: &Record<'_>,
        diverted: &mut DivertedRecords,
        is_settled: bool,
    ) {
        let decoded = Decoded::read(input, record);
        let found = diverted.take(self.env, input, record.offset);
        let is_mine = decoded
            .as_ref()
            .map_or(self.pass.is_first(), |decoded| self.has(&decoded.request.item));
        if let Some(decoded) = decoded.as_ref().filter(|_| is_mine) {
            self.env.acknowledged.see(decoded);
        }
        if let Some((at, offset)) = found.second.filter(|_| is_mine) {
            let place = Place::new(&at.topic, at.partition, offset);
            let expected = format!("{} put away once", Place::of(record));
            self.report.find(Rule::C1, place, expected, "once more");
        }
        if let Some(record_of) = found.record_of {
            if is_mine {
                self.put_away(input, record, decoded.as_ref(), &record_of);
            }
            return;
        }
        let is_right =
            decoded.as_ref().is_some_and(|decoded| self.lies_right(&decoded.request.item));
        match decoded {
            _ if !is_settled => self.report.counts.undecided += u64::from(is_mine),
            Some(decoded) if is_right => {
                self.time = self.time.max(record.time());
                if is_mine {
                    self.passed_by((input, record.offset), decoded);
                }
            }
            decoded if is_mine => {
                let expected = match decoded {
                    Some(_) if input != MOVED => "a record that sends it on to its partition",
                    _ => "a dead letter",
                };
                self.report.find(Rule::C1, Place::of(record), expected, "nothing");
            }
            _ => {}
        }
    }

    /// A readable record in its place, passed without a result: a resend, or the result is late.
    fn passed_by(&mut self, key: (usize, u64), decoded: Decoded<'_>) {
        let since = self.since;
        if self.memories[decoded.request.kind.stream()].knows(decoded.fingerprint, since) {
            self.report.counts.resends += 1;
        } else if self.pending.len() < PENDING_MAX {
            self.pending.insert(key, Pending { decoded: decoded.into_owned() });
        } else {
            self.unanswered(key, &decoded);
        }
    }

    /// No result came.
    pub(crate) fn unanswered(&mut self, (input, offset): (usize, u64), decoded: &Decoded<'_>) {
        let Stream { answer, rule, .. } = &self.env.streams[decoded.request.kind.stream()];
        let behind = offset >= self.passed[input];
        // Behind all decisions only the group's offset says that it was decided.
        let rule = if behind && offset < self.horizon[input] { Rule::C7 } else { *rule };
        let expected =
            format!("one {answer} to {:?} of item {:?}", decoded.id, decoded.request.item);
        let at = self.horizon[input];
        let found = match (rule, behind) {
            (Rule::C7, _) => format!("none, and the group is at {at}"),
            (_, true) => format!("none: the group is at {at} and has not reached it"),
            _ => "none".to_owned(),
        };
        self.report.find(rule, self.input(input, offset), expected, found);
    }

    /// A record that was sent on or became a dead letter: rightly?
    fn put_away(
        &mut self,
        input: usize,
        record: &Record<'_>,
        decoded: Option<&Decoded<'_>>,
        record_of: &Diverted,
    ) {
        let item = decoded.map(|decoded| &*decoded.request.item);
        let home = item.map(|item| partition_of(item.as_bytes(), self.env.partitions));
        let is_right = home == Some(self.partition);
        let wanted = match record_of.what {
            What::Moved(to) => {
                self.report.counts.moved += 1;
                input != MOVED && !is_right && home == Some(to)
            }
            What::Unreadable => decoded.is_none() && origin(input, record).is_some(),
            What::Future(clock, _) => {
                let latest = clock.saturating_add(self.env.future_max_ms);
                decoded.is_some() && record.timestamp > latest
            }
            What::Misrouted => {
                input == MOVED
                    && match decoded {
                        Some(_) => !is_right,
                        None => origin(input, record).is_none(),
                    }
            }
        };
        if !matches!(record_of.what, What::Moved(_)) {
            self.report.counts.dead_letters += 1;
        }
        let (at, offset) = record_of.place(self.env);
        let place = Place::new(&at.topic, at.partition, offset);
        let source = Place::of(record);
        if !wanted {
            let expected = format!("{source} decided, or put away for what it is");
            self.report.find(Rule::C1, place, expected, format!("{:?}", record_of.what));
        } else if !record_of.repeats(record, item) {
            let expected = format!("{source} as it came");
            self.report.find(Rule::C1, place, expected, "another content, key or timestamp");
        } else if let What::Future(clock, allowed_ms) = record_of.what {
            self.is_of_its_time(place, clock, allowed_ms);
        }
    }

    /// A clock by which a record lies in the future is no further behind than clocks may differ:
    /// what was decided before was not in the future then.
    fn is_of_its_time(&mut self, letter: Place<'_>, clock: i64, allowed_ms: u32) {
        let ahead_ms = self.env.future_max_ms.max(allowed_ms.into());
        let earliest = self.since.saturating_sub(ahead_ms);
        if clock < earliest.saturating_sub(self.env.clock_skew_max_ms) {
            let expected = format!("a clock at {earliest} or later, as decisions before tell");
            self.report.find(Rule::C1, letter, expected, format!("one at {clock}"));
        }
    }
}
