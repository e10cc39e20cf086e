//! What must have been told of reminders, by the order of the log alone.

use std::collections::BTreeMap;

use bps_streams::broker::Broker;
use bps_streams::{Clocks, Due, STAMP, Stamp};

use super::{Reminder, TICKS, TOLD, WANTED, shown, text};
use crate::reading::each_committed;

/// What must have been told of a partition, step by step.
pub(super) struct Model {
    /// The reminders that there are.
    pub(super) rows: BTreeMap<String, Reminder>,
    clocks: Clocks,
    /// The inputs: offset, time, key, reminder; and which of them is next.
    inputs: Vec<(u64, u64, String, Option<Reminder>)>,
    next: usize,
    /// The ticks: offset, and what they say; and which of them is next.
    ticks: Vec<(u64, Clocks)>,
    next_tick: usize,
    /// Where the ticks stood when an input was decided, by its offset.
    pub(super) ticks_before: BTreeMap<u64, u64>,
}

impl Model {
    /// Follows what lies on the topics.
    pub(super) fn of(broker: &dyn Broker, partition: u32) -> Result<Model, String> {
        let mut inputs = Vec::new();
        each_committed(broker, WANTED, partition, |record| {
            let (key, value) = (text(record.key.unwrap_or_default()), record.value);
            let time = record.timestamp as u64;
            inputs.push((record.offset, time, key, value.and_then(Reminder::read)));
        });
        let mut model = Model {
            rows: BTreeMap::new(),
            clocks: Clocks::default(),
            inputs,
            next: 0,
            ticks: ticks(broker, partition)?,
            next_tick: 0,
            ticks_before: BTreeMap::new(),
        };
        let mut wrong = None;
        each_committed(broker, TOLD, partition, |record| {
            if wrong.is_some() {
                return;
            }
            let stamp = record.headers.get(STAMP).and_then(Stamp::decode).unwrap_or_default();
            let expected = model.step(&stamp);
            let (key, value) = (record.key.unwrap_or_default(), record.value.unwrap_or_default());
            let found = Some((text(key), text(value)));
            if (&found, stamp.clocks) != (&expected, model.clocks) {
                let at = format!("{TOLD}-{partition}@{}", record.offset);
                let clocks = model.clocks;
                wrong = Some(format!(
                    "{at}: wanted {expected:?} at {clocks:?}, found {found:?}, {stamp:?}"
                ));
            }
        });
        if let Some(wrong) = wrong {
            return Err(wrong);
        }
        if model.next < model.inputs.len() {
            let (count, told) = (model.inputs.len(), model.next);
            return Err(format!("partition {partition}: of {count} inputs {told} are told of"));
        }
        let last = model.tick_to(u64::MAX).or_else(|| model.fire_told());
        match last {
            Some(fired) => Err(format!("partition {partition}: {fired:?} was not told")),
            None => Ok(model),
        }
    }

    /// Key and text of what is told next, by someone whose record is stamped so.
    fn step(&mut self, stamp: &Stamp) -> Option<(String, String)> {
        if let Some(fired) = self.fire_told() {
            return Some(fired);
        }
        let reached = stamp.positions.get(1).copied().unwrap_or(0);
        if let Some(fired) = self.tick_to(reached) {
            return Some(fired);
        }
        let input = self.inputs.get(self.next).cloned();
        let behind = input.as_ref().map_or(0, |(_, time, ..)| *time);
        // The record itself has moved them by then.
        let is_behind = stamp.source.is_some() && stamp.clocks.due_ms < behind;
        if is_behind || !self.may_be_at(stamp.clocks, behind) {
            return None;
        }
        self.clocks = stamp.clocks;
        if let Some(fired) = self.fire_told() {
            return Some(fired);
        }
        let (offset, time, key, wanted) = input?;
        self.next += 1;
        self.ticks_before.insert(offset, reached);
        if stamp.source != Some((0, offset)) {
            return None;
        }
        let Some(mut wanted) = wanted else {
            self.rows.remove(&key);
            return Some((key, "taken back".to_owned()));
        };
        wanted.due = match wanted.due {
            Due::At(span) => Due::At(time + span),
            // Two seconds more, as the running clock may be so much behind.
            Due::Running(span) => Due::Running(self.clocks.running_ms + 2_000 + span),
        };
        self.rows.insert(key.clone(), wanted);
        Some((key, format!("set {}", wanted.write())))
    }

