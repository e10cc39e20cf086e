//! Walks through one partition in the order of decisions: what each stamp says was read before is
//! read here too, then its result is checked.

use bps_streams::{Record, Stamp};

use crate::decide::Decided;
use crate::decoded::Decoded;
use crate::diverted::DivertedRecords;
use crate::fold::{Fold, Pass};
use crate::order::{self, Order};
use crate::outputs::{Outcome, fingerprint, read};
use crate::partition_reader::{Meter, PartitionReader};
use crate::report::{Place, Report, Rule};
use crate::request::RequestKind;
use crate::snapshot::{ANSWERS, LEDGER, PartitionSnapshot};
use crate::{Env, Result};

const OUTPUTS: [usize; 2] = [LEDGER, ANSWERS];

/// A partition number of all topics, in one pass.
pub(crate) struct Walk<'e> {
    pub(crate) fold: Fold<'e>,
    pub(crate) reader: PartitionReader<'e>,
    pub(crate) snapshot: &'e PartitionSnapshot,
    pub(crate) diverted: &'e mut DivertedRecords,
    orders: [Order; 2],
    /// Stamps of the records at the heads of ledger and answers.
    heads: [Option<Stamp>; 2],
    /// Whether the processor has written there before.
    began: [bool; 2],
}

impl<'e> Walk<'e> {
    pub(crate) fn open(
        env: &'e Env<'e>,
        snapshot: &'e PartitionSnapshot,
        partition: u32,
        pass: Pass,
        diverted: &'e mut DivertedRecords,
        meter: &'e Meter<'e>,
    ) -> Result<Self> {
        let reader = PartitionReader::open(env.broker, snapshot.spans.clone(), meter)?;
        let fold = Fold::new(env, partition, pass, snapshot.horizon);
        let (orders, heads, began) = (Default::default(), [None, None], [false; 2]);
        Ok(Self { fold, reader, snapshot, diverted, orders, heads, began })
    }

    /// Walks to the end.
    pub(crate) fn run(mut self) -> Result<Report> {
        self.read_stock()?;
        (0..3).try_for_each(|input| self.reader.fill(input))?;
        (0..2).try_for_each(|output| self.next_stamp(output))?;
        while let Some(output) = self.next_output() {
            self.step(output)?;
            self.reader.advance(OUTPUTS[output])?;
            self.next_stamp(output)?;
        }
        self.finish()
    }

    /// Finds the next record of an output that has a stamp. What another program has left there
    /// lies before the first one of the processor.
    fn next_stamp(&mut self, output: usize) -> Result<()> {
        let slot = OUTPUTS[output];
        self.reader.fill(slot)?;
        loop {
            let Some(record) = self.reader.head(slot) else {
                self.heads[output] = None;
                return Ok(());
            };
            self.heads[output] = order::stamp(&record);
            if self.heads[output].is_some() {
                self.began[output] = true;
                return Ok(());
            }
            if self.fold.pass.is_first() {
                self.fold.stranger(&record, self.began[output]);
            }
            self.reader.advance(slot)?;
        }
    }

    /// The output whose record was decided first, until no decision is believed any more.
    fn next_output(&self) -> Option<usize> {
        let total = |output: usize| self.heads[output].as_ref().map(order::total);
        let is_believed = |output: usize| {
            let head = self.reader.head(OUTPUTS[output]);
            head.is_some_and(|record| record.offset < self.snapshot.believed[output])
        };
        if !is_believed(0) && !is_believed(1) {
            return None;
        }
        match (total(0), total(1)) {
            (Some(ledger), Some(answers)) => Some(usize::from(answers < ledger)),
            (ledger, answers) => ledger.map(|_| 0).or(answers.map(|_| 1)),
        }
    }

    /// One decision.
    fn step(&mut self, output: usize) -> Result<()> {
        let Some(stamp) = self.heads[output].take() else {
            return Ok(());
        };
        if self.is_in_order(output, &stamp) {
            self.fold.since = self.fold.time;
            let until = order::positions(&stamp).unwrap_or(self.fold.passed);
            self.fold.passed = until;
            for (input, until) in until.into_iter().enumerate() {
                self.pass(input, until, stamp.source)?;
            }
        }
        self.settle(output, &stamp)
    }

    fn is_in_order(&mut self, output: usize, stamp: &Stamp) -> bool {
        let Self { fold, reader, orders, snapshot, .. } = self;
        let Some(record) = reader.head(OUTPUTS[output]) else {
            return false;
        };
        let at = Place::of(&record);
        let mut report = Report::default();
        let mut is_valid = orders[output].check(stamp, at, &snapshot.spans[..3], true, &mut report);
        let passed = fold.passed;
        let back = |positions: [u64; 3]| (0..3).any(|i| positions[i] < passed[i]);
        if is_valid && order::positions(stamp).is_some_and(back) {
            let expected = format!("positions from {passed:?} on, as decisions before have");
            report.find(Rule::C2, at, expected, format!("{:?}", stamp.positions));
            is_valid = false;
        }
        if fold.pass.is_first() {
            fold.report.merge(report);
        }
        is_valid
    }

