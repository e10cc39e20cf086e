//! Walks through one partition in the order of decisions: what each stamp says was read before is
//! read here too, then its result is checked.

use bps_streams::{Record, Stamp};

use crate::decide::Decided;
use crate::decoded::Decoded;
use crate::diverted::DivertedRecords;
use crate::fold::{Fold, Pass};
use crate::kind::PurchaseResult;
use crate::order::{self, Order};
use crate::outputs::{fingerprint, read};
use crate::partition_reader::{Meter, PartitionReader};
use crate::report::{Place, Report, Rule};
use crate::snapshot::PartitionSnapshot;
use crate::stream::{MOVED, PURCHASES, stream_of};
use crate::{Env, Result};

/// A partition number of all topics, in one pass.
pub(crate) struct Walk<'e> {
    pub(crate) fold: Fold<'e>,
    pub(crate) reader: PartitionReader<'e>,
    pub(crate) snapshot: &'e PartitionSnapshot,
    pub(crate) diverted: &'e mut DivertedRecords,
    /// By stream: the stamps of its answers so far.
    orders: Vec<Order>,
    /// The stamp of the answer at the head.
    heads: Vec<Option<Stamp>>,
    /// Whether the processor has written there before.
    began: Vec<bool>,
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
        let fold = Fold::new(env, partition, pass, &snapshot.horizon);
        let (inputs, outputs) = (env.inputs.len(), env.outputs.len());
        let orders = vec![Order::new(inputs); outputs];
        let (heads, began) = (vec![None; outputs], vec![false; outputs]);
        Ok(Self { fold, reader, snapshot, diverted, orders, heads, began })
    }

    /// Walks to the end.
    pub(crate) fn run(mut self) -> Result<Report> {
        self.read_stock()?;
        (0..self.fold.env.inputs.len()).try_for_each(|input| self.reader.fill(input))?;
        (0..self.heads.len()).try_for_each(|output| self.next_stamp(output))?;
        while let Some(output) = self.next_output() {
            self.step(output)?;
            self.reader.advance(self.fold.env.output_slot(output))?;
            self.next_stamp(output)?;
        }
        self.finish()
    }

    /// Finds the next record of an output that has a stamp. What another program has left there
    /// lies before the first one of the processor.
    fn next_stamp(&mut self, output: usize) -> Result<()> {
        let slot = self.fold.env.output_slot(output);
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
                self.fold.stranger(output, &record, self.began[output]);
            }
            self.reader.advance(slot)?;
        }
    }

    /// The output whose record was decided first, until no decision is believed any more.
    fn next_output(&self) -> Option<usize> {
        let outputs = 0..self.heads.len();
        let is_believed = |output: usize| {
            let head = self.reader.head(self.fold.env.output_slot(output));
            head.is_some_and(|record| record.offset < self.snapshot.believed[output])
        };
        if !outputs.clone().any(is_believed) {
            return None;
        }
        let total = |output: usize| Some((order::total(self.heads[output].as_ref()?), output));
        outputs.filter_map(total).min().map(|(_, output)| output)
    }

    /// One decision.
    fn step(&mut self, output: usize) -> Result<()> {
        let Some(stamp) = self.heads[output].take() else {
            return Ok(());
        };
        if self.is_in_order(output, &stamp) {
            self.fold.since = self.fold.time;
            self.fold.passed.copy_from_slice(self.orders[output].positions());
            for input in 0..self.fold.passed.len() {
                let until = self.fold.passed[input];
                self.pass(input, until, stamp.source)?;
            }
        }
        self.settle(output, &stamp)
    }

    fn is_in_order(&mut self, output: usize, stamp: &Stamp) -> bool {
        let Self { fold, reader, orders, snapshot, .. } = self;
        let inputs = fold.env.inputs.len();
        let Some(record) = reader.head(fold.env.output_slot(output)) else {
            return false;
        };
        let at = Place::of(&record);
        let mut report = Report::default();
        let mut is_valid =
            orders[output].check(stamp, at, &snapshot.spans[..inputs], true, &mut report);
        let passed = &fold.passed;
        let positions = orders[output].positions().iter();
        if is_valid && positions.zip(passed).any(|(position, passed)| position < passed) {
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
            if self.fold.goes_first(input) {
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
        let inputs = fold.env.inputs.len();
        let Some(record) = reader.head(fold.env.output_slot(output)) else {
            return Ok(());
        };
        let source = stamp.source.map(|(input, offset)| (input as usize, offset));
        let source = source.filter(|(input, _)| *input < inputs);
        let (input, offset) = source.unwrap_or((inputs, 0));
        if let Some(wanted) = source.and_then(|_| reader.head(input)).filter(|r| r.offset == offset)
        {
            fold.fresh(input, &wanted, &record, (output, stamp), diverted);
            return reader.advance(input);
        }
        match fold.pending.remove(&(input, offset)) {
            Some(pending) => {
                let (decoded, record, is_late) = (&pending.decoded, &record, true);
                fold.decide(&Decided { decoded, input, record, output, stamp, is_late });
            }
            None => fold.phantom(output, &record, source),
        }
        Ok(())
    }
}

impl Fold<'_> {
    /// Whether the requests of an input go before those of others that wait.
    fn goes_first(&self, input: usize) -> bool {
        stream_of(input).is_some_and(|stream| self.env.streams[stream].goes_first)
    }

    /// An answer that the processor has not written.
    fn stranger(&mut self, output: usize, record: &Record<'_>, is_behind_ours: bool) {
        self.report.counts.foreign += 1;
        if is_behind_ours {
            let rule = self.env.streams[output].rule;
            self.report.find(rule, Place::of(record), "a row of the processor's", "a stranger's");
        }
    }

    /// A result, and the record at the head of its input that it answers.
    fn fresh(
        &mut self,
        input: usize,
        source: &Record<'_>,
        record: &Record<'_>,
        (output, stamp): (usize, &Stamp),
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
        self.decide(&Decided { decoded: &decoded, input, record, output, stamp, is_late: false });
    }

    /// What is decided now was not overtaken by what was decided before.
    fn in_turn(&mut self, input: usize, source: &Record<'_>, decoded: &Decoded<'_>, at: Place<'_>) {
        if !self.env.streams[decoded.request.kind.stream()].goes_first {
            self.overtaken.other(self.env, decoded, at);
        } else if input != MOVED {
            self.overtaken.pass(source);
            if self.lies_right(&decoded.request.item) {
                self.overtaken.restock(self.env, decoded, Place::of(source), &mut self.report);
            }
        }
    }

    /// A result that answers no record, or one that has a result already.
    fn phantom(&mut self, output: usize, record: &Record<'_>, source: Option<(usize, u64)>) {
        let value = read::<PurchaseResult<'_>>(record.value).ok().filter(|_| output == PURCHASES);
        let is_mine = match &value {
            Some(value) => self.has(&value.item_id),
            None => self.pass.is_first(),
        };
        if !is_mine {
            return;
        }
        let at = Place::of(record);
        let rule = self.env.streams[output].rule;
        let expected = match source {
            Some((input, offset)) => {
                format!("an unanswered record at {}", self.input(input, offset))
            }
            None => "a result that names its record".to_owned(),
        };
        let known = value.as_ref().is_some_and(|v| {
            self.memories[PURCHASES].knows(fingerprint(&v.item_id, &v.purchase_id), self.time)
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
