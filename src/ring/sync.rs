//! What wakes a core, by names that `tests/interleavings` gives a model checker's versions of.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};

pub use std::sync::atomic::{AtomicBool, Ordering};

/// A kernel counter that can be waited for: eventfd(2).
#[derive(Debug)]
pub struct EventFd(OwnedFd);

impl EventFd {
    pub fn new() -> io::Result<Self> {
        // Blocking on purpose: io_uring answers a read of a non-blocking eventfd with EAGAIN at once
        // instead of waiting for it.
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC)?))
    }

    /// Counts up, so that a read returns.
    pub fn count_up(&self) {
        // It can only fail by blocking at 2^64 - 2 unread counts.
        let result = rustix::io::write(&self.0, &1u64.to_ne_bytes());
        debug_assert_eq!(result, Ok(8));
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
