//! Who may call a program that listens, and what its readiness is.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use super::{SettingsError, SettingsFile};
use crate::access::Tokens;

/// Flags of whatever listens.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct ListenFlags {
    /// Who may do what (TOML: tables [tokens.NAME] with token and roles); without it everybody may
    /// do everything, and a program listens on loopback only
    #[arg(long, env = "BPS_TOKENS", value_name = "FILE")]
    pub tokens: Option<PathBuf>,
    /// Not ready (/readyz) while further behind than this [default: 10000]
    #[arg(long, env = "BPS_READY_LAG_MAX", value_name = "RECORDS")]
    pub ready_lag_max: Option<u64>,
}

/// What [`ListenFlags`] come to.
#[derive(Clone, Debug, Serialize)]
pub struct ListenSettings {
    /// The file that says who may do what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<PathBuf>,
    /// Not ready while further behind than this (records).
    pub ready_lag_max: u64,
    /// What the file says.
    #[serde(skip)]
    pub known: Option<Arc<Tokens>>,
}

impl ListenFlags {
    /// Completes them from the file and the default, for a program that listens there.
    ///
    /// # Errors
    /// When the tokens cannot be read; when it would listen beyond loopback without any.
    pub fn resolve(
        self,
        file: &mut SettingsFile,
        listen: &[SocketAddr],
    ) -> Result<ListenSettings, SettingsError> {
        let tokens = file.or("tokens", self.tokens)?;
        let known = tokens.as_deref().map(Tokens::read).transpose()?.map(Arc::new);
        if let Some(beyond) = listen.iter().find(|address| !address.ip().is_loopback())
            && known.is_none()
        {
            let cause = format!("{beyond} is beyond loopback: that needs --tokens FILE");
            return Err(SettingsError::new("listen", cause));
        }
        let ready_lag_max = file.or("ready_lag_max", self.ready_lag_max)?.unwrap_or(10_000);
        Ok(ListenSettings { tokens, ready_lag_max, known })
    }
}
