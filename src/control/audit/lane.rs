//! The way of a core's entries to the thread that keeps them: a bounded queue of bytes with one writer and one
//! reader, and the bell that wakes the reader.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;

use rtrb::{Consumer, Producer, RingBuffer};

use crate::base::limits::AUDIT_QUEUE_BYTES;

/// What a lane's entries have come to, which the reader's thread counts, and the core where they find no room.
#[derive(Debug, Default)]
pub struct Lane {
    pub written: AtomicU64,
    pub dropped: AtomicU64,
}

/// The core's end.
pub struct Writer {
    bytes: Producer<u8>,
    lane: Arc<Lane>,
    bell: Arc<Bell>,
}

/// The thread's end.
pub struct Reader {
    bytes: Consumer<u8>,
    lane: Arc<Lane>,
    /// What was taken last.
    taken: Vec<u8>,
}

/// A lane whose reader's thread listens to `bell`.
pub fn lane(bell: &Arc<Bell>) -> (Writer, Reader) {
    with_room(bell, AUDIT_QUEUE_BYTES)
}

/// A lane that holds so many bytes.
pub(super) fn with_room(bell: &Arc<Bell>, bytes: usize) -> (Writer, Reader) {
    let (producer, consumer) = RingBuffer::new(bytes);
    let lane = Arc::<Lane>::default();
    let writer = Writer { bytes: producer, lane: lane.clone(), bell: bell.clone() };
    (writer, Reader { bytes: consumer, lane, taken: Vec::new() })
}

impl Writer {
    pub fn lane(&self) -> &Lane {
        &self.lane
    }

    /// Leaves a line whole, or counts it as dropped; never waits.
    pub fn push(&mut self, line: &[u8]) {
        if self.bytes.push_entire_slice(line).is_err() {
            self.lane.dropped.fetch_add(1, Ordering::Relaxed);
        }
        let is_half_full = self.bytes.slots() < self.bytes.buffer().capacity() / 2;
        self.bell.ring(is_half_full);
    }

    /// Bytes that wait.
    pub fn queued_bytes(&self) -> usize {
        self.bytes.buffer().capacity() - self.bytes.slots()
    }
}

impl Reader {
    pub fn is_empty(&mut self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes all lines that have come: whole ones, since each came at once.
    pub fn take(&mut self) -> (&[u8], &Lane) {
        self.taken.resize(self.bytes.slots(), 0);
        let (_, rest) = self.bytes.pop_partial_slice(&mut self.taken);
        debug_assert!(rest.is_empty(), "what was there is still there");
        (&self.taken, &self.lane)
    }
}

/// Wakes a reader's thread, and tells it what is asked of it.
#[derive(Debug, Default)]
pub struct Bell {
    thread: OnceLock<Thread>,
    /// The thread waits until somebody rings.
    is_asleep: AtomicBool,
    /// The thread tries something again and again: what comes meanwhile need not wake it.
    is_retrying: AtomicBool,
    reopens: AtomicBool,
    ends: AtomicBool,
}

impl Bell {
    /// From here on the bell wakes the calling thread.
    pub fn answer_here(&self) {
        drop(self.thread.set(thread::current()));
    }

    /// There is something. A thread that gathers is left to it, unless it is urgent.
    fn ring(&self, is_urgent: bool) {
        // The line before the look: either the thread sees the line, or this sees that it sleeps.
        fence(Ordering::SeqCst);
        let is_asleep =
            self.is_asleep.load(Ordering::Relaxed) && self.is_asleep.swap(false, Ordering::AcqRel);
        if is_asleep || (is_urgent && !self.is_retrying.load(Ordering::Relaxed)) {
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    pub fn ask_to_reopen(&self) {
        self.reopens.store(true, Ordering::Release);
        self.wake();
    }

    pub fn take_reopening(&self) -> bool {
        self.reopens.swap(false, Ordering::AcqRel)
    }

    pub fn is_to_reopen(&self) -> bool {
        self.reopens.load(Ordering::Acquire)
    }

    pub fn ask_to_end(&self) {
        self.ends.store(true, Ordering::Release);
        self.wake();
    }

    pub fn is_ending(&self) -> bool {
        self.ends.load(Ordering::Acquire)
    }

    /// Waits until somebody rings, if `is_idle` still holds.
    pub fn wait(&self, is_idle: impl FnOnce() -> bool) {
        self.is_asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if is_idle() && !self.is_ending() && !self.is_to_reopen() {
            thread::park();
        }
        self.is_asleep.store(false, Ordering::Relaxed);
    }

    /// Waits so long before something is tried again, whatever comes meanwhile; less if the node ends or files are
    /// to be opened again.
    pub fn wait_to_retry(&self, pause: Duration) {
        self.is_retrying.store(true, Ordering::Relaxed);
        let deadline = super::now() + pause;
        while !self.is_ending() && !self.is_to_reopen() {
            let left = deadline.saturating_duration_since(super::now());
            if left.is_zero() {
                break;
            }
            thread::park_timeout(left);
        }
        self.is_retrying.store(false, Ordering::Relaxed);
    }

    /// Waits so long, or until something urgent comes.
    pub fn wait_for(&self, pause: Duration) {
        if !self.is_ending() {
            thread::park_timeout(pause);
        }
    }
}
