//! A state with real purchases, and the rest of the run that every case must bring to the same end.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bps_streams::broker::Broker;
use bps_streams::store::rocks::MemoryBounds;
use bps_verifier::Verifier;
use purchase_processor::Settings;
use system_tests::Installation;
use system_tests::backends::embedded;
use tempfile::TempDir;

use crate::files::{copy, names, rows};

pub(crate) const PARTITIONS: u32 = 4;
pub(crate) const ITEMS: usize = 60;
pub(crate) const PURCHASES: usize = 2_400;
/// Of each item: about every fourth purchase is refused.
const SUPPLY: usize = 30;
const T0: i64 = 1_700_000_000_000;
/// Requests in which the purchases come: as many commits, and records of the write-ahead log.
const WAVES: usize = 16;
/// After so many of them nothing is left to sell: rows of the stock change no more.
const WAVES_SOLD_OUT: usize = 12;

/// A record to send: a purchase (else a restock), id, item, units.
type Request = (bool, String, String, usize);

fn request(purchase: bool, id: String, n: usize, units: usize) -> Request {
    (purchase, id, format!("item-{}", n % ITEMS), units)
}

pub(crate) fn send(installation: &Installation, requests: &[Request]) {
    let topics = &installation.settings.topics;
    let value = |(purchase, id, item, units): &Request| {
        let own = if *purchase { "purchaseId" } else { "restockId" };
        format!(r#"{{"{own}":"{id}","itemId":"{item}","quantity":{units}}}"#)
    };
    let values: Vec<String> = requests.iter().map(value).collect();
    let records = requests.iter().zip(&values).map(|((purchase, _, item, _), value)| {
        let topic = if *purchase { &topics.purchase_created } else { &topics.items_added };
        (topic.as_str(), installation.partition(item), item.as_str(), value.as_bytes(), T0)
    });
    installation.append(&records.collect::<Vec<_>>());
}

fn restocks(name: &str, units: usize) -> Vec<Request> {
    (0..ITEMS).map(|n| request(false, format!("{name}-{n}"), n, units)).collect()
}

pub(crate) fn purchases(name: &str, count: usize) -> Vec<Request> {
    (0..count).map(|n| request(true, format!("{name}-{n}"), n, n % 2 + 1)).collect()
}

/// Small buffers: rows come into files soon.
pub(crate) fn bounds() -> MemoryBounds {
    MemoryBounds { block_cache_bytes: 1 << 20, write_buffer_bytes: 256 << 10 }
}

/// An installation in a folder as `bps up` has it: `log`, and the state beside it.
pub(crate) fn install(broker: Arc<dyn Broker>, folder: &Path, settings: &Settings) -> Installation {
    let mut installation = Installation::bare(broker, "disk", PARTITIONS);
    installation.settings = settings.clone();
    installation.config.state_folder = folder.join("state");
    installation.config.memory = bounds();
    installation
}

/// The first part of the run: restocks, and purchases in waves. It is opened again when all is
/// sold: the rows of the stock then lie in files, and nothing that comes later hides them.
pub(crate) fn begin(installation: &mut Installation) {
    let topics = installation.settings.topics.clone();
    send(installation, &restocks("first", SUPPLY));
    installation.wait_for(&topics.restock_finished, ITEMS);
    for (number, wave) in purchases("p", PURCHASES).chunks(PURCHASES / WAVES).enumerate() {
        send(installation, wave);
        installation.wait_for(&topics.purchase_finished, (number + 1) * PURCHASES / WAVES);
        if number + 1 == WAVES_SOLD_OUT {
            installation.stop();
            installation.start();
            installation.wait_running();
        }
    }
}

/// All of the topics, as far as a decision can be seen in it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Results and answers, partition by partition, in their order.
    said: Vec<(u32, String, String)>,
    /// The last row of each item.
    rows: BTreeMap<String, String>,
    dead: usize,
}

pub(crate) fn outcome(installation: &Installation) -> Outcome {
    let topics = &installation.settings.topics;
    let said = [&topics.purchase_finished, &topics.restock_finished];
    let said = said.into_iter().flat_map(|topic| installation.read(topic));
    let rows = installation.read(&topics.stock).into_iter();
    Outcome {
        said: said.map(|w| (w.partition, w.key, w.value)).collect(),
        rows: rows.map(|w| (w.key, w.value)).collect(),
        dead: installation.read(&topics.dead_letters).len(),
    }
}

/// The rest of the run, which asks for every row of the store: what was sent is sent again, then
/// each item is restocked and bought.
pub(crate) fn finish(installation: &Installation) -> Outcome {
    let topics = installation.settings.topics.clone();
    send(installation, &restocks("first", SUPPLY));
    send(installation, &purchases("p", PURCHASES));
    send(installation, &restocks("second", 3));
    installation.wait_for(&topics.restock_finished, 2 * ITEMS);
    send(installation, &purchases("q", 4 * ITEMS));
    installation.wait_for(&topics.purchase_finished, PURCHASES + 4 * ITEMS);
    // One more of each, so that nothing else was on its way.
    send(installation, &restocks("third", 1));
    installation.wait_for(&topics.restock_finished, 3 * ITEMS);
    outcome(installation)
}

/// A few purchases more, which no other round sends.
pub(crate) fn more(installation: &Installation, round: usize) {
    send(installation, &purchases(&format!("round-{round}"), ITEMS));
    let topic = &installation.settings.topics.purchase_finished;
    installation.wait_for(topic, PURCHASES + (round + 1) * ITEMS);
}

/// The independent checker finds nothing, at rest.
pub(crate) fn verify(installation: &Installation) {
    let Settings { topics, application, .. } = &installation.settings;
    let verifier = Verifier::new(&*installation.broker, topics.clone(), application).at_rest(true);
    let report = verifier.run(&|_| ControlFlow::Continue(())).unwrap();
    assert!(report.is_clean(), "{report:?}");
}

/// A stopped installation on an embedded log, to be copied for each case.
pub(crate) struct Base {
    folder: TempDir,
    pub(crate) settings: Settings,
}

impl Base {
    pub(crate) fn build() -> Base {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings::default();
        let mut installation = install(embedded(folder.path()), folder.path(), &settings);
        installation.start();
        installation.wait_running();
        begin(&mut installation);
        installation.stop();
        let base = Base { folder, settings };
        let store = base.folder.path().join("state/store");
        for table in ["stock", "decided", "restocked", "checkpoints"] {
            assert!(!rows(&store, table).is_empty(), "{table}: {:?}", names(&store));
        }
        let wal = std::fs::metadata(crate::files::Wal.find(&store)).unwrap().len();
        assert!(wal > 10_000, "{wal} bytes are in the write-ahead log");
        base
    }

    /// Folder of the state.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A copy, and where it lies.
    pub(crate) fn copy(&self) -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        copy(self.folder.path(), &path);
        (folder, path)
    }
}
