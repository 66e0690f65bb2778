//! The steps of a node's life, which all cores take together.

use std::sync::Arc;

use super::mesh::Bell;
use super::sync::{AtomicU8, Ordering};

/// Where a node is in its life. The main thread moves it on when all cores have done what it asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Cores recover their data.
    Recovering,
    /// Connections are accepted.
    Serving,
    /// No more connections; those that are open end after the request at hand.
    Draining,
    /// Engines write what shortens the next start.
    Closing,
    /// Nothing is left to do: calls between cores get no answer any more.
    Closed,
}

/// The phase of a node, known to all threads.
pub struct Life {
    phase: AtomicU8,
    bells: Arc<[Bell]>,
}

impl Life {
    pub fn new(bells: Arc<[Bell]>) -> Arc<Self> {
        Arc::new(Self { phase: AtomicU8::new(Phase::Recovering as u8), bells })
    }

    /// Whether the node has come to `phase` or beyond.
    pub fn reached(&self, phase: Phase) -> bool {
        self.phase.load(Ordering::Acquire) >= phase as u8
    }

    /// Moves on to `phase` and tells all cores.
    pub fn advance(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
        self.bells.iter().for_each(Bell::ring);
    }
}
