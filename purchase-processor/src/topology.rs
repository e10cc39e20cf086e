//! Where the rules and the engine meet.

use bps_streams::{Ledger, Node, Sink, Source, Store, Topology, TopologyError};

use crate::Settings;
use crate::command::{Decider, Request, StreamId};
use crate::memory::from_memo;
use crate::row::{from_topic, to_topic};

/// The store of items.
pub(crate) const STOCK: &str = "stock";
const BOOKING: &str = "booking";

/// The purchase processor's topology.
///
/// # Errors
/// When topic names collide.
pub fn topology(settings: &Settings) -> Result<Topology, TopologyError> {
    let t = &settings.topics;
    let window_ms = settings.memory_window.map(|w| w.as_millis() as i64);
    let mut topology = Topology::named(&settings.application)
        .store(Store::new(STOCK, &t.stock).written_as(to_topic, from_topic));
    let mut streams: Vec<_> = StreamId::used().map(StreamId::parts).collect();
    streams.sort_by_key(|parts| parts.made);
    for parts in streams {
        let topic = (parts.output)(t);
        let memory = Ledger::new(parts.memory, topic, |_, memo| from_memo(memo));
        topology = topology
            .ledger(memory.tells_of(STOCK, parts.item_of_answer))
            .sink(Sink::new(parts.answers, topic));
    }
    let mut booking = Node::new(BOOKING, move |wiring| Decider::new(wiring, window_ms));
    for stream in StreamId::used() {
        let parts = stream.parts();
        let mut source = Source::new(parts.source, (parts.input)(t), Request::reader(stream));
        source = source.future_max(settings.future_max);
        if parts.has_head_start {
            source = source.head_start(settings.clock_skew_max);
        }
        if let Some(number) = parts.number {
            source = source.number(number);
        }
        booking = booking.reads(source);
    }
    topology.processor(booking).rekey(&t.rekeyed).dead_letters(&t.dead_letters).build()
}

#[cfg(test)]
mod tests {
    use bps_events::topics::{Kept, Program, Side};
    use bps_streams::{Headers, Record, TestDriver};

    use super::*;

    #[test]
    fn results_and_answers_tell_of_the_row_of_their_item() {
        let settings = Settings::default();
        let t = &settings.topics;
        let mut driver = TestDriver::new(topology(&settings).expect("well wired"));
        let restock = br#"{"restockId":"r","itemId":"an item","quantity":5}"#;
        let purchase = br#"{"purchaseId":"p","itemId":"an item","quantity":2}"#;
        driver.send(&t.items_added, b"an item", restock, 1).expect("decided");
        driver.send(&t.purchase_created, b"an item", purchase, 2).expect("decided");
        for parts in StreamId::used().map(StreamId::parts) {
            let topic = (parts.output)(t);
            let written = driver.read(topic);
            assert_eq!(written.len(), 1);
            let record = Record {
                topic,
                partition: written[0].partition,
                offset: 0,
                timestamp: 0,
                key: written[0].key.as_deref(),
                value: written[0].value.as_deref(),
                headers: Headers::default(),
            };
            assert_eq!((parts.item_of_answer)(&record).as_deref(), Some(&b"an item"[..]));
        }
    }

    #[test]
    fn its_topics_are_as_the_contract_says() {
        let settings = Settings::default();
        for topic in topology(&settings).expect("well wired").topics(1) {
            let mut all = settings.topics.all();
            let (info, _) = all.find(|(_, name)| *name == topic.name).expect("in the table");
            assert_eq!(topic.cleanup.is_compacting(), info.kept == Kept::LastOfKey, "{info:?}");
            let is_input = info.side == Side::Input;
            assert_eq!(topic.future_max_ms.is_some(), is_input, "{info:?}");
            assert_ne!(info.writers.contains(&Program::Processor), is_input, "{info:?}");
        }
    }

    #[test]
    fn the_topology_is_printed_for_people() {
        let topology = topology(&Settings::default()).expect("well wired");
        insta::assert_snapshot!(topology.to_string(), @r"
        Topology bps-purchase-processor
          source    restocks <- bps-items-added (head start 5000 ms)
          source    purchases <- bps-purchase-created
          rekey     bps-rekeyed (records of a wrong partition)
          processor booking reads [restocks, purchases] keeps [stock, decided, restocked]
          store     stock (changelog bps-stock)
          store     decided (backed by bps-purchase-finished)
          store     restocked (backed by bps-restock-finished)
          sink      results -> bps-purchase-finished (from booking)
          sink      restock-answers -> bps-restock-finished (from booking)
          dead letters -> bps-dead-letters
        ");
    }
}
