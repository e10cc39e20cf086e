//! The order that stamps tell: along a partition, positions and incarnations never fall.

use bps_streams::{Record, STAMP, Stamp};

use crate::partition_reader::Span;
use crate::report::{Place, Report, Rule};

/// How far the stamps of one output partition are.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    incarnation: u64,
    positions: Vec<u64>,
}

/// What a record's stamp says; `None` where another program wrote it.
pub(crate) fn stamp(record: &Record<'_>) -> Option<Stamp> {
    Stamp::decode(record.headers.get(STAMP)?)
}

impl Order {
    /// Nothing written yet, of so many inputs.
    pub(crate) fn new(inputs: usize) -> Order {
        Order { incarnation: 0, positions: vec![0; inputs] }
    }

    /// The positions of the last stamp that can be relied upon.
    pub(crate) fn positions(&self) -> &[u64] {
        &self.positions
    }

    /// Checks a stamp against those before it, and (`is_bound`) against the ends of the inputs;
    /// whether its positions can be relied upon.
    pub(crate) fn check(
        &mut self,
        stamp: &Stamp,
        at: Place<'_>,
        inputs: &[Span],
        is_bound: bool,
        report: &mut Report,
    ) -> bool {
        if stamp.incarnation < self.incarnation {
            let (least, found) = (self.incarnation, stamp.incarnation);
            let expected = format!("incarnation {least} or a later one");
            report.find(Rule::C9, at, expected, format!("incarnation {found}"));
        }
        self.incarnation = self.incarnation.max(stamp.incarnation);
        let Some(positions) = positions(stamp, inputs.len()) else {
            let found = format!("{} positions", stamp.positions.len());
            report.find(Rule::C2, at, format!("positions of {} inputs", inputs.len()), found);
            return false;
        };
        if let Some((input, offset)) = stamp.source
            && stamp.positions.get(input as usize).copied() != offset.checked_add(1)
        {
            let expected = format!("positions right behind offset {offset} of input {input}");
            report.find(Rule::C2, at, expected, format!("positions {positions:?}"));
            return false;
        }
        if let Some(i) = (0..inputs.len()).find(|i| positions[*i] < self.positions[*i]) {
            let (topic, least) = (&inputs[i].at.topic, self.positions[i]);
            let expected = format!("a position of {topic} from {least} on");
            report.find(Rule::C2, at, expected, positions[i]);
            return false;
        }
        if let Some(i) = (0..inputs.len()).find(|i| is_bound && positions[*i] > inputs[*i].end) {
            let Span { at: input, end, .. } = &inputs[i];
            let expected = format!("a position within {input}, which ends at {end}");
            report.find(Rule::C2, at, expected, positions[i]);
            return false;
        }
        self.positions = positions;
        true
    }
}

/// Inputs that there were from the beginning.
const INPUTS_MIN: usize = 3;

/// The positions in so many inputs. A stamp from before one was added knows nothing of it: it was at its
/// beginning.
fn positions(stamp: &Stamp, inputs: usize) -> Option<Vec<u64>> {
    let mut positions = stamp.positions.clone();
    let is_known = (INPUTS_MIN..=inputs).contains(&positions.len());
    positions.resize(inputs, 0);
    is_known.then_some(positions)
}

/// How many records were decided before: it orders what stands in several topics.
pub(crate) fn total(stamp: &Stamp) -> u128 {
    stamp.positions.iter().map(|p| u128::from(*p)).sum()
}
