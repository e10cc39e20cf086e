//! The table of stock, read before the walk; and what is left to say at its end.

use crate::Result;
use bps_streams::broker::{Isolation, OffsetSpec};

use crate::fold::Fold;
use crate::holes;
use crate::item::StockRow;
use crate::order::{self, Order};
use crate::outputs::{StockRecord, hash, read};
use crate::report::{Place, Report, Rule};
use crate::walk::Walk;

/// How often the end of the table is asked again.
const ROUNDS_MAX: u32 = 10;

impl Walk<'_> {
    /// Reads the rows; the last one of each item stays. On a live system a row that is read late
    /// may have been compacted away, for one behind the end that was asked: so it is read on to
    /// the end of now, until that stays where it is.
    pub(crate) fn read_stock(&mut self) -> Result<()> {
        let mut order = Order::new(self.fold.env.inputs.len());
        let stock = self.fold.env.stock_slot();
        for _ in 0..ROUNDS_MAX {
            self.read_rows(stock, &mut order)?;
            let at = std::slice::from_ref(&self.snapshot.spans[stock].at);
            let end = OffsetSpec::End(Isolation::ReadCommitted);
            let end = self.fold.env.broker.offsets(at, end)?.into_iter().next().unwrap_or(0);
            self.fold.stock_is_whole = !self.reader.extend(stock, end);
            if self.fold.stock_is_whole {
                break;
            }
        }
        Ok(())
    }

    fn read_rows(&mut self, slot: usize, order: &mut Order) -> Result<()> {
        let inputs = self.fold.env.inputs.len();
        self.reader.fill(slot)?;
        while let Some(record) = self.reader.head(slot) {
            let at = Place::of(&record);
            let mut report = Report::default();
            let stamp = order::stamp(&record);
            match &stamp {
                None => report.find(Rule::C5, at, "a row of the processor's", "a stranger's"),
                Some(stamp) => {
                    // Rows of a live system may be ahead of what else is read.
                    let is_bound = self.fold.env.at_rest;
                    order.check(stamp, at, &self.snapshot.spans[..inputs], is_bound, &mut report);
                }
            }
            if self.fold.pass.is_first() {
                self.fold.report.merge(report);
            }
            let stamp = stamp.unwrap_or_default();
            self.fold.row(&record, stamp.sequence, order::total(&stamp));
            self.reader.advance(slot)?;
        }
        Ok(())
    }

    /// What comes behind the last decision, and what never came.
    pub(crate) fn finish(mut self) -> Result<Report> {
        let mut lag = vec![(0_u64, 0_u64); self.fold.env.inputs.len()];
        let at_rest = self.fold.env.at_rest;
        for (input, (first, count)) in lag.iter_mut().enumerate() {
            let committed = self.snapshot.committed[input].as_ref().map_or(0, |c| c.offset);
            while let Some(record) = self.reader.head(input) {
                if record.offset >= committed {
                    *first = if *count == 0 { record.offset } else { *first };
                    *count += 1;
                }
                let is_settled = at_rest || record.offset < self.snapshot.horizon[input];
                self.fold.without_answer(input, &record, self.diverted, is_settled);
                self.reader.advance(input)?;
            }
        }
        let mut late: Vec<_> = self.fold.pending.drain().collect();
        late.sort_by_key(|(key, _)| *key);
        for (key, pending) in late {
            self.fold.unanswered(key, &pending.decoded);
        }
        self.fold.settle_rows();
        if self.fold.pass.is_first() {
            holes::check(self.fold.env, self.fold.partition, &self.reader, &mut self.fold.report);
            self.check_group(&lag);
            for (input, (first, count)) in lag.into_iter().enumerate() {
                if at_rest && count > 0 {
                    let at = self.fold.input(input, first);
                    let found = format!("{count} records that it has not reached");
                    self.fold.report.find(Rule::C7, at, "the group at the end", found);
                }
            }
        }
        if self.fold.pass.is_last() {
            let (env, partition) = (self.fold.env, self.fold.partition);
            for record_of in self.diverted.unseen() {
                let (at, offset) = record_of.place(env);
                let place = Place::new(&at.topic, at.partition, offset);
                let expected = format!("a record at {}", record_of.source(env, partition));
                self.fold.report.find(Rule::C1, place, expected, "none");
            }
        }
        Ok(self.fold.report)
    }

    /// The group's offsets stand where the decisions do. One that is gone hides nothing where
    /// nothing is left to be read (`lag`: from where, and how many): the processor commits it anew
    /// when it starts.
    fn check_group(&mut self, lag: &[(u64, u64)]) {
        for (input, committed) in self.snapshot.committed.iter().enumerate() {
            if committed.is_none() && lag[input].1 == 0 {
                continue;
            }
            let (passed, end) = (self.fold.passed[input], self.snapshot.spans[input].end);
            let offset = committed.as_ref().map_or(0, |c| c.offset);
            let at = self.fold.input(input, offset);
            let report = &mut self.fold.report;
            if offset < passed {
                let expected = format!("the group at {passed} or later, as decisions are");
                let found =
                    committed.as_ref().map_or("no offset".to_owned(), |_| format!("{offset}"));
                report.find(Rule::C7, at, expected, found);
            } else if self.fold.env.at_rest && offset > end {
                let expected = format!("the group at {end}, the end of the input, or before");
                report.find(Rule::C7, at, expected, offset);
            }
        }
    }
}