    /// Takes the records of an input below `until`, except the one that is decided now.
    fn pass(&mut self, input: usize, until: u64, source: Option<(u32, u64)>) -> Result<()> {
        while let Some(record) = self.reader.head(input).filter(|r| r.offset < until) {
            if source == Some((input as u32, record.offset)) {
                break;
            }
            if input == 0 {
                self.fold.overtaken.pass(&record);
            }
            self.fold.without_answer(input, &record, self.diverted, true);
            self.reader.advance(input)?;
        }
        Ok(())
    }

    /// Finds what a result answers, and checks it.
    fn settle(&mut self, output: usize, stamp: &Stamp) -> Result<()> {
        let Self { fold, reader, diverted, .. } = self;
        let slot = OUTPUTS[output];
        let Some(record) = reader.head(slot) else {
            return Ok(());
        };
        let source = stamp.source.map(|(input, offset)| (input as usize, offset));
        let source = source.filter(|(input, _)| *input < 3);
        let (input, offset) = source.unwrap_or((3, 0));
        if let Some(wanted) = source.and_then(|_| reader.head(input)).filter(|r| r.offset == offset)
        {
            fold.fresh(input, &wanted, &record, (slot, stamp), diverted);
            return reader.advance(input);
        }
        match fold.pending.remove(&(input, offset)) {
            Some(pending) => {
                let (decoded, record, is_late) = (&pending.decoded, &record, true);
                fold.decide(&Decided { decoded, input, record, slot, stamp, is_late });
            }
            None => fold.phantom(&record, source),
        }
        Ok(())
    }
}

impl Fold<'_> {
    /// A row of ledger or answers that the processor has not written.
    fn stranger(&mut self, record: &Record<'_>, is_behind_ours: bool) {
        self.report.counts.foreign += 1;
        if is_behind_ours {
            let is_ledger = record.topic == self.env.topics.purchase_finished;
            let rule = if is_ledger { Rule::C1 } else { Rule::C4 };
            self.report.find(rule, Place::of(record), "a row of the processor's", "a stranger's");
        }
    }

    /// A result, and the record at the head of its input that it answers.
    fn fresh(
        &mut self,
        input: usize,
        source: &Record<'_>,
        record: &Record<'_>,
        (slot, stamp): (usize, &Stamp),
        diverted: &mut DivertedRecords,
    ) {
        let at = Place::of(record);
        let found = diverted.take(self.env, input, source.offset);
        let Some(decoded) = Decoded::read(input, source) else {
            if self.pass.is_first() {
                let expected = format!("no result, since {} is unreadable", Place::of(source));
                self.report.find(Rule::C1, at, expected, "one");
            }
            return;
        };
        if self.has(&decoded.request.item)
            && let Some(record_of) = found.record_of
        {
            let expected = format!("no result, since {} was put away", Place::of(source));
            self.report.find(Rule::C1, at, expected, format!("one, and {:?}", record_of.what));
        }
        self.time = self.time.max(source.time());
        if self.pass.is_first() {
            self.in_turn(input, source, &decoded, at);
        }
        self.decide(&Decided { decoded: &decoded, input, record, slot, stamp, is_late: false });
    }

    /// What is decided now was not overtaken by what was decided before.
    fn in_turn(&mut self, input: usize, source: &Record<'_>, decoded: &Decoded<'_>, at: Place<'_>) {
        if decoded.request.kind == RequestKind::Purchase {
            self.overtaken.purchase(self.env, decoded, at.offset);
        } else if input == 0 {
            self.overtaken.pass(source);
            if self.lies_right(&decoded.request.item) {
                self.overtaken.restock(self.env, decoded, Place::of(source), &mut self.report);
            }
        }
    }

    /// A result that answers no record, or one that has a result already.
    fn phantom(&mut self, record: &Record<'_>, source: Option<(usize, u64)>) {
        let value = read::<Outcome<'_>>(record.value).ok();
        let is_mine = match &value {
            Some(value) => self.has(&value.item_id),
            None => self.pass.is_first(),
        };
        if !is_mine {
            return;
        }
        let at = Place::of(record);
        let rule =
            if record.topic == self.env.topics.purchase_finished { Rule::C1 } else { Rule::C4 };
        let expected = match source {
            Some((input, offset)) => {
                format!("an unanswered record at {}", self.input(input, offset))
            }
            None => "a result that names its record".to_owned(),
        };
        let known = value.as_ref().is_some_and(|v| {
            self.purchases.knows(fingerprint(&v.item_id, &v.purchase_id), self.time)
        });
        let found = if known { "a second result of the purchase" } else { "no such record" };
        self.report.find(rule, at, expected, found);
        let Some(value) = value.filter(|v| v.reason.is_none()) else {
            return;
        };
        if let (Some(item), Ok(units)) =
            (self.items.get_mut(&*value.item_id), value.quantity.get().parse())
        {
            item.grant(units, at, &mut self.report);
        }
    }
}
