//! How another thread reaches a sleeping core.
//!
//! A core sleeps in monoio's ring, which reads the core's eventfd. Two parties count that eventfd up: the
//! kernel for each completion of the storage ring, and [`Wakeup::wake`].
//!
//! No wake-up is lost. The sender first publishes its message, then sets `pending`; only who turns it from
//! false to true writes the eventfd. The core reads the eventfd, then clears `pending`, then looks for
//! messages. Take any `wake`: if its swap comes after the core's clearing, it found false and writes the
//! eventfd, so the core comes round again. If it comes before, the clearing swap reads what it wrote (or a
//! later swap of another sender, which continues the same release sequence), so the core sees the message
//! in this very round. Both are read-modify-write with acquire and release, because a plain store of false
//! would read nothing and so order nothing.

use std::io;

use super::sync::{AtomicBool, EventFd, Ordering};

/// Wakes one core from any thread.
#[derive(Debug)]
pub struct Wakeup {
    event: EventFd,
    pending: AtomicBool,
}

impl Wakeup {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { event: EventFd::new()?, pending: AtomicBool::new(false) })
    }

    /// Has the core run its [`super::RingHost::on_wake`] hooks soon. What the caller wrote before is seen by
    /// them. Costs one atomic instruction if the core has not answered an earlier call yet, else a system
    /// call.
    pub fn wake(&self) {
        if self.pending.swap(true, Ordering::AcqRel) {
            return;
        }
        self.signal();
    }

    /// Makes the core's read of the eventfd return.
    pub(super) fn signal(&self) {
        self.event.count_up();
    }

    /// What the core reads to sleep.
    pub(super) fn event(&self) -> &EventFd {
        &self.event
    }

    /// Whether [`Wakeup::wake`] was called since the last call. For the core, after reading the eventfd and
    /// before looking for messages.
    pub(super) fn take_pending(&self) -> bool {
        self.pending.swap(false, Ordering::AcqRel)
    }
}
