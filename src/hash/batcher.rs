//! The streams of one core, hashed together.
//!
//! Sixteen or thirty-two streams cost hardly more than one ([`super::lanes`]), so uploads hand over what they
//! received and wait. A task takes what has come together, hashes a slice of each stream, and wakes those whose
//! bytes are done; then the core's other tasks run, of which some bring more bytes. Nobody waits for company: who
//! comes alone is hashed as soon as the tasks that can run have run.
//!
//! The queue needs no limit of its own: a stream has one buffer in it at most.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

use super::stream::{Digests, Hasher};
use crate::base::instruments::{Distribution, Durations};
use crate::base::limits::{
    HASH_ALONE_BYTES_MAX, HASH_LANES, HASH_SLICE_BYTES, HASH_STREAMS_TOGETHER_MAX, HASH_TURN_BYTES,
};
use crate::base::local::{Sender, oneshot};
use crate::base::stages::{self, Stage};
use crate::io::{Buffer, Host};

/// Streams from which each is given its share of [`HASH_TURN_BYTES`], as many as there may be: fewer are hardly cheaper
/// together than one after the other, and share [`HASH_SLICE_BYTES`].
const LANE_STREAMS_MIN: usize = 4;

/// Hashes the streams of a core. Clones are the same batcher.
pub struct Batcher<H: Host> {
    inner: Rc<Inner<H>>,
}

struct Inner<H> {
    host: H,
    waiting: RefCell<VecDeque<Waiting>>,
    /// Whether a task hashes what waits.
    is_running: Cell<bool>,
    /// From the moment that somebody has bytes until they are hashed.
    hashing: Durations,
}

/// Bytes to be hashed, and who waits for that.
struct Waiting {
    hasher: Box<Hasher>,
    buffer: Buffer,
    range: Range<usize>,
    hashed: Sender<(Box<Hasher>, Buffer)>,
}

/// A [`Hasher`] whose bytes are hashed together with those of other streams.
pub struct BatchedHasher<H: Host> {
    batcher: Batcher<H>,
    /// Away while its bytes are hashed.
    hasher: Option<Box<Hasher>>,
}

impl<H: Host> Clone for Batcher<H> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<H: Host> Batcher<H> {
    pub fn new(host: H) -> Self {
        let (waiting, is_running) = (RefCell::default(), Cell::new(false));
        let inner = Inner { host, waiting, is_running, hashing: Durations::default() };
        Self { inner: Rc::new(inner) }
    }

    /// Has the bytes of a stream hashed with those of others.
    pub fn hasher(&self, hasher: Hasher) -> BatchedHasher<H> {
        BatchedHasher { batcher: self.clone(), hasher: Some(Box::new(hasher)) }
    }

    /// How long bytes took to be hashed, with the wait for their turn.
    pub fn hashing(&self) -> Distribution {
        self.inner.hashing.snapshot()
    }

    /// Streams whose bytes wait to be hashed.
    pub fn waiting(&self) -> usize {
        self.inner.waiting.borrow().len()
    }

    fn push(&self, waiting: Waiting) {
        self.inner.waiting.borrow_mut().push_back(waiting);
        if !self.inner.is_running.replace(true) {
            let turns = Turns { inner: self.inner.clone() };
            self.inner.host.spawn(turns.run());
        }
    }
}

/// The task that hashes what waits, as long as something does.
struct Turns<H: Host> {
    inner: Rc<Inner<H>>,
}

impl<H: Host> Turns<H> {
    async fn run(self) {
        loop {
            self.inner.turn();
            if self.inner.waiting.borrow().is_empty() {
                return;
            }
            // Once for those who can run now, and once more so that what they ask of the kernel is on its way: the
            // answer to a small request should not wait for a slice of hashing.
            self.inner.host.yield_now().await;
            self.inner.host.yield_now().await;
        }
    }
}

impl<H: Host> Drop for Turns<H> {
    /// Whoever still waits, when the core ends, learns that nobody comes.
    fn drop(&mut self) {
        self.inner.is_running.set(false);
        let forsaken = self.inner.waiting.take();
        drop(forsaken);
    }
}

impl<H> Inner<H> {
    /// Hashes a slice of each of the streams that wait longest.
    fn turn(&self) {
        let mut batch: Vec<Waiting> = {
            let mut waiting = self.waiting.borrow_mut();
            // Those who wait longest say how many lanes there are.
            let has_sha256 = waiting.iter().take(HASH_LANES).any(|waiting| waiting.hasher.has_sha256());
            let count_max = if has_sha256 { HASH_LANES } else { HASH_STREAMS_TOGETHER_MAX };
            let count = waiting.len().min(count_max);
            waiting.drain(..count).collect()
        };
        let slice_bytes = if batch.len() < LANE_STREAMS_MIN {
            HASH_SLICE_BYTES / batch.len().max(1)
        } else {
            HASH_TURN_BYTES / batch.len().max(HASH_LANES)
        };
        let mut slices: Vec<(&mut Hasher, &[u8])> = Vec::with_capacity(batch.len());
        for waiting in &mut batch {
            let start = waiting.range.start;
            waiting.range.start = waiting.range.end.min(start + slice_bytes);
            slices.push((&mut waiting.hasher, &waiting.buffer[start..waiting.range.start]));
        }
        Hasher::update_many(&mut slices);
        let mut unfinished = Vec::new();
        for waiting in batch {
            if waiting.range.is_empty() {
                waiting.hashed.send((waiting.hasher, waiting.buffer));
            } else {
                unfinished.push(waiting);
            }
        }
        let mut queue = self.waiting.borrow_mut();
        unfinished.into_iter().rev().for_each(|waiting| queue.push_front(waiting));
    }
}

impl<H: Host> BatchedHasher<H> {
    /// Takes the next bytes of the stream: those at `range` of the buffer, which comes back when they are hashed.
    /// `None` if the core ends before: then the stream has ended too.
    ///
    /// If the future is dropped, the bytes are hashed for nothing, and the stream has ended.
    pub async fn update(&mut self, buffer: Buffer, range: Range<usize>) -> Option<Buffer> {
        let mut hasher = self.hasher.take()?;
        let began = self.batcher.inner.host.monotonic();
        let buffer = if range.len() <= HASH_ALONE_BYTES_MAX {
            hasher.update(&buffer[range]);
            self.hasher = Some(hasher);
            buffer
        } else {
            let (hashed, done) = oneshot();
            self.batcher.push(Waiting { hasher, buffer, range, hashed });
            let (hasher, buffer) = done.await?;
            self.hasher = Some(hasher);
            buffer
        };
        let inner = &self.batcher.inner;
        let took = inner.host.monotonic().saturating_sub(began);
        inner.hashing.observe_duration(took);
        stages::add(Stage::Hash, took);
        Some(buffer)
    }

    /// As [`Hasher::finish_chunk`]; `None` if the stream has ended.
    pub fn finish_chunk(&mut self) -> Option<[u8; 32]> {
        self.hasher.as_mut().map(|hasher| hasher.finish_chunk())
    }

    /// As [`Hasher::finish`]; `None` if the stream has ended.
    pub fn finish(self) -> Option<Digests> {
        self.hasher.map(|hasher| hasher.finish())
    }
}

#[cfg(test)]
mod tests;
