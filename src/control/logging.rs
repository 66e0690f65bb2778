//! Logs go to standard error; standard output is for what was asked for.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use super::Settings;
use super::config::LogFormat;

/// Whether `level` can be used; the error says why not.
pub fn check(level: &str) -> Result<(), String> {
    EnvFilter::builder().parse(level).map(drop).map_err(|error| {
        format!("--log-level: '{level}' is neither a level (error, warn, info, debug, trace) nor directives: {error}")
    })
}

/// Sends the logs of all threads to standard error from here on. A second call changes nothing.
pub fn start(settings: &Settings) {
    let filter = EnvFilter::builder().parse_lossy(&settings.log_level);
    let lines = fmt::Subscriber::builder().with_env_filter(filter).with_writer(std::io::stderr);
    let set = match settings.log_format {
        LogFormat::Human => tracing::subscriber::set_global_default(
            lines.with_target(false).with_ansi(std::io::stderr().is_terminal()).finish(),
        ),
        LogFormat::Json => tracing::subscriber::set_global_default(lines.json().finish()),
    };
    if set.is_err() {
        tracing::debug!("logs were set up before");
    }
}
