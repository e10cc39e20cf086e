//! An EndTxn that is delivered late, in the midst of the next transaction of the same producer.
//!
//! librdkafka has no KIP-890 on its side: after a broken connection it sends the EndTxn again with
//! the same epoch, and the broker cannot tell the first one, when it comes, from the end of the
//! transaction that is open by then. The engine's remedy is to retire such a producer: its
//! successor has a new epoch, at which the late one is refused. A build without the remedy commits
//! half a transaction.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bps_streams::broker::kafka::{KafkaBroker, KafkaConfig};
use bps_streams::worker::Mutant;
use bps_streams::{Application, ApplicationConfig, Error};
use purchase_processor::topology;
use system_tests::accounting::Sent;
use system_tests::installation::PATIENCE;
use system_tests::kafka_installation::{KafkaInstallation, PARTITIONS};
use system_tests::now_ms;
use system_tests::processes::tell;
use system_tests::proxy::{EndFault, Proxy};

use super::shared_installation;

/// Kafka's error codes for an old epoch: INVALID_PRODUCER_EPOCH, PRODUCER_FENCED.
const REFUSED: [i16; 2] = [47, 90];
const ITEM: &str = "item-1";

#[test]
fn a_late_end_is_refused_as_the_producer_was_retired() {
    let Some(mut story) = Story::begin("late-end", None) else { return };
    story.play();
    let (sent, kafka) = story.end().unwrap();
    kafka.settle(&sent, Vec::new());
}

#[test]
fn a_late_end_is_refused_even_if_librdkafka_says_nothing_of_the_cut() {
    let Some(mut story) = Story::begin("late-end-unsaid", None) else { return };
    // From the third cut of the same kind on, within 30 s, librdkafka tells no error.
    for _ in 0..3 {
        story.proxy.cut(100);
        story.wave();
    }
    story.play();
    let (sent, kafka) = story.end().unwrap();
    kafka.settle(&sent, Vec::new());
}

#[test]
fn without_the_remedy_a_late_end_does_damage_and_it_is_found() {
    let mutant = Some(Mutant::LateEndIgnored);
    let Some(mut story) = Story::begin("late-end-mutant", mutant) else { return };
    story.play();
    let (sent, kafka) = match story.end() {
        Ok(ended) => ended,
        // Where half a transaction leaves rows behind their ledger, a restore sees it first.
        Err(damage @ Error::RowsGone { .. }) => {
            return tell(format_args!("late-end-mutant: the worker stops: {damage}"));
        }
        Err(other) => panic!("{other}"),
    };
    let (code, verdict) = kafka.verify(&sent);
    tell(format_args!("late-end-mutant: bps verify: {verdict}"));
    assert_ne!(code, Some(0), "{verdict}");
    let rules = ["C1 ", "C3 ", "C5 "];
    assert!(rules.iter().any(|rule| verdict.contains(rule)), "{verdict}");
}

/// A processor in this process, behind a proxy, and what it was sent.
struct Story {
    kafka: KafkaInstallation,
    proxy: Proxy,
    application: Option<Application>,
    sent: Sent,
    waves: u64,
    is_mutant: bool,
}

impl Story {
    fn begin(name: &str, mutant: Option<Mutant>) -> Option<Story> {
        let kafka = shared_installation(name)?;
        let proxy = Proxy::start(&kafka.address, 31);
        let broker = Arc::new(KafkaBroker::new(KafkaConfig::new(proxy.address())));
        let mut config = ApplicationConfig::new(kafka.work.path("state"));
        config.partitions = PARTITIONS;
        config.worker.mutant = mutant;
        let topology = topology(&kafka.installation.settings).unwrap();
        let application = Some(Application::start(broker, topology, config).unwrap());
        let (sent, is_mutant) = (Sent::default(), mutant.is_some());
        let mut story = Story { kafka, proxy, application, sent, waves: 0, is_mutant };
        story.sent.restock(ITEM, "r", 100_000);
        let restock = format!(r#"{{"restockId":"r","itemId":"{ITEM}","quantity":100000}}"#);
        let topic = story.kafka.installation.settings.topics.items_added.clone();
        story.append(&topic, &[restock]);
        story.wait_decided().unwrap();
        Some(story)
    }

    fn append(&self, topic: &str, values: &[String]) {
        let (installation, now) = (&self.kafka.installation, now_ms());
        let partition = installation.partition(ITEM);
        let records: Vec<_> =
            values.iter().map(|value| (topic, partition, ITEM, value.as_bytes(), now)).collect();
        installation.append(&records);
    }

    /// A few purchases, which are one transaction, or two.
    fn wave(&mut self) {
        let ids: Vec<_> = (0..5).map(|n| format!("p{}-{n}", self.waves)).collect();
        self.waves += 1;
        let purchase = |id: &String| {
            let ids = format!(r#""purchaseId":"{id}","itemId":"{ITEM}""#);
            format!(r#"{{{ids},"quantity":1,"purchasedBy":"b"}}"#)
        };
        let values: Vec<_> = ids.iter().map(purchase).collect();
        ids.iter().for_each(|id| self.sent.purchase(ITEM, id, 1));
        let topic = self.kafka.installation.settings.topics.purchase_created.clone();
        self.append(&topic, &values);
        std::thread::sleep(Duration::from_millis(300));
    }

    /// Waits until all is decided.
    ///
    /// # Errors
    /// What the processor has ended with.
    fn wait_decided(&mut self) -> Result<(), Error> {
        let deadline = Instant::now() + PATIENCE;
        while !self.kafka.is_all_decided().unwrap_or(false) {
            if self.application.as_ref().unwrap().is_finished() {
                self.application.take().unwrap().stop()?;
            }
            assert!(Instant::now() < deadline, "not all is decided");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The fault, with purchases before, in it, and after it.
    fn play(&mut self) {
        self.wave();
        self.proxy.plan(EndFault::LateInNext);
        let deadline = Instant::now() + PATIENCE;
        while self.proxy.counts().late_answers.is_empty() {
            assert!(Instant::now() < deadline, "no late end: {:?}", self.proxy.counts());
            self.wave();
        }
        let counts = self.proxy.counts();
        tell(format_args!("late end: {counts:?}"));
        assert!(counts.addresses > 0, "clients go past the proxy");
        let answer = counts.late_answers[0];
        match self.is_mutant {
            true => assert_eq!(answer, 0, "the broker itself refuses the late one"),
            false => assert!(REFUSED.contains(&answer), "the late one was taken: {answer}"),
        }
        (0..5).for_each(|_| self.wave());
    }

    /// Waits until all is decided, and ends the processor.
    ///
    /// # Errors
    /// What it has ended with.
    fn end(mut self) -> Result<(Sent, KafkaInstallation), Error> {
        self.proxy.heal();
        self.wait_decided()?;
        self.application.take().unwrap().stop()?;
        Ok((self.sent, self.kafka))
    }
}
