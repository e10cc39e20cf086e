//! What is logged and how, and where spans go.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::{SettingsError, SettingsFile};

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Flags of logs and spans.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct LogFlags {
    /// What is logged to stderr: error, warn, info, debug, trace, or a filter as of `RUST_LOG`
    /// [default: info]
    #[arg(long, env = "BPS_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// How a log line looks [default: text]
    #[arg(long, env = "BPS_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Where the spans of requests go: an OpenTelemetry collector's address for OTLP over HTTP,
    /// as http://localhost:4318
    #[arg(long, env = "BPS_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
}

/// What [`LogFlags`] come to.
#[derive(Clone, Debug, Serialize)]
pub struct LogSettings {
    /// What is logged.
    pub log: String,
    /// How a log line looks.
    pub log_format: LogFormat,
    /// Where the spans of requests go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp_endpoint: Option<String>,
}

impl LogSettings {
    /// Lines of this level and above, for people.
    pub fn of_level(level: &str) -> LogSettings {
        let log = level.to_owned();
        LogSettings { log, log_format: LogFormat::Text, otlp_endpoint: None }
    }
}

impl LogFlags {
    /// Completes them from the file and the defaults.
    ///
    /// # Errors
    /// The first setting that cannot be.
    pub fn resolve(self, file: &mut SettingsFile) -> Result<LogSettings, SettingsError> {
        let settings = LogSettings {
            log: file.or("log", self.log)?.unwrap_or_else(|| "info".to_owned()),
            log_format: file.or("log_format", self.log_format)?.unwrap_or_default(),
            otlp_endpoint: file.or("otlp_endpoint", self.otlp_endpoint)?,
        };
        crate::logging::filter(&settings.log)?;
        if let Some(url) = &settings.otlp_endpoint {
            let address: Option<axum::http::Uri> = url.parse().ok();
            // What it is called by is printed: it may hold no password.
            let is_plain =
                |a: &axum::http::Uri| !a.authority().is_some_and(|a| a.as_str().contains('@'));
            let is_http = address.is_some_and(|a| a.scheme_str() == Some("http") && is_plain(&a));
            if !is_http {
                let cause = "not an address like http://localhost:4318";
                return Err(SettingsError::new("otlp_endpoint", cause));
            }
        }
        Ok(settings)
    }
}
