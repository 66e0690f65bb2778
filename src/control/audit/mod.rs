//! The access log: an entry of each request, to a file and to a webhook.
//!
//! A core makes an entry's line and leaves it in a queue of its own for each of the two ([`lane`]); a thread for
//! each takes the lines of all cores to where they are kept ([`file`], [`webhook`]). A core never waits: a line
//! that finds no room is dropped and counted, and an entry that says how many are missing follows.

mod file;
mod lane;
mod webhook;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Settings;
use crate::base::limits::{AUDIT_GATHER_MS, AUDIT_SETTLE_MS_MAX};
use crate::http::date;
use crate::s3::audit::{Audit, Entry};
pub use file::AccessLog;
use file::LogFile;
use lane::{Reader, Writer};
pub use webhook::AuditWebhook;
use webhook::Hook;

/// Where entries go, as metrics name it.
pub const SINKS: [&str; 2] = ["file", "webhook"];

/// What one core's entries for one file or webhook have come to.
#[derive(Clone, Copy, Debug)]
pub struct AuditCounts {
    pub sink: &'static str,
    /// Entries that were written or delivered.
    pub written: u64,
    /// Entries that were lost.
    pub dropped: u64,
    /// Bytes that wait.
    pub queued_bytes: usize,
}

/// The access log of the node.
pub struct AuditLog {
    sinks: Vec<Started>,
    /// Of each core, until it is taken.
    cores: Vec<Option<Vec<(&'static str, Writer)>>>,
}

/// A thread that takes lines to a file or a webhook.
struct Started {
    name: &'static str,
    bell: Arc<lane::Bell>,
    /// Says nothing, and ends with the thread.
    ended: Receiver<()>,
}

/// Takes lines to where they are kept.
trait Sink: Send {
    /// Keeps whole lines. Tries until it has, or until `bell` says that the node ends; returns how many lines were
    /// given up.
    fn keep(&mut self, lines: &[u8], bell: &lane::Bell) -> u64;

    /// Looks whether the place is still the right one.
    fn reopen(&mut self);
}

impl AuditLog {
    /// Starts what the settings ask for.
    ///
    /// # Errors
    ///
    /// One sentence for the person at the prompt.
    pub fn start(settings: &Settings) -> Result<Self, String> {
        let mut this =
            Self { sinks: Vec::new(), cores: (0..settings.cores).map(|_| Some(Vec::new())).collect() };
        if let Some(file) = &settings.access_log {
            this.add(SINKS[0], Box::new(LogFile::open(file.clone())?))?;
        }
        if let Some(target) = &settings.audit_webhook {
            this.add(SINKS[1], Box::new(Hook::new(target)?))?;
        }
        Ok(this)
    }

    fn add(&mut self, name: &'static str, sink: Box<dyn Sink>) -> Result<(), String> {
        let bell = Arc::<lane::Bell>::default();
        let mut readers = Vec::new();
        for core in self.cores.iter_mut().flatten() {
            let (writer, reader) = lane::lane(&bell);
            core.push((name, writer));
            readers.push(reader);
        }
        let (alive, ended) = sync_channel(0);
        let thread = thread::Builder::new().name(format!("audit-{name}"));
        let heard = bell.clone();
        let carry = move || {
            heard.answer_here();
            carry(sink, readers, &heard);
            drop(alive);
        };
        thread.spawn(carry).map_err(|error| format!("cannot start the thread of the access log: {error}"))?;
        self.sinks.push(Started { name, bell, ended });
        Ok(())
    }

    /// What a core writes to; `None` if no access log is wanted.
    pub fn core(&mut self, core: usize) -> Option<CoreAudit> {
        let writers = self.cores.get_mut(core)?.take().filter(|writers| !writers.is_empty())?;
        Some(CoreAudit { writers: RefCell::new(writers), line: RefCell::default(), failures: Cell::new(0) })
    }

    /// Files may have been renamed: entries go to those of the configured names from here on.
    pub fn reopen(&self) {
        for sink in &self.sinks {
            sink.bell.ask_to_reopen();
        }
    }

