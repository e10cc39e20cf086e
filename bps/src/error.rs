//! What can go wrong in a command; each variant says where.

use std::io;
use std::path::PathBuf;

use bps_service::settings::SettingsError;
use bps_streams::broker::BrokerError;
use bps_streams::{FolderError, TopologyError};

use crate::exit;
use crate::import::BadLine;

/// An error of a command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The arguments cannot be.
    #[error("{0}")]
    Usage(String),
    /// A setting cannot be.
    #[error(transparent)]
    Setting(#[from] SettingsError),
    /// The log, or the way to it.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] bps_streams::Error),
    /// Nothing could be verified.
    #[error(transparent)]
    Verifier(bps_verifier::Error),
    /// The topology is wired wrongly.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// A folder cannot be taken.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A file or folder cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A topic that is not there.
    #[error("topic {topic} does not exist; {}", existing(.known))]
    UnknownTopic {
        /// Its name.
        topic: String,
        /// Those that are there.
        known: Vec<String>,
    },
    /// A folder without a log.
    #[error(
        "no embedded log lies in {folder}: `bps up` makes one there; another place is named by \
         --data or --kafka"
    )]
    NoLog {
        /// The folder.
        folder: PathBuf,
    },
    /// A line that cannot be taken, where that stops the import.
    #[error("{line}; --on-bad-line skip leaves such lines out")]
    BadLine {
        /// The line.
        line: BadLine,
    },
    /// A service refuses in a way that no repetition mends.
    #[error("{url} {cause}")]
    Service {
        /// Where.
        url: String,
        /// What it answered.
        cause: String,
    },
    /// What is there does not allow it, or the operator said no.
    #[error("{0}")]
    Refused(String),
    /// Somebody stopped it.
    #[error("interrupted{0}")]
    Interrupted(String),
    /// Nobody reads the results any more, or they cannot be written.
    #[error("standard output: {0}")]
    Output(io::Error),
}

impl From<bps_verifier::Error> for Error {
    fn from(error: bps_verifier::Error) -> Self {
        match error {
            bps_verifier::Error::Broker(error) => Self::Broker(error),
            bps_verifier::Error::Interrupted => Self::Interrupted(String::new()),
            other => Self::Verifier(other),
        }
    }
}

impl Error {
    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Setting(_) => exit::USAGE,
            Self::Interrupted(_) => exit::INTERRUPTED,
            // As in `bps tail ... | head -1`: the reader had enough.
            _ if self.is_closed_pipe() => exit::OK,
            _ => exit::FAILED,
        }
    }

    /// Whether it is only that the reader of the results went away.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(e) if e.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Whether trying again may help.
    pub(crate) fn is_unavailable(&self) -> bool {
        matches!(self, Self::Broker(error) if error.is_unavailable())
    }
}

fn existing(known: &[String]) -> String {
    match known {
        [] => "there is none".to_owned(),
        known => format!("there are: {}", known.join(", ")),
    }
}
