//! Which log a program works on: one in a folder, in this process, or a Kafka cluster.

use std::path::PathBuf;
use std::sync::Arc;

use bps_streams::broker::embedded::EmbeddedBroker;
use bps_streams::broker::{Broker, BrokerError};

use crate::settings::{KafkaSettings, SettingsError};

/// A log, not opened yet.
#[derive(Clone, Debug)]
pub enum BrokerChoice {
    /// The one in this folder; one process owns it.
    Embedded(PathBuf),
    /// A cluster.
    Kafka(KafkaSettings),
}

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The settings do not allow it.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The folder is another process's, or damaged.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

impl BrokerChoice {
    /// Opens it. A cluster that is away is no error: each call waits for it.
    ///
    /// # Errors
    /// A setting that is refused; a folder that another process owns (its pid is named).
    pub fn open(&self) -> Result<Arc<dyn Broker>, OpenError> {
        Ok(match self {
            Self::Embedded(folder) => Arc::new(EmbeddedBroker::open(folder)?),
            Self::Kafka(settings) => Arc::new(settings.broker()?),
        })
    }
}