impl Fold<'_> {
    /// Takes a row of the table.
    fn row(&mut self, record: &bps_streams::Record<'_>, sequence: u64, total: u128) {
        let at = Place::of(record);
        let row: StockRecord<'_> = match read(record.value) {
            Ok(row) => row,
            Err(_) if !self.pass.is_first() => return,
            Err(cause) => return self.report.find(Rule::C5, at, "a readable row", cause),
        };
        if !self.has(&row.item_id) {
            return;
        }
        if record.key != Some(row.item_id.as_bytes()) || !self.lies_right(&row.item_id) {
            let expected = format!("the row of item {:?} under its key, here", row.item_id);
            self.report.find(Rule::C5, at, expected, "another key or partition");
        }
        if row.supplied.checked_sub(row.booked) != Some(row.remaining) {
            let expected = format!("remaining {} - {}", row.supplied, row.booked);
            self.report.find(Rule::C5, at, expected, row.remaining);
        }
        let description = if row.description.is_empty() { 0 } else { hash(&*row.description) };
        let found = StockRow {
            offset: record.offset,
            sequence,
            supplied: row.supplied,
            booked: row.booked,
            updated_at: row.updated_at,
            description,
            total,
            met: false,
        };
        let item = self.items.entry((&*row.item_id).into()).or_default();
        if let Some(former) = item.row.as_ref().filter(|former| former.sequence >= sequence) {
            let expected = format!("a sequence above {}", former.sequence);
            self.report.find(Rule::C4, at, expected, sequence);
        }
        item.row = Some(found);
    }

    /// Each item's last row is its last state, as far as that must be known.
    fn settle_rows(&mut self) {
        let (at_rest, stock) = (self.env.at_rest, self.stock());
        let decided: u128 = self.passed.iter().map(|p| u128::from(*p)).sum();
        for (name, item) in &self.items {
            self.report.counts.items += u64::from(item.sequence > 0);
            let least = match (at_rest, self.stock_is_whole) {
                (true, _) => item.sequence,
                (false, true) => item.required,
                (false, false) => 0,
            };
            let is_ahead =
                |row: &StockRow| row.sequence > item.sequence && (at_rest || row.total <= decided);
            match &item.row {
                None if least > 0 => {
                    let (stream, offset) = item.changed;
                    let topic = self.env.outputs[stream];
                    let at = Place::new(topic, self.partition, offset);
                    let expected = format!("a row of item {name:?} in the table, change {least}");
                    self.report.find(Rule::C5, at, expected, "none");
                }
                Some(row) if row.sequence < least || is_ahead(row) => {
                    let at = Place { offset: row.offset, ..stock };
                    let expected = format!("change {} of item {name:?}", item.sequence);
                    self.report.find(Rule::C5, at, expected, format!("change {}", row.sequence));
                }
                Some(row) if !row.met && row.sequence <= item.sequence => {
                    let at = Place { offset: row.offset, ..stock };
                    let expected = format!("a change of item {name:?} that was decided");
                    self.report.find(Rule::C5, at, expected, format!("change {}", row.sequence));
                }
                _ => {}
            }
        }
    }
}
