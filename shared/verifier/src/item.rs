//! What is known of one item at one moment of the walk.

use crate::report::{Place, Report, Rule};

/// A row of the table of stock.
#[derive(Clone, Debug)]
pub(crate) struct StockRow {
    pub(crate) offset: u64,
    pub(crate) sequence: u64,
    pub(crate) supplied: u64,
    pub(crate) booked: u64,
    pub(crate) updated_at: i64,
    /// Hash of the text.
    pub(crate) description: u64,
    /// How many records had been decided when it was written.
    pub(crate) total: u128,
    /// Whether the walk came to its sequence.
    pub(crate) met: bool,
}

/// An item: about 200 bytes, and its id.
#[derive(Clone, Debug, Default)]
pub(crate) struct Item {
    /// Units supplied and booked, as last recorded. A difference is told once and then taken
    /// over, so that one wrong record is one finding.
    pub(crate) supplied: u64,
    pub(crate) booked: u64,
    /// The same, only ever summed up from restocks and grants.
    pub(crate) added: u128,
    pub(crate) granted: u128,
    /// How often the row has changed.
    pub(crate) sequence: u64,
    /// The last sequence that the table of stock must know.
    pub(crate) required: u64,
    pub(crate) updated_at: i64,
    pub(crate) description: u64,
    /// Stream and offset of the last answer that changed it.
    pub(crate) changed: (usize, u64),
    /// The last row of the table.
    pub(crate) row: Option<StockRow>,
}

impl Item {
    /// Grants units; more than were ever added is the worst that can be found.
    pub(crate) fn grant(&mut self, units: u64, at: Place<'_>, report: &mut Report) {
        self.granted += u128::from(units);
        if self.granted > self.added {
            let expected = format!("at most {} units granted, as many as were added", self.added);
            report.find(Rule::C3, at, expected, format!("{} granted: oversold", self.granted));
        }
    }

    /// Compares with the row of the table, when this is the state that it speaks of.
    pub(crate) fn meet(&mut self, stock: Place<'_>, report: &mut Report) {
        let Some(row) = self.row.as_mut().filter(|r| r.sequence == self.sequence && !r.met) else {
            return;
        };
        row.met = true;
        let at = Place { offset: row.offset, ..stock };
        for (name, found, expected) in
            [("supplied", row.supplied, self.supplied), ("booked", row.booked, self.booked)]
        {
            if found != expected {
                report.find(Rule::C5, at, format!("{name} {expected}"), found);
            }
        }
        if row.updated_at != self.updated_at {
            report.find(Rule::C5, at, format!("updatedAt {}", self.updated_at), row.updated_at);
        }
        if row.description != self.description {
            report.find(Rule::C5, at, "the description of the last restock with one", "another");
        }
    }
}
