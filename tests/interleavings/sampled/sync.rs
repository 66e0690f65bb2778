//! What the compiled files find under the names of their `sync` modules.

use std::io;

use shuttle::sync::{Condvar, Mutex};

pub use shuttle::sync::atomic::{AtomicBool, AtomicU8, Ordering};

pub use super::once::OnceLock;
pub use super::queue::{Consumer, Producer, PushError, RingBuffer};

/// A core's eventfd.
#[derive(Debug, Default)]
pub struct EventFd {
    count: Mutex<u64>,
    counted: Condvar,
}

impl EventFd {
    pub fn new() -> io::Result<Self> {
        Ok(Self::default())
    }

    pub fn count_up(&self) {
        *self.count.lock().unwrap() += 1;
        self.counted.notify_one();
    }

    /// Sleeps until the count is above zero, and sets it to zero.
    pub fn read(&self) {
        let mut count = self.count.lock().unwrap();
        while *count == 0 {
            count = self.counted.wait(count).unwrap();
        }
        *count = 0;
    }
}
