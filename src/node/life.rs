//! What the main thread hears: signals, and how cores get on with the phases of a node's life.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// What the main thread waits for.
#[derive(Debug)]
pub enum Event {
    /// SIGTERM or SIGINT came.
    Signal,
    /// SIGHUP came: files may have changed.
    Reload,
    /// A core has done what the phase asks, or cannot go on.
    Core(usize, Result<(), String>),
}

/// Signals that follow within this time are one: timeout(1), for instance, signals a process and then its
/// whole group.
const SIGNAL_PAUSE: Duration = Duration::from_millis(500);

/// What signal-hook writes for a signal.
const BYTE_OF_SIGNAL: u8 = b'X';

/// What a core writes after it queued a report.
const BYTE_OF_REPORT: u8 = b'R';

/// Where the main thread hears of signals and cores. One stream of bytes wakes it, because a signal's
/// handler can do little more than write a byte.
pub struct Events {
    stream: UnixStream,
    /// Set before a signal's byte is written, which does not say which signal came. One byte may stand for two
    /// signals, and another then for none.
    ends: Arc<AtomicBool>,
    reloads: Arc<AtomicBool>,
    signalled: Option<Instant>,
    reports: Receiver<(usize, Result<(), String>)>,
    reporter: Reporter,
}

/// A core's way to tell the main thread.
pub struct Reporter {
    stream: UnixStream,
    reports: Sender<(usize, Result<(), String>)>,
}

impl Events {
    /// From here on SIGTERM, SIGINT and SIGHUP don't end the process but become events.
    pub fn new() -> io::Result<Self> {
        let (stream, writer) = UnixStream::pair()?;
        let (ends, reloads) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        for (signal, flag) in [(SIGTERM, &ends), (SIGINT, &ends), (SIGHUP, &reloads)] {
            // What is registered first happens first.
            signal_hook::flag::register(signal, flag.clone())?;
            signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
        }
        let (sender, reports) = mpsc::channel();
        let reporter = Reporter { stream: writer, reports: sender };
        Ok(Self { stream, ends, reloads, signalled: None, reports, reporter })
    }

    pub fn reporter(&self) -> io::Result<Reporter> {
        Ok(Reporter { stream: self.reporter.stream.try_clone()?, reports: self.reporter.reports.clone() })
    }

    /// Waits for what happens next.
    pub fn wait(&mut self) -> io::Result<Event> {
        loop {
            let mut byte = [0];
            self.stream.read_exact(&mut byte)?;
            if byte[0] != BYTE_OF_SIGNAL {
                break;
            }
            if !self.ends.swap(false, Ordering::SeqCst) {
                if self.reloads.swap(false, Ordering::SeqCst) {
                    return Ok(Event::Reload);
                }
                continue;
            }
            #[expect(clippy::disallowed_methods, reason = "the main thread is outside of any simulation")]
            let now = Instant::now();
            let is_repeated = self.signalled.is_some_and(|last| now - last < SIGNAL_PAUSE);
            if !is_repeated {
                self.signalled = Some(now);
                return Ok(Event::Signal);
            }
        }
        let (core, report) = self.reports.recv().map_err(io::Error::other)?;
        Ok(Event::Core(core, report))
    }
}

impl Reporter {
    /// Tells the main thread that `core` has done what the phase asks, or why it cannot go on.
    pub fn report(&mut self, core: usize, report: Result<(), String>) {
        // Both fail only while the process ends, as after another core's error: the main thread tells of that one.
        let queued = self.reports.send((core, report)).is_ok();
        let told = self.stream.write_all(&[BYTE_OF_REPORT]);
        if !queued || told.is_err() {
            tracing::debug!(core, "the node ends already: nobody takes the report");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_and_reports_come_in_the_order_they_happened() {
        let mut events = Events::new().unwrap();
        let mut reporter = events.reporter().unwrap();
        reporter.report(3, Ok(()));
        signal_hook::low_level::raise(SIGHUP).unwrap();
        signal_hook::low_level::raise(SIGHUP).unwrap();
        assert!(matches!(events.wait().unwrap(), Event::Core(3, Ok(()))));
        assert!(matches!(events.wait().unwrap(), Event::Reload));
        signal_hook::low_level::raise(SIGTERM).unwrap();
        reporter.report(4, Err("broken".into()));
        assert!(matches!(events.wait().unwrap(), Event::Signal));
        assert!(matches!(events.wait().unwrap(), Event::Core(4, Err(why)) if why == "broken"));
    }
}
