//! Leaves out warnings that repeat: a full drive or one that fails would otherwise fill the log with one sentence.
//!
//! Each place in the code may warn so often in each window of time; what is beyond is counted, and told when the
//! window has ended.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::writer::Lines;
use crate::base::limits::{LOG_REPEATS_MAX, LOG_REPEATS_WINDOW_MS};

/// With what this module speaks.
const TARGET: &str = "ringcask::log";

/// Places whose every line is news: each damaged place is told once, and only here.
const UNLIMITED: [&str; 2] = [TARGET, "ringcask::engine::damage"];

const WINDOW: Duration = Duration::from_millis(LOG_REPEATS_WINDOW_MS);

/// What was left out of the log.
#[derive(Default)]
pub struct Limiter {
    /// By place in the code.
    windows: Mutex<HashMap<Identifier, Window>>,
    suppressed: AtomicU64,
    /// Something was left out that was not told yet.
    owes: AtomicBool,
}

/// One place in the code and one stretch of time.
struct Window {
    began: Instant,
    lines: u32,
    /// Not told yet.
    suppressed: u64,
    level: Level,
    target: &'static str,
    line: u32,
}

impl Limiter {
    /// Lines left out since the start.
    pub fn suppressed(&self) -> u64 {
        self.suppressed.load(Ordering::Relaxed)
    }

    /// Whether something is to be told when its window ends.
    pub fn owes(&self) -> bool {
        self.owes.load(Ordering::Acquire)
    }

    /// Whether a line may be written.
    fn admits(&self, metadata: &'static Metadata<'static>, now: Instant) -> bool {
        let mut windows = self.windows.lock().expect("no holder of this lock panics");
        let window = windows.entry(metadata.callsite()).or_insert_with(|| Window {
            began: now,
            lines: 0,
            suppressed: 0,
            level: *metadata.level(),
            target: metadata.target(),
            line: metadata.line().unwrap_or(0),
        });
        if window.suppressed == 0 && now.saturating_duration_since(window.began) >= WINDOW {
            (window.began, window.lines) = (now, 0);
        }
        if window.lines < LOG_REPEATS_MAX {
            window.lines += 1;
            return true;
        }
        window.suppressed += 1;
        drop(windows);
        self.suppressed.fetch_add(1, Ordering::Relaxed);
        false
    }

    /// Tells what was left out in windows that have ended; with `all`, in others too.
    pub fn tell(&self, all: bool) {
        for (level, target, line, count) in self.due(now(), all) {
            let place = format!("{target}, line {line}");
            tracing::warn!(
                target: TARGET,
                count,
                "left out further lines of level {level} from {place}: too many in {} seconds",
                WINDOW.as_secs()
            );
        }
    }

    /// Takes out what is to be told, and begins new windows.
    fn due(&self, now: Instant, all: bool) -> Vec<(Level, &'static str, u32, u64)> {
        let mut windows = self.windows.lock().expect("no holder of this lock panics");
        let mut told = Vec::new();
        let mut owes = false;
        for window in windows.values_mut().filter(|window| window.suppressed > 0) {
            if all || now.saturating_duration_since(window.began) >= WINDOW {
                told.push((window.level, window.target, window.line, window.suppressed));
                (window.began, window.lines, window.suppressed) = (now, 0, 0);
            } else {
                owes = true;
            }
        }
        self.owes.store(owes, Ordering::Release);
        told
    }
}

#[expect(clippy::disallowed_methods, reason = "logs are outside of any simulation")]
fn now() -> Instant {
    Instant::now()
}

/// Asks the limiter about every warning and error.
pub struct LimitRepeats {
    pub limiter: Arc<Limiter>,
    /// Where the thread listens that tells what was left out.
    pub lines: Lines,
}

impl<S: Subscriber> Layer<S> for LimitRepeats {
    fn event_enabled(&self, event: &Event<'_>, _context: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        // More talkative levels are greater.
        if *metadata.level() > Level::WARN || UNLIMITED.contains(&metadata.target()) {
            return true;
        }
        let is_admitted = self.limiter.admits(metadata, now());
        if !is_admitted && !self.limiter.owes.swap(true, Ordering::AcqRel) {
            self.lines.wake();
        }
        is_admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_repeats_is_left_out_until_its_window_ends_and_then_told_once() {
        with_a_warning(|metadata| {
            let limiter = Limiter::default();
            let start = now();
            let written = (0..LOG_REPEATS_MAX + 5).filter(|_| limiter.admits(metadata, start)).count();
            assert_eq!((written as u32, limiter.suppressed()), (LOG_REPEATS_MAX, 5));
            assert!(limiter.due(start + WINDOW / 2, false).is_empty() && limiter.owes());
            let told = limiter.due(start + WINDOW, false);
            assert_eq!(told.iter().map(|(.., count)| *count).collect::<Vec<_>>(), [5]);
            assert!(limiter.due(start + WINDOW * 2, true).is_empty() && !limiter.owes());
            assert!(limiter.admits(metadata, start + WINDOW));
        });
    }

    /// Calls `check` with the metadata of a warning.
    fn with_a_warning(check: impl Fn(&'static Metadata<'static>) + Send + Sync + 'static) {
        struct Seen<F>(F);
        impl<S: Subscriber, F: Fn(&'static Metadata<'static>) + 'static> Layer<S> for Seen<F> {
            fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
                (self.0)(event.metadata());
            }
        }
        use tracing_subscriber::layer::SubscriberExt;
        let subscriber = tracing_subscriber::registry().with(Seen(check));
        tracing::subscriber::with_default(subscriber, || tracing::warn!("again and again"));
    }
}
