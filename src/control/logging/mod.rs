//! Logs go to standard error; standard output is for what was asked for.
//!
//! Threads hand their lines to one that writes them (`writer`): a terminal or a pipe that takes nothing stops no
//! core. Warnings that repeat are left out and counted (`limiter`). What is logged can be changed while the node
//! runs ([`Log::set_level`]).

mod limiter;
mod writer;

use std::io::IsTerminal;
use std::sync::{Arc, Mutex};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;

use super::Settings;
use super::config::LogFormat;
use crate::base::limits::LOG_LEVEL_BYTES_MAX;
use limiter::{LimitRepeats, Limiter};
use writer::Lines;

/// Whether `level` can be used; the error says why not.
pub fn check(level: &str) -> Result<(), String> {
    filter(level).map(drop).map_err(|why| format!("--log-level: {why}"))
}

fn filter(level: &str) -> Result<EnvFilter, String> {
    let is_text = !level.trim().is_empty() && level.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    if level.len() > LOG_LEVEL_BYTES_MAX || !is_text {
        return Err(format!(
            "give a level (error, warn, info, debug, trace) or directives, of 1 to {LOG_LEVEL_BYTES_MAX} \
             characters of ASCII"
        ));
    }
    EnvFilter::builder().parse(level).map_err(|error| {
        format!("'{level}' is neither a level (error, warn, info, debug, trace) nor directives: {error}")
    })
}

/// The logs of the process. Clones share them.
#[derive(Clone)]
pub struct Log {
    inner: Arc<Inner>,
}

type Reload = Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>;

struct Inner {
    reload: Reload,
    /// The level that the node was started with.
    configured: String,
    level: Mutex<String>,
    limiter: Arc<Limiter>,
    lines: Lines,
}

/// Lines that are not in the log, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinesMissing {
    /// Warnings and errors that were left out because they repeated.
    pub suppressed: u64,
    /// Lines that standard error took too slowly.
    pub dropped: u64,
}

/// Sends the logs of all threads to standard error from here on. In a process that has done so before, what it
/// returns changes nothing.
pub fn start(settings: &Settings) -> std::io::Result<Log> {
    let limiter = Arc::new(Limiter::default());
    let lines = Lines::start(&limiter)?;
    let limit = LimitRepeats { limiter: limiter.clone(), lines: lines.clone() };
    let filter = EnvFilter::builder().parse_lossy(&settings.log_level);
    let builder = fmt::Subscriber::builder().with_env_filter(filter).with_writer(lines.clone());
    let (set, reload): (_, Reload) = match settings.log_format {
        LogFormat::Human => {
            let builder = builder.with_target(false).with_ansi(std::io::stderr().is_terminal());
            let builder = builder.with_filter_reloading();
            let handle = builder.reload_handle();
            let set = tracing::subscriber::set_global_default(builder.finish().with(limit));
            (set, Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string())))
        }
        LogFormat::Json => {
            let builder = builder.json().with_filter_reloading();
            let handle = builder.reload_handle();
            let set = tracing::subscriber::set_global_default(builder.finish().with(limit));
            (set, Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string())))
        }
    };
    if set.is_err() {
        tracing::debug!("logs were set up before");
    }
    let (configured, level) = (settings.log_level.clone(), Mutex::new(settings.log_level.clone()));
    Ok(Log { inner: Arc::new(Inner { reload, configured, level, limiter, lines }) })
}

impl Log {
    /// What is logged now: a level, or directives.
    pub fn level(&self) -> String {
        self.inner.level.lock().expect("no holder of this lock panics").clone()
    }

    /// What was logged at the start, and will be after the next.
    pub fn level_configured(&self) -> &str {
        &self.inner.configured
    }

    /// Logs this from here on, on all threads, until the process ends.
    ///
    /// # Errors
    ///
    /// One sentence for who asked.
    pub fn set_level(&self, level: &str) -> Result<(), String> {
        let filter = filter(level)?;
        let mut current = self.inner.level.lock().expect("no holder of this lock panics");
        (self.inner.reload)(filter)?;
        level.clone_into(&mut current);
        Ok(())
    }

    /// What is not in the log.
    pub fn lines_missing(&self) -> LinesMissing {
        LinesMissing { suppressed: self.inner.limiter.suppressed(), dropped: self.inner.lines.dropped() }
    }

    /// Waits, not for long, until standard error has the lines so far. For threads that may block, before the
    /// process ends.
    pub fn flush(&self) {
        self.inner.limiter.tell(true);
        self.inner.lines.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_directives_are_told_from_nonsense() {
        for level in ["info", "TRACE", "warn,ringcask::engine=debug", "off"] {
            assert_eq!(check(level), Ok(()), "{level}");
        }
        for level in ["", " ", "ringcask=loud", "info\nerror", &"x".repeat(LOG_LEVEL_BYTES_MAX + 1)] {
            assert!(check(level).unwrap_err().starts_with("--log-level: "), "{level}");
        }
    }
}
