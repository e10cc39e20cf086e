//! Faults played on real processes and a real Kafka under load. Every run ends in the account and
//! in `bps verify`: each purchase answered once, nothing oversold, no finding.
#![allow(missing_docs, clippy::unwrap_used)]

mod broker;
mod kills;
mod late_end;
mod network;
mod zombie;

use system_tests::backends::kafka_address;
use system_tests::kafka_installation::KafkaInstallation;
use system_tests::processes::tell;

/// Topics on the Kafka of all tests; `None` (and said so) where there is none.
fn shared_installation(name: &str) -> Option<KafkaInstallation> {
    let Some(address) = kafka_address() else {
        tell(format_args!("{name}: did not run on Kafka (BPS_NO_KAFKA)"));
        return None;
    };
    Some(KafkaInstallation::new(name, &address))
}
