//! What is done with a command of any kind: is it known already? Look up its item, ask its rule, keep
//! the new row, answer, count.

use bps_events::Reason;
use bps_streams::{
    Context, Error, LedgerId, Message, ProcessResult, Processor, SinkId, StoreId, Wiring,
};

use super::{Command, Decided, Outcome, Request, StreamId};
use crate::memory::Remembered;
use crate::row::ItemRow;
use crate::stock::Stock;
use crate::topology::STOCK;

/// Decides one command after another. It remembers nothing itself: its fields are buffers, and where
/// things are.
pub(crate) struct Decider {
    stock: StoreId,
    /// By number of the stream: the memory, and where answers go; of those that some kind comes from.
    streams: [Option<(LedgerId, SinkId)>; StreamId::COUNT],
    /// How long decided commands are remembered (ms); `None`: for ever.
    window_ms: Option<i64>,
    value: Vec<u8>,
    row: Vec<u8>,
    description: String,
}

impl Processor for Decider {
    type Input<'a> = Request<'a>;

    fn process(&mut self, request: Request<'_>, context: &mut Context<'_>) -> ProcessResult {
        Ok(request.command.decide(self, request.at, context)?)
    }
}

/// An item's row as it was before the command.
struct Before {
    stock: Option<Stock>,
    sequence: u64,
}

impl Decider {
    pub(crate) fn new(wiring: &Wiring<'_>, window_ms: Option<i64>) -> Self {
        let mut streams = [None; StreamId::COUNT];
        for stream in StreamId::used() {
            let parts = stream.parts();
            let handles = (wiring.ledger(parts.memory), wiring.sink(parts.answers));
            streams[stream as usize] = Some(handles);
        }
        Self {
            stock: wiring.store(STOCK),
            streams,
            window_ms,
            value: Vec::new(),
            row: Vec::new(),
            description: String::new(),
        }
    }

    pub(super) fn decide<'a, C: Command<'a>>(
        &mut self,
        stream: StreamId,
        command: &C,
        at: i64,
        context: &mut Context<'_>,
    ) -> Result<(), Error> {
        let (Some((memory, answers)), Some(origin)) =
            (self.streams[stream as usize], context.origin())
        else {
            return Err(context.broken("there is no record to decide"));
        };
        let id = command.id(origin);
        let remembered = command.memory(&id);
        if let Some(outcome) = self.resend(memory, &remembered, context)? {
            context.count(C::counter(outcome));
            return Ok(());
        }
        let item = command.item_id();
        let Before { stock: before, sequence } = self.look_up(item, context)?;
        let decision = match self.is_too_old(at, context) {
            true => Err(Reason::TooOld),
            false => command.decide(before),
        };
        context.count(C::counter(Outcome::Decided(decision.err())));
        if !command.description().is_empty() {
            self.description.clear();
            self.description.push_str(command.description());
        }
        let sequence = self.keep(item, decision, sequence, at, context)?;
        self.value.clear();
        command.answer(&id, &Decided { before, decision, at }, &mut self.value);
        let message = Message::new(id.as_bytes(), &self.value);
        context.send(answers, message.sequence(sequence).memo(remembered.memo()))
    }

    /// Where the command was decided before: nothing is emitted then.
    fn resend(
        &self,
        memory: LedgerId,
        remembered: &Remembered,
        context: &mut Context<'_>,
    ) -> Result<Option<Outcome>, Error> {
        let oldest = self.window_ms.map(|w| context.stream_time().saturating_sub(w));
        let Some(row) = context.get(memory, remembered.key())? else {
            return Ok(None);
        };
        if oldest.is_some_and(|oldest| row.timestamp < oldest) {
            return Ok(None);
        }
        Ok(Some(match row.value == remembered.content() {
            true => Outcome::Resend,
            false => Outcome::ConflictingResend,
        }))
    }

    /// Whether it is older than the memory reaches, so that it cannot be told from a resend.
    fn is_too_old(&self, at: i64, context: &Context<'_>) -> bool {
        let oldest = |window| context.stream_time().saturating_sub(window);
        self.window_ms.is_some_and(|window| at < oldest(window))
    }

    fn look_up(&mut self, item: &str, context: &mut Context<'_>) -> Result<Before, Error> {
        self.description.clear();
        let Some(row) = context.get(self.stock, item.as_bytes())? else {
            return Ok(Before { stock: None, sequence: 0 });
        };
        let sequence = row.sequence;
        let Some(row) = ItemRow::decode(row.value) else {
            return Err(context.broken(format!("the stock row of item {item:?} is damaged")));
        };
        self.description.push_str(row.description);
        Ok(Before { stock: Some(row.stock), sequence })
    }

    /// Stores the stock, if it is a new one; returns the row's sequence.
    fn keep(
        &mut self,
        item: &str,
        decision: Result<Option<Stock>, Reason>,
        before: u64,
        at: i64,
        context: &mut Context<'_>,
    ) -> Result<u64, Error> {
        let Ok(Some(stock)) = decision else {
            return Ok(before);
        };
        let row = ItemRow { stock, updated_at: at, description: &self.description };
        row.encode(&mut self.row);
        context.put(self.stock, item.as_bytes(), &self.row)
    }
}