    /// Has everything written and delivered that the cores have left, for a bounded time.
    pub fn finish(&self) {
        for sink in &self.sinks {
            sink.bell.ask_to_end();
        }
        let deadline = now() + Duration::from_millis(AUDIT_SETTLE_MS_MAX);
        for sink in &self.sinks {
            let left = deadline.saturating_duration_since(now());
            if sink.ended.recv_timeout(left) == Err(RecvTimeoutError::Timeout) {
                tracing::error!(
                    sink = sink.name,
                    "the end of the access log was not taken in time: it is lost"
                );
            }
        }
    }
}

/// The access log as one core sees it.
pub struct CoreAudit {
    writers: RefCell<Vec<(&'static str, Writer)>>,
    /// The line at hand.
    line: RefCell<Vec<u8>>,
    /// Entries that could not be made into lines.
    failures: Cell<u64>,
}

impl CoreAudit {
    /// What its entries have come to.
    pub fn counts(&self) -> Vec<AuditCounts> {
        let count = |(sink, writer): &(&'static str, Writer)| AuditCounts {
            sink,
            written: writer.lane().written.load(Ordering::Relaxed),
            dropped: writer.lane().dropped.load(Ordering::Relaxed) + self.failures.get(),
            queued_bytes: writer.queued_bytes(),
        };
        self.writers.borrow().iter().map(count).collect()
    }
}

impl Audit for CoreAudit {
    fn record(&self, entry: &Entry<'_>) {
        let mut line = self.line.borrow_mut();
        line.clear();
        if serde_json::to_writer(&mut *line, entry).is_err() {
            // Nothing of an entry can fail; if it does, it is not silent.
            self.failures.set(self.failures.get() + 1);
            return;
        }
        line.push(b'\n');
        for (_, writer) in self.writers.borrow_mut().iter_mut() {
            writer.push(&line);
        }
    }
}

/// What metrics ask of a core; nothing where there is no access log.
pub fn counts(audit: Option<&Rc<CoreAudit>>) -> Vec<AuditCounts> {
    audit.map(|audit| audit.counts()).unwrap_or_default()
}

/// Takes what comes to the sink, until the node ends and nothing is left.
fn carry(mut sink: Box<dyn Sink>, mut readers: Vec<Reader>, bell: &lane::Bell) {
    let gather = Duration::from_millis(AUDIT_GATHER_MS);
    let mut told = vec![0; readers.len()];
    loop {
        if bell.take_reopening() {
            sink.reopen();
        }
        // Asked before looking: what comes after is seen by the next look, or there is none.
        let is_ending = bell.is_ending();
        let mut is_idle = true;
        for (core, (reader, told)) in readers.iter_mut().zip(&mut told).enumerate() {
            let (lines, lane) = reader.take();
            if !lines.is_empty() {
                is_idle = false;
                let lost = sink.keep(lines, bell);
                lane.written.fetch_add(count(lines) - lost, Ordering::Relaxed);
                lane.dropped.fetch_add(lost, Ordering::Relaxed);
            }
            let dropped = lane.dropped.load(Ordering::Relaxed);
            if dropped > *told && sink.keep(&gap(core, dropped - *told), bell) == 0 {
                *told = dropped;
            }
        }
        match (is_idle, is_ending) {
            (true, true) => return,
            (true, false) => bell.wait(|| readers.iter_mut().all(Reader::is_empty)),
            (false, _) => bell.wait_for(gather),
        }
    }
}

/// Lines that end in these bytes.
fn count(lines: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', lines).count() as u64
}

/// What stands where entries are missing.
fn gap(core: usize, dropped: u64) -> Vec<u8> {
    #[expect(clippy::disallowed_methods, reason = "a thread of its own, outside of cores and simulations")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let time = date::iso8601(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    let entry = serde_json::json!({
        "version": "1", "time": time, "api": "audit", "operation": "EntriesDropped", "dropped": dropped,
        "core": core,
    });
    format!("{entry}\n").into_bytes()
}

#[expect(clippy::disallowed_methods, reason = "threads outside of cores and simulations")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests;
