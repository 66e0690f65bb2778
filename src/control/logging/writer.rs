//! The thread that writes log lines to standard error, and the bounded queue before it.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

use super::limiter::Limiter;
use crate::base::limits::{LOG_FLUSH_MS_MAX, LOG_QUEUE_LINES_MAX};

/// How often the thread looks whether there is something to tell of lines that were left out.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// Where threads leave their lines. Clones share it.
#[derive(Clone)]
pub struct Lines {
    messages: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

/// What the thread is asked for.
enum Message {
    Line(Vec<u8>),
    /// To look at the limiter.
    Wake,
    /// To answer when it comes to this.
    Flush(SyncSender<()>),
}

impl Lines {
    /// Starts the thread, which also tells what `limiter` has left out.
    pub fn start(limiter: &Arc<Limiter>) -> io::Result<Self> {
        let (sender, messages) = sync_channel(LOG_QUEUE_LINES_MAX);
        let (dropped, limiter) = (Arc::<AtomicU64>::default(), limiter.clone());
        let lines = Self { messages: sender, dropped: dropped.clone() };
        thread::Builder::new().name("log".into()).spawn(move || write(&messages, &limiter, &dropped))?;
        Ok(lines)
    }

    /// Lines that found no room, since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Has the thread look at the limiter. If its queue is full, it is awake.
    pub fn wake(&self) {
        drop(self.messages.try_send(Message::Wake));
    }

    /// Waits until the lines so far are written, but not for ever.
    pub fn flush(&self) {
        let (done, written) = sync_channel(1);
        if self.messages.try_send(Message::Flush(done)).is_ok() {
            // Whether it came in time makes no difference to a process that ends.
            let _ = written.recv_timeout(Duration::from_millis(LOG_FLUSH_MS_MAX));
        }
    }
}

/// A line on its way.
pub struct Line<'a>(&'a Lines);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.0.messages.try_send(Message::Line(line.to_vec())).is_err() {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

fn write(messages: &Receiver<Message>, limiter: &Limiter, dropped: &AtomicU64) {
    let mut told = 0;
    loop {
        let message = match limiter.owes() {
            true => messages.recv_timeout(LOOK_PAUSE),
            false => messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match message {
            // There is nobody to tell that standard error takes nothing.
            Ok(Message::Line(line)) => drop(io::stderr().write_all(&line)),
            Ok(Message::Flush(done)) => drop(done.try_send(())),
            Ok(Message::Wake) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if limiter.owes() {
            limiter.tell(false);
        }
        let lost = dropped.load(Ordering::Relaxed);
        if lost > told {
            let count = lost - told;
            told = lost;
            tracing::warn!(count, "dropped lines of the log: standard error took them too slowly");
        }
    }
}
