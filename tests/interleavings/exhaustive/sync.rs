//! What the compiled files find under the names of their `sync` modules.

use std::io;

pub use loom::sync::atomic::{AtomicBool, AtomicU8, Ordering};

pub use super::once::OnceLock;
pub use super::queue::{Consumer, Producer, PushError, RingBuffer};

/// A core's eventfd: whoever reads it sleeps until it was counted up.
#[derive(Debug, Default)]
pub struct EventFd(loom::sync::Notify);

impl EventFd {
    pub fn new() -> io::Result<Self> {
        Ok(Self::default())
    }

    pub fn count_up(&self) {
        self.0.notify();
    }

    pub fn read(&self) {
        self.0.wait();
    }
}
