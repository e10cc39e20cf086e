//! The verdict on a run: the stores, a rebuild of them from the topics, and the topics themselves.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bps_streams::Topology;
use bps_streams::broker::Broker;
use bps_streams::replay::Replay;
use bps_streams::store::memory::MemoryStore;
use bps_verifier::{Receipt, Verifier};
use purchase_processor::{Settings, topology};

use super::cluster_run::{ClusterRun, PROCESSES_MAX};

/// The process that rebuilds everything from the topics in the end.
const AUDITOR: u32 = 999;
/// It must have done so within this many rounds.
const REBUILD_ROUNDS_MAX: u32 = 2_000;

impl ClusterRun {
    /// Judges the end: the stores, a rebuild of them from the topics, and the topics themselves.
    pub fn audit(&mut self, broker: &dyn Broker, acknowledged: &[Receipt]) -> Result<(), String> {
        self.audit_rows()?;
        self.verify(broker, acknowledged)?;
        replay(broker, topology(&self.settings).map_err(|error| error.to_string())?)
    }

    /// No store was moved aside, and a process without one takes over: its rows must be those of
    /// the former owners.
    pub(super) fn audit_rows(&mut self) -> Result<(), String> {
        for process in 0..PROCESSES_MAX {
            if let Some(cause) = self.cluster.quarantined(process).first() {
                return Err(format!("process {process} moved its store aside: {cause}"));
            }
        }
        let tables = self.topology.store_names().len();
        let owners = self.owners();
        let rows = |process: u32, partition| self.cluster.rows(process, tables, partition);
        let live: Vec<_> = owners.iter().map(|(p, owner)| rows(*owner, *p)).collect();
        self.close();
        self.boot(AUDITOR);
        let mut rounds = 0;
        while self.owners().len() < self.partitions as usize {
            self.rounds(1);
            rounds += 1;
            if let Some(violation) = &self.violation {
                return Err(violation.clone());
            }
            if rounds > REBUILD_ROUNDS_MAX {
                return Err("the stores cannot be rebuilt".to_owned());
            }
        }
        for (partition, live) in (0..self.partitions).zip(live) {
            let rebuilt = self.cluster.rows(AUDITOR, tables, partition);
            if live != rebuilt {
                let differs = live.iter().zip(&rebuilt).find(|(a, b)| a != b);
                return Err(format!(
                    "partition {partition}: the store has {} rows, rebuilt it has {}; {differs:?}",
                    live.len(),
                    rebuilt.len()
                ));
            }
        }
        Ok(())
    }

    /// The checker's word on the topics.
    fn verify(&self, broker: &dyn Broker, acknowledged: &[Receipt]) -> Result<(), String> {
        let Settings { topics, application, future_max, clock_skew_max, .. } = &self.settings;
        let report = Verifier::new(broker, topics.clone(), application)
            .at_rest(true)
            .acknowledged(acknowledged.iter().cloned())
            .future_max_ms(future_max.as_millis() as i64)
            .clock_skew_max_ms(clock_skew_max.as_millis() as i64)
            .look_ahead_bytes(self.queue_bytes as u64 / 4)
            .threads(1)
            .transaction_wait(Duration::ZERO)
            .run(&|_| ControlFlow::Continue(()))
            .map_err(|error| error.to_string())?;
        report.findings.first().map_or(Ok(()), |finding| Err(finding.to_string()))
    }
}

/// The same again, byte by byte.
pub(super) fn replay(broker: &dyn Broker, topology: Topology) -> Result<(), String> {
    let report = Replay::new(broker, topology, Arc::new(MemoryStore::default()))
        .and_then(|replay| replay.run(&|_, _| true))
        .map_err(|error| error.to_string())?;
    report.differences.first().map_or(Ok(()), |difference| Err(difference.to_string()))
}
