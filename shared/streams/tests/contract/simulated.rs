//! The rows on the simulated cluster, with nothing going wrong.

use bps_streams::simulation::{Cluster, Faultless};

use bps_streams::broker::Broker;

use crate::harness::{Fresh, now};

contract! { simulated }

fn with(row: &str, behaviour: fn(&dyn Broker, &Fresh)) {
    let cluster = Cluster::new(Faultless);
    cluster.set_time(now());
    let (broker, _) = cluster.boot(0);
    behaviour(&*broker, &Fresh::named(row));
}