    /// Whether the clocks may have come here: by the next input, of this time, and by the next tick, in
    /// two steps. Either of them may have done so before the other one was decided.
    fn may_be_at(&self, clocks: Clocks, input: u64) -> bool {
        let none = self.clocks;
        let tick = self.ticks.get(self.next_tick).map_or(none, |(_, tick)| *tick);
        let by_time = Clocks { due_ms: none.due_ms.max(tick.due_ms), ..none };
        let by_both = Clocks { running_ms: none.running_ms.max(tick.running_ms), ..by_time };
        let by_input = |clocks: Clocks| Clocks { due_ms: clocks.due_ms.max(input), ..clocks };
        [none, by_time, by_both].into_iter().any(|by| [by, by_input(by)].contains(&clocks))
    }

    /// Takes the ticks below an offset, which let nothing fire that is told; else what.
    fn tick_to(&mut self, below: u64) -> Option<(String, String)> {
        while let Some((offset, tick)) = self.ticks.get(self.next_tick).copied()
            && offset < below
        {
            self.clocks.due_ms = self.clocks.due_ms.max(tick.due_ms);
            if let Some(fired) = self.fire_told() {
                return Some(fired);
            }
            self.clocks.running_ms = self.clocks.running_ms.max(tick.running_ms);
            if let Some(fired) = self.fire_told() {
                return Some(fired);
            }
            self.next_tick += 1;
        }
        None
    }

    /// Fires all whose time has come, up to the first that is told.
    fn fire_told(&mut self) -> Option<(String, String)> {
        while let Some((key, fired)) = self.fire() {
            if fired.every > 0 {
                return Some((key, format!("fired {}", shown(fired.due))));
            }
        }
        None
    }

    /// The next reminder whose time has come.
    fn fire(&mut self) -> Option<(String, Reminder)> {
        let clocks = self.clocks;
        let has_come = |due: &Due| match due {
            Due::At(at) => *at <= clocks.due_ms,
            Due::Running(running) => *running <= clocks.running_ms,
        };
        let rows = self.rows.iter().map(|(key, row)| (row.due, key.clone()));
        let (_, key) = rows.filter(|(due, _)| has_come(due)).min()?;
        let fired = self.rows.remove(&key)?;
        if let Some(next) = fired.next(clocks) {
            self.rows.insert(key.clone(), next);
        }
        Some((key, fired))
    }
}

/// The ticks of a partition. Who writes one has decided all before it, and adds the time since then, two
/// seconds at most.
fn ticks(broker: &dyn Broker, partition: u32) -> Result<Vec<(u64, Clocks)>, String> {
    let (mut ticks, mut running, mut wrong) = (Vec::new(), 0, None);
    each_committed(broker, TICKS, partition, |record| {
        let text = text(record.value.unwrap_or_default());
        let number = |name: &str| {
            let digits = text.split_once(name).map_or("", |(_, rest)| rest);
            let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
            digits[..end].parse().unwrap_or(0)
        };
        let clocks = Clocks { due_ms: number("\"time\":"), running_ms: number("\"running\":") };
        if clocks.running_ms < running || clocks.running_ms > running + 2_000 {
            wrong = Some(format!("{TICKS}-{partition}@{}: {text} after {running}", record.offset));
        }
        running = clocks.running_ms;
        ticks.push((record.offset, clocks));
    });
    wrong.map_or(Ok(ticks), Err)
}
