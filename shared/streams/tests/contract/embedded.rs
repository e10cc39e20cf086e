//! The rows on the embedded broker, each on a log of its own.

use bps_streams::broker::Broker;
use bps_streams::broker::embedded::EmbeddedBroker;

use crate::harness::Fresh;

contract! { embedded }

fn with(row: &str, behaviour: fn(&dyn Broker, &Fresh)) {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = EmbeddedBroker::open(folder.path()).expect("a log");
    behaviour(&broker, &Fresh::named(row));
}
